"""Layers of one grid on another: area average, bilinear or nearest, missing pixels respected.

Whatever the way, a target pixel is the weighted mean of the valid source pixels and is missing
where these make up less than half of the weight; what lies outside the source counts as missing.
This is for predictors and masks. LST is never brought to another grid.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.grids import common_window, pixel_ratio
from thermosharp.overlap import overlap_of
from thermosharp.rasters import Window

Method = Literal["average", "bilinear", "nearest"]
Reader = Callable[[Window], NDArray[np.float32]]

#: Smallest weight of valid source pixels; rounding must not decide about exactly a half.
_LEAST_COVERAGE = 0.5 - 1e-6

#: Target rows done at a time, to bound memory.
_STRIP = 512


def method_between(source: GeoBox, target: GeoBox) -> Method:
    """Choose how to carry a continuous layer over: average if it is finer, bilinear if not.

    Equal pixels count as finer, because the average keeps the area mean.
    """
    return "average" if pixel_ratio(target, source) > 1 - 1e-6 else "bilinear"


def carry(
    read: Reader, source: GeoBox, target: GeoBox, *, window: Window, method: Method
) -> NDArray[np.float32]:
    """Bring layers of the `source` grid onto a window of the `target` grid, in any CRS.

    Parameters
    ----------
    read : callable
        Takes a window ``(rows, columns)`` inside the source and returns ``(band, y, x)``, NaN
        where missing.
    source, target : GeoBox
    window : (slice, slice)
        Rows and columns of the target, with start and stop.
    method : {"average", "bilinear", "nearest"}

    Returns
    -------
    ndarray (band, y, x) of float32
    """
    if source == target:
        return read(window)
    strips = [_carry_strip(read, source, target[part], method) for part in _strips(window)]
    return np.concatenate(strips, axis=1)


def _strips(window: Window) -> Iterator[Window]:
    rows, cols = window
    for start in range(rows.start, rows.stop, _STRIP):
        yield slice(start, min(start + _STRIP, rows.stop)), cols


def _carry_strip(
    read: Reader, source: GeoBox, target: GeoBox, method: Method
) -> NDArray[np.float32]:
    reach = common_window(source, target, pad=2)
    if reach is None:
        bands = len(read((slice(0, 1), slice(0, 1))))
        return np.full((bands, *target.shape), np.nan, np.float32)
    values = read(reach)
    weigh = _weigher(source[reach], target, method)
    result = np.full((len(values), *target.shape), np.nan, np.float32)
    for band, mean in zip(values, result, strict=True):
        valid = np.isfinite(band)
        total = weigh(np.where(valid, band, 0).astype(np.float64))
        weight = weigh(valid.astype(np.float64))
        np.divide(total, weight, out=mean, where=weight >= _LEAST_COVERAGE, casting="same_kind")
    return result


def _weigher(
    source: GeoBox, target: GeoBox, method: Method
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Build the linear map from source images to target images."""
    if method == "average":
        return overlap_of(target, source).total
    overlap = overlap_of(source, target)
    located = overlap.located()
    inside = np.ones(target.shape, bool)
    for at, size in zip(located, source.shape, strict=True):
        inside &= (at >= -0.5 - 1e-6) & (at <= size - 0.5 + 1e-6)
    if method == "bilinear":
        return lambda image: np.where(inside, overlap.interpolate(image, 1), 0)
    rows, cols = (
        np.clip(np.floor(at + 0.5).astype(np.int64), 0, size - 1)
        for at, size in zip(located, source.shape, strict=True)
    )
    return lambda image: np.where(inside, image[rows, cols], 0)
