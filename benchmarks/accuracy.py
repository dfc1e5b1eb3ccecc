"""Accuracy on real scenes with a known answer: every method, against a peer.

python benchmarks/accuracy.py CASES [--peer peer_scores.csv] [--write docs/accuracy.md]

What a case is, and how to make some, is told in benchmarks/README.md.
"""

import argparse
import csv
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from tables import report

import thermosharp as ts
from thermosharp.evaluation import PLAIN, expected_rmse
from thermosharp.products.raster import inspect, read
from thermosharp.scores import score
from thermosharp.sharpeners import METHODS, Bicubic, Detail, Sharpener, make_sharpener
from thermosharp.writing.record import versions

#: Builds a method, given a seed.
Recipe = Callable[[int], Sharpener]

#: Cases whose truth is another instrument's: the mean difference of the two is removed.
OTHER_INSTRUMENT = "modis"


@dataclass(frozen=True)
class Case:
    """A scene with a known answer.

    Attributes
    ----------
    name : str
    thermal : ThermalScene
    predictors : PredictorStack
    truth : (y, x)
        K on the predictors' grid; NaN where it must not be scored.
    """

    name: str
    thermal: ts.ThermalScene
    predictors: ts.PredictorStack
    truth: np.ndarray

    @property
    def other_instrument(self) -> bool:
        """Whether the truth comes from another instrument than the LST."""
        return self.name.startswith(OTHER_INSTRUMENT)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one method made of one case; means over the seeds.

    Attributes
    ----------
    case, method : str
    rmse : float
        K, over the scored pixels that have a temperature.
    missing : float
        Share of the scored pixels that have none.
    seconds : float
        To sharpen, files already read.
    expected : float or None
        RMSE one scale up, K: what the method expects of itself.
    coverage : (float, float) or None
        Share of the errors within one and two standard deviations, where they are stated.
    rank : float or None
        Spearman's correlation of uncertainty and absolute error.
    """

    case: str
    method: str
    rmse: float
    missing: float
    seconds: float
    expected: float | None = None
    coverage: tuple[float, float] | None = None
    rank: float | None = None


def open_case(folder: Path) -> Case:
    """Read lst.tif, fine.tif and truth.tif of a folder."""
    fine = ts.open_predictors(folder / "fine.tif")
    truth = inspect(folder / "truth.tif")
    if truth.geobox != fine.geobox:
        sys.exit(f"{folder.name}: truth.tif is not on the grid of fine.tif")
    values = read(truth)[0].astype(np.float64)
    return Case(folder.name, ts.open_thermal(folder / "lst.tif"), fine, values)


def run(case: Case, label: str, recipe: Recipe, seeds: int) -> Result:
    """Sharpen a case, once a seed if the method draws, and score it."""
    draws = "random_state" in recipe(0).get_params(deep=False)
    results = [_run_once(case, label, recipe(s)) for s in range(seeds if draws else 1)]

    def mean(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    covered = [r.coverage for r in results if r.coverage is not None]
    return Result(
        case=case.name,
        method=label,
        rmse=statistics.fmean(r.rmse for r in results),
        missing=max(r.missing for r in results),
        seconds=statistics.fmean(r.seconds for r in results),
        expected=mean(r.expected for r in results),
        coverage=(statistics.fmean(c[0] for c in covered), statistics.fmean(c[1] for c in covered))
        if covered
        else None,
        rank=mean(r.rank for r in results),
    )


def _run_once(case: Case, label: str, method: Sharpener) -> Result:
    start = time.perf_counter()
    sharp = method.sharpen(case.thermal, case.predictors, conserve=label != PLAIN)
    seconds = time.perf_counter() - start
    scored = np.isfinite(case.truth)
    estimate = np.where(scored, sharp.lst.values, np.nan)
    if case.other_instrument:
        estimate -= np.nanmean(estimate - case.truth)
    sigma = None if sharp.uncertainty is None else sharp.uncertainty.values.astype(np.float64)
    if case.other_instrument:
        # A kelvin of the error there is the two instruments disagreeing: not ours to foresee.
        sigma = None
    scores = score(estimate, case.truth, ratio=method.pair_.ratio, uncertainty=sigma)
    expected = None
    if label != PLAIN:
        expected = expected_rmse(
            method, case.thermal, case.predictors, pair=method.pair_, uncertainty=sigma
        )
    return Result(
        case=case.name,
        method=label,
        rmse=scores.rmse,
        missing=1 - scores.n / int(scored.sum()),
        seconds=seconds,
        expected=expected,
        coverage=None if sigma is None else (scores.coverage_1sigma, scores.coverage_2sigma),
        rank=None if sigma is None else _rank(np.abs(estimate - case.truth), sigma),
    )


def _rank(error: np.ndarray, sigma: np.ndarray) -> float | None:
    both = np.isfinite(error) & np.isfinite(sigma)
    if both.sum() < 3 or np.ptp(sigma[both]) == 0:
        return None
    return float(spearmanr(error[both], sigma[both]).statistic)


def read_peer(path: Path) -> dict[str, dict[str, float]]:
    """Read a table of RMSE: a column `case`, and one `<name>_rmse_k` for each of the peer's.

    Returns
    -------
    dict
        RMSE in K by the name of the column, then by case.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.endswith("_rmse_k")]
    return {
        name.removesuffix("_rmse_k"): {r["case"]: float(r[name]) for r in rows if r[name]}
        for name in names
    }


def recipes(names: Iterable[str]) -> dict[str, Recipe]:
    """Methods by name, with default settings; plain bicubic interpolation comes first."""

    def recipe(name: str) -> Recipe:
        draws = "random_state" in METHODS[name]._get_param_names() if name in METHODS else False
        return lambda seed: make_sharpener(name, **({"random_state": seed} if draws else {}))

    return {PLAIN: lambda _: Bicubic(), **{name: recipe(name) for name in names}}


def ablation() -> dict[str, Recipe]:
    """Build the default method, and without each of its parts; plain bicubic comes first."""
    parts = ("surroundings", "linear", "drift", "nonlinear", "fields", "blur")
    labels = {"detail": ()} | {f"without {part}": (part,) for part in parts}
    labels["fields alone (kriging)"] = parts[:4]

    def recipe(without: tuple[str, ...]) -> Recipe:
        return lambda seed: Detail(random_state=seed, without=without)

    return {PLAIN: lambda _: Bicubic()} | {name: recipe(w) for name, w in labels.items()}


def about(seeds: int) -> dict[str, Any]:
    """When, on what machine, and with which versions."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": versions(),
        "seeds": seeds,
    }


def measure(folders: Iterable[Path], methods: Mapping[str, Recipe], seeds: int) -> list[Result]:
    """Run every method over every case; say a line a case on standard error."""
    results = []
    for i, folder in enumerate(folders):
        case = open_case(folder)
        if i == 0:
            for recipe in methods.values():  # compiled code is loaded before anything is timed
                recipe(0).sharpen(case.thermal, case.predictors)
        rows = []
        for label, recipe in methods.items():
            try:
                rows.append(run(case, label, recipe, seeds))
            except ts.ThermosharpError as error:
                print(f"{case.name}: {label}: {error}", file=sys.stderr)
        told = ", ".join(f"{row.method} {row.rmse:.3f}" for row in rows)
        print(f"{case.name}: {told}", file=sys.stderr, flush=True)
        results += rows
    return results


def main() -> None:
    """Read the command line, measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path, help="folder of cases")
    parser.add_argument("--peer", type=Path, help="CSV of the RMSE of others on these cases")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="default: all")
    parser.add_argument(
        "--ablation", action="store_true", help="the default method without each of its parts"
    )
    parser.add_argument("--seeds", type=int, default=1, help="runs averaged, for methods that draw")
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    told = parser.parse_args()
    if unknown := sorted(set(told.methods) - set(METHODS)):
        parser.error(f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    folders = sorted(path.parent for path in told.cases.glob("*/truth.tif"))
    if not folders:
        parser.error(f"no case (a folder with truth.tif) in {told.cases}")
    methods = ablation() if told.ablation else recipes(told.methods)
    results = measure(folders, methods, told.seeds)
    text = report(results, read_peer(told.peer) if told.peer else {}, about(told.seeds))
    print(text)
    if told.write:
        told.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
