"""The Markdown of the accuracy benchmark: a summary, and every case."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

#: The column of plain bicubic interpolation, as this package computes it.
PLAIN = "plain bicubic"

#: What the peer's table may call the same.
PEER_BICUBIC = "bicubic"

#: Expected RMSE within this share of the true one counts as right.
TOLERANCE = 0.35

#: Kinds of cases, told apart by their names.
KINDS: dict[str, Callable[[str], bool]] = {
    "land": lambda name: not name.startswith("modis"),
    "MODIS/ASTER": lambda name: name.startswith("modis"),
}

Peer = Mapping[str, Mapping[str, float]]


def report(results: Sequence[Any], peer: Peer, about: Mapping[str, Any]) -> str:
    """Put all measurements into one page.

    Parameters
    ----------
    results : sequence of Result
    peer : mapping
        RMSE in K by the peer's name, then by case; may be empty.
    about : mapping
        Date, machine, versions, seeds.
    """
    methods = list(dict.fromkeys(r.method for r in results))
    rmse = {m: {r.case: r.rmse for r in results if r.method == m} for m in methods}
    yardsticks = {name: column for name, column in peer.items() if name != PEER_BICUBIC}
    yardsticks[PLAIN] = {**rmse[PLAIN], **peer.get(PEER_BICUBIC, {})}
    shown = [method for method in methods if method != PLAIN]
    parts = [
        "# Accuracy on real scenes",
        _told(about, len(rmse[PLAIN])),
        "## RMSE against others",
        "Geometric means of the ratio of RMSE, below 1 is better; and the worst single case "
        f"against the best of {', '.join(yardsticks)}.",
        _ratios(shown, rmse, yardsticks),
        "## Uncertainty and expected error",
        "Over the land cases: mean share of the truth within one and two of the stated standard "
        "deviations (0.68 and 0.95 are right), median rank correlation of uncertainty and absolute "
        "error; expected RMSE (the method's own, one scale up) over the true one, geometric mean, "
        f"and the share of cases within {TOLERANCE:.0%} of the true one; seconds a case.",
        _honesty(shown, results),
        "## Every case",
        "RMSE in K.",
        _cases(shown, rmse, yardsticks),
        "Expected RMSE in K, uncertainty, and seconds.",
        _details(shown, results),
    ]
    missing = [
        f"{r.method} leaves {r.missing:.1%} of {r.case} empty." for r in results if r.missing > 0.03
    ]
    return "\n\n".join(parts + missing) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Draw a Markdown table; all but the first column are numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def geometric(ratios: Sequence[float]) -> float | None:
    """Geometric mean; None of nothing."""
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else None


def _told(about: Mapping[str, Any], cases: int) -> str:
    names = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"Measured {about['date']} by `benchmarks/accuracy.py` on {cases} cases, default settings, "
        f"{about['seeds']} seed(s). {about['machine']}; {names}."
    )


def _number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else format(value, form)


def _ratios(shown: Sequence[str], rmse: Mapping[str, Mapping[str, float]], yardsticks: Peer) -> str:
    kinds = [kind for kind, belongs in KINDS.items() if any(map(belongs, rmse[PLAIN]))]
    columns = [(kind, name) for kind in kinds for name in yardsticks]
    rows = []
    for method in shown:
        means = [_mean_ratio(rmse[method], yardsticks[name], KINDS[kind]) for kind, name in columns]
        rows.append([method, *map(_number, means), _worst(rmse[method], yardsticks)])
    heads = [f"{kind} / {name}" for kind, name in columns]
    return table(["method", *heads, "worst case"], rows)


def _mean_ratio(
    rmse: Mapping[str, float], column: Mapping[str, float], belongs: Callable[[str], bool]
) -> float | None:
    return geometric([x / column[c] for c, x in rmse.items() if belongs(c) and c in column])


def _worst(rmse: Mapping[str, float], yardsticks: Peer) -> str:
    ratio, case = max(
        (x / min(column[case] for column in yardsticks.values() if case in column), case)
        for case, x in rmse.items()
    )
    return f"{ratio:.2f} ({case})"


def _honesty(shown: Sequence[str], results: Sequence[Any]) -> str:
    heads = [
        "method", "1 sigma", "2 sigma", "rank", "expected / true", "within", "seconds"
    ]  # fmt: skip
    rows = []
    for method in shown:
        mine = [r for r in results if r.method == method]
        land = [r for r in mine if KINDS["land"](r.case)]
        covered = [r.coverage for r in land if r.coverage is not None]
        ranks = [r.rank for r in land if r.rank is not None]
        expected = [r.expected / r.rmse for r in land if r.expected is not None]
        right = [abs(ratio - 1) <= TOLERANCE for ratio in expected]
        rows.append([
            method,
            _number(statistics.fmean(c[0] for c in covered) if covered else None),
            _number(statistics.fmean(c[1] for c in covered) if covered else None),
            _number(statistics.median(ranks) if ranks else None),
            _number(geometric(expected)),
            f"{sum(right)} of {len(land)}",
            _number(statistics.fmean(r.seconds for r in mine), ".1f"),
        ])  # fmt: skip
    return table(heads, rows)


def _cases(shown: Sequence[str], rmse: Mapping[str, Mapping[str, float]], yardsticks: Peer) -> str:
    columns = {**yardsticks, **{method: rmse[method] for method in shown}}
    rows = [
        [case, *(_number(column.get(case), ".3f") for column in columns.values())]
        for case in rmse[PLAIN]
    ]
    return table(["case", *columns], rows)


def _details(shown: Sequence[str], results: Sequence[Any]) -> str:
    heads = ["case", "method", "RMSE", "expected", "1 sigma", "2 sigma", "rank", "seconds"]
    rows = []
    for r in results:
        if r.method in shown:
            one, two = r.coverage or (None, None)
            numbers = (r.expected, one, two, r.rank, r.seconds)
            rows.append([r.case, r.method, _number(r.rmse), *map(_number, numbers)])
    return table(heads, rows)
