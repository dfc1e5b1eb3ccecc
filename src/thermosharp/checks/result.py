"""What can be told of a sharpened scene: the checks that always run."""

from collections.abc import Iterator

import numpy as np

from thermosharp.findings import Finding
from thermosharp.grids import strips_of
from thermosharp.scenes import SharpenedScene
from thermosharp.storage import release
from thermosharp.thresholds import Thresholds


def check_result(
    sharp: SharpenedScene, thresholds: Thresholds, *, box: int = 1
) -> tuple[Finding, ...]:
    """Hold a sharpened scene against what was observed.

    Parameters
    ----------
    sharp : SharpenedScene
    thresholds : Thresholds
    box : int
        Coarse pixels a side over which means were held.
    """
    return (
        *_residual(sharp, thresholds),
        *_means(sharp, thresholds),
        *_range(sharp, thresholds),
        *_unrelated(sharp, thresholds),
        *_empty(sharp, thresholds),
        *_widened(box),
    )


def _residual(sharp: SharpenedScene, thresholds: Thresholds) -> Iterator[Finding]:
    left = sharp.diagnostics.rmsd_before
    if left > thresholds.unexplained_rmsd:
        yield Finding(
            "RESULT_RESIDUAL", "error",
            f"what {sharp.method} could not explain is {left:.1f} K in the root mean square: the "
            "images do not belong together, or the temperatures are wrong",
            "check that both are of one place and season, and the scale of LST", left,
        )  # fmt: skip


def _means(sharp: SharpenedScene, thresholds: Thresholds) -> Iterator[Finding]:
    bias, rmsd = sharp.diagnostics.bias_after, sharp.diagnostics.rmsd_after
    if abs(bias) > thresholds.bias or rmsd > thresholds.kept_rmsd:
        yield Finding(
            "RESULT_BIAS", "warning",
            f"area means of the result differ from the LST by {bias:+.2f} K on average and "
            f"{rmsd:.2f} K in the root mean square",
            "look at the second band of the residual map for where", rmsd,
        )  # fmt: skip


def _range(sharp: SharpenedScene, thresholds: Thresholds) -> Iterator[Finding]:
    observed = sharp.thermal.values("lst")[sharp.thermal.values("usable")]
    if not observed.size:
        return
    low = observed.min() - thresholds.range_margin
    high = observed.max() + thresholds.range_margin
    written, outside, least, most = 0, 0, np.inf, -np.inf
    for rows in strips_of(sharp.geobox.shape):  # the image may be larger than the memory
        strip = sharp.values("lst")[rows]
        part = strip[np.isfinite(strip)]
        written, outside = written + part.size, outside + int(((part < low) | (part > high)).sum())
        least, most = min(least, part.min(initial=np.inf)), max(most, part.max(initial=-np.inf))
        release(strip)
    share = outside / max(written, 1)
    if share > thresholds.outside_share:
        yield Finding(
            "RESULT_RANGE", "warning",
            f"{share:.1%} of the result lies outside {low:.1f} to {high:.1f} K, which is what was "
            f"observed and {thresholds.range_margin:g} K more (it reaches from {least:.1f} "
            f"to {most:.1f} K)",
            "look at where; clouds in the fine image that no mask knows are the usual cause", share,
        )  # fmt: skip


def _unrelated(sharp: SharpenedScene, thresholds: Thresholds) -> Iterator[Finding]:
    r2 = sharp.diagnostics.r2
    if r2 is not None and r2 < thresholds.unrelated_r2:
        yield Finding(
            "RESULT_UNRELATED", "warning",
            f"the fine image explains only {max(r2, 0):.0%} of the variance of LST",
            "check dates and places of both; `thermosharp evaluate` says whether the result is "
            "better than interpolation", r2,
        )  # fmt: skip


def _empty(sharp: SharpenedScene, thresholds: Thresholds) -> Iterator[Finding]:
    """Compare what is written with what the usable coarse pixels in reach would fill."""
    numbers = sharp.diagnostics
    if not numbers.coarse_usable:
        return
    lost = 1 - numbers.coarse_trained / numbers.coarse_usable
    if lost > thresholds.lost_share:
        yield Finding(
            "RESULT_EMPTY", "warning",
            f"{lost:.0%} of the usable LST pixels have hardly any fine pixels that are known: the "
            "result has holes there",
            "use a fine image with fewer gaps", lost,
        )  # fmt: skip


def _widened(box: int) -> Iterator[Finding]:
    if box > 1:
        yield Finding(
            "CONSERVATION_WIDENED", "info",
            f"where LST lies is doubtful: means are held over boxes of {box} x {box} pixels, not "
            "over every pixel",
            "see the findings about geolocation", float(box),
        )  # fmt: skip
