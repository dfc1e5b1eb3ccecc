"""The predictors as the coarse pixels see them: what methods learn from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp import kernels
from thermosharp.errors import NothingToLearn
from thermosharp.grids import GridPair, Strip
from thermosharp.overlap import SeparableOverlap
from thermosharp.rasters import Window
from thermosharp.scenes import Predictors
from thermosharp.storage import release, zeros
from thermosharp.threads import in_threads

Array = NDArray[Any]

#: All columns of an image.
EVERY = slice(None)

#: Share of a coarse pixel below which a mean would be rounding.
LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class CoarseSamples:
    """The predictors as the coarse pixels see them.

    Attributes
    ----------
    means : (band, y, x)
        Area means over the valid fine pixels; NaN where there are none.
    heterogeneity : (y, x)
        Mean over the bands of (standard deviation / mean) of the fine pixels in a coarse pixel.
    trained : (y, x) of bool
        Pixels to learn from.
    """

    means: Array
    heterogeneity: Array
    trained: Array


def lines_of(predictors: Predictors, rows: slice) -> Array:
    """Layers of some fine rows, line by line: float32 ``(y, band, x)``, as compiled loops want."""
    layers = predictors.crop((rows, EVERY)).values
    lines: Array = np.ascontiguousarray(layers.transpose(1, 0, 2), np.float32)
    return lines


@dataclass(frozen=True)
class Sums:
    """The predictors added up over the coarse pixels.

    Attributes
    ----------
    share : (y, x)
        Of each coarse pixel, that has values.
    total, square : (band, y, x)
        Sum of the values above a level, and of their squares, by their shares.
    level : (band,)
        The variance of a small spread on a large mean would drown in rounding.
    """

    share: Array
    total: Array
    square: Array
    level: Array

    @classmethod
    def of(cls, pair: GridPair, predictors: Predictors) -> "Sums":
        """Add the predictors up, strip by strip."""
        level = _level(pair.strips(), predictors)

        def work(strip: Strip) -> tuple[Window, Array, Array, Array]:
            lines = lines_of(predictors, strip.rows)
            sums = moments_of(strip, lines, level)
            release(lines)
            return strip.window, *sums

        share = np.zeros(pair.coarse.shape)
        total, square = sums = zeros((2, len(level), *share.shape), np.float64)
        for window, part, first, second in in_threads(work, pair.strips()):
            share[window] += part
            total[(EVERY, *window)] += first
            square[(EVERY, *window)] += second
            release(sums)
        return cls(share, total, square, level)


def coarsen(sums: Sums, trained: Array, name: str) -> CoarseSamples:
    """Turn sums, in place, into means and how mixed each coarse pixel is.

    Heterogeneity is the mean over the bands of the coefficient of variation of the fine pixels
    inside a coarse pixel (Gao et al. 2012, section 2.2). Where the mean of a band is smaller
    than its spread over the scene, as with indices near zero, the spread stands in for it.

    Parameters
    ----------
    sums : Sums
    trained : (y, x) of bool
    name : str
        Of the predictors.

    Raises
    ------
    NothingToLearn
        No band varies over the coarse pixels in `trained`.
    """
    means, spreads = sums.total, sums.square
    share = np.where(sums.share > LEAST_SHARE, sums.share, np.nan)

    def work(band: int) -> bool:
        """Finish a band in place, for they are large; tell whether it varies."""
        mean, spread = means[band], spreads[band]
        mean /= share
        spread /= share
        spread -= mean**2
        np.sqrt(np.maximum(spread, 0, out=spread), out=spread)
        mean += sums.level[band]
        values = mean[trained]
        floor = np.maximum(values.std(), np.finfo(np.float32).tiny)
        spread /= np.maximum(np.abs(mean), floor)
        return bool(np.ptp(values) > 1e-6 * np.abs(values).max())

    heterogeneity = np.zeros(trained.shape)
    varies = []
    for band, various in enumerate(in_threads(work, range(len(means)))):
        heterogeneity += spreads[band]
        release(means[band])
        release(spreads[band])
        varies.append(various)
    if not any(varies):
        raise NothingToLearn(
            f"{name}: the predictors are constant",
            expected="at least one layer that varies from place to place",
            came=f"{len(means)} layer(s) without any variation over {trained.sum()} LST pixels",
            advice="check that the fine image is the right one and not an empty export",
        )
    return CoarseSamples(means, heterogeneity / len(means), trained)


def _level(strips: Iterable[Strip], predictors: Predictors) -> Array:
    """Mean of each band over the first strip that has valid pixels."""
    for strip in strips:
        part = predictors.crop((strip.rows, EVERY))
        if (valid := part.valid).any():
            mean: Array = part.values.mean(axis=(1, 2), where=valid, dtype=np.float64)
            return mean
    return np.zeros(len(predictors.bands))


def moments_of(strip: Strip, lines: Array, level: Array) -> tuple[Array, Array, Array]:
    """Add up layers over the coarse pixels of a strip's window, where all have a value.

    Parameters
    ----------
    strip : Strip
    lines : float32 (y, band, x)
        Layers of the strip's rows.
    level : (band,)
        Taken off each layer first.

    Returns
    -------
    share : (y, x)
        Of each coarse pixel, that has values.
    total, square : (band, y, x)
        Sum of the values, and of their squares, by their shares.
    """
    overlap, shape = strip.overlap, strip.pair.coarse.shape
    if isinstance(overlap, SeparableOverlap) and overlap.axes is not None:
        share, (total, square) = np.zeros(shape), np.zeros((2, len(level), *shape))
        y, x = overlap.axes
        kernels.strips.moments(lines, level, y, x, share, total, square)
        return share, total, square
    valid = np.isfinite(lines).all(axis=1)
    centred: list[Array] = [
        np.where(valid, lines[:, band] - middle, 0) for band, middle in enumerate(level)
    ]
    return (
        overlap.total(np.asarray(valid, np.float64)),
        np.stack([overlap.total(band) for band in centred]),
        np.stack([overlap.total(band * band) for band in centred]),
    )
