"""Registration on real scenes with a known answer: planted shifts, false alarms, what is lost.

python benchmarks/registration.py CASES [--method detail] [--write docs/registration.md]

A case is what benchmarks/README.md says. The coarse grid of each is displaced by known amounts.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accuracy import Case, about, open_case

import thermosharp as ts
from thermosharp.coregister import moved, register
from thermosharp.registration import Registration
from thermosharp.sharpeners import make_sharpener

#: Planted shifts (rows, columns) in coarse pixels, and those for scenes of at least 40 pixels.
PLANTED = ((0.3, 0.0), (0.0, -0.3), (0.3, 0.3), (1.0, 0.0), (0.0, -1.0), (-1.0, 1.0))
FAR = ((5.0, 0.0), (0.0, -5.0), (5.0, -5.0))
WIDE = 40
#: Methods whose losses are told.
METHODS = ("detail", "dms")

_HEAD = """# Registration

How far LST lies off its predictors is found before anything is learnt, and the coarse grid is
moved; temperatures are never resampled. How: [methods](methods.md), *Registration*. The tables are
made by `benchmarks/registration.py` ({machine}) on real scenes whose coarse grid was displaced by
known amounts. Errors are the larger of row and column, in coarse pixels.

## Planted shifts

| cases | shift, pixels | tried | confident | median error | largest error |
|---|---|---|---|---|---|"""

_SLOPES = """
Of the MODIS pairs, the daytime LST of some is led by sunlit slopes, which NDVI does not show and
which lie half a pixel beside it; there too little is explained for confidence.
"""


@dataclass(frozen=True)
class Found:
    """What was found of one planted shift; errors in coarse pixels."""

    case: str
    planted: tuple[float, float]
    result: Registration
    seconds: float

    @property
    def error(self) -> float:
        """Larger of the errors of row and column."""
        rows, cols = (a + b for a, b in zip(self.result.shift_pixels, self.planted, strict=True))
        return max(abs(rows), abs(cols)) if math.isfinite(rows) else math.nan


@dataclass(frozen=True)
class Loss:
    """RMSE of a case, K: as it is, registered, displaced by a pixel, and then registered."""

    case: str
    method: str
    plain: float
    registered: float
    displaced: float
    restored: float
    moved: str


def find(case: Case, planted: tuple[float, float]) -> Found:
    """Displace a case and register it."""
    thermal = moved(case.thermal, planted)
    start = time.perf_counter()
    result = register(thermal, case.predictors)
    return Found(case.name, planted, result, time.perf_counter() - start)


def lose(case: Case, methods: Iterable[str]) -> Iterator[Loss]:
    """Sharpen a case with and without a displacement of a pixel, registered and not."""

    def rmse(thermal: ts.ThermalScene, method: str, box: int = 1) -> float:
        sharp = make_sharpener(method).sharpen(thermal, case.predictors, box=box)
        error = sharp.lst.values - case.truth
        if case.other_instrument:
            error = error - np.nanmean(error)
        return float(np.sqrt(np.nanmean(error**2)))

    unmoved = register(case.thermal, case.predictors)
    displaced = moved(case.thermal, (0.0, 1.0))
    restored = register(displaced, case.predictors)
    for method in methods:
        plain = rmse(case.thermal, method)
        yield Loss(
            case.name,
            method,
            plain,
            rmse(unmoved.thermal, method, unmoved.box),
            rmse(displaced, method),
            rmse(restored.thermal, method, restored.box),
            "no" if not restored.applied else "yes" if restored.confident else "roughly",
        )


def report(found: Iterable[Found], losses: Iterable[Loss], machine: str) -> str:
    """Write the page."""
    found, losses = list(found), list(losses)
    lines = [_HEAD.format(machine=machine)]
    for kind in ("land", "MODIS/ASTER"):
        for size in (0.3, 1.0, 5.0):
            rows = [
                f
                for f in found
                if max(map(abs, f.planted)) == size
                and f.case.startswith("modis") == (kind != "land")
            ]
            sure = [f.error for f in rows if f.result.confident]
            if rows:
                told = f"{statistics.median(sure):.2f} | {max(sure):.2f}" if sure else " | "
                lines.append(
                    f"| {kind} | {size:g} | {len(rows)} | {len(sure) / len(rows):.0%} | {told} |"
                )
    lines += [
        _SLOPES,
        "## What a displacement of one pixel costs",
        "",
        "RMSE against the truth, as a ratio to that of the case as it is. A shift of a pixel or",
        "more that is found roughly is applied, and area means are then held over 3 x 3 pixels.",
    ]
    for method in dict.fromkeys(loss.method for loss in losses):
        lines += _lost(method, [loss for loss in losses if loss.method == method])
    seconds = statistics.median(f.seconds for f in found)
    return "\n".join([*lines, "", f"A case takes {seconds:.2f} s (median) to register.", ""])


def _lost(method: str, losses: list[Loss]) -> list[str]:
    """Tell what a displacement costs one method."""
    lines = [
        "",
        f"### Method {method}",
        "",
        "| case | RMSE, K | registered | displaced | displaced, registered | moved |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {x.case} | {x.plain:.2f} | {x.registered / x.plain:.3f} "
        f"| {x.displaced / x.plain:.2f} | {x.restored / x.plain:.3f} "
        f"| {x.moved} |"
        for x in losses
    ]
    worst = max(x.registered / x.plain for x in losses) - 1
    lines += [
        "",
        f"False alarms: registered, the worst of the {len(losses)} undisplaced cases changes",
        f"by {worst:+.1%}.",
    ]
    for kind in ("land", "MODIS/ASTER"):
        some = [x for x in losses if x.case.startswith("modis") == (kind != "land")]
        left = [x.restored / x.plain - 1 for x in some if x.moved != "no"]
        if left:
            lines += [
                f"Of {len(some)} displaced {kind} cases {len(left)} are moved back; their RMSE is",
                f"then on average {statistics.fmean(left):+.1%} off the undisplaced one's, at most",
                f"{max(left):+.1%}.",
            ]
    return lines


def main() -> None:
    """Read the command line, measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path, help="folder of cases")
    parser.add_argument(
        "--method", action="append", help="for what a displacement costs (detail and dms)"
    )
    parser.add_argument("--write", type=Path, help="Markdown file for the page")
    told = parser.parse_args()
    folders = sorted(path.parent for path in told.cases.glob("*/truth.tif"))
    if not folders:
        parser.error(f"no case (a folder with truth.tif) in {told.cases}")
    found, losses = [], []
    for folder in folders:
        case = open_case(folder)
        wide = min(case.thermal.geobox.shape) >= WIDE
        found += [find(case, planted) for planted in (*PLANTED, *(FAR if wide else ()))]
        losses += lose(case, told.method or METHODS)
        print(losses[-1], file=sys.stderr, flush=True)
    machine = about(1)
    text = report(found, losses, f"{machine['date']}, {machine['machine']}")
    print(text)
    if told.write:
        told.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
