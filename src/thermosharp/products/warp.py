"""Layers of one grid on another: area average, bilinear or nearest, missing pixels respected.

Whatever the way, a target pixel is the weighted mean of the valid source pixels and is missing
where these make up less than half of the weight; what lies outside the source counts as missing.
Reading a window gives, to the last bit, what cropping the whole would give.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import rasterio.warp
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from scipy.sparse import csr_array

from thermosharp.scenes import Window

Method = Literal["average", "bilinear", "nearest"]
Reader = Callable[[Window], NDArray[np.float32]]

_LEAST_COVERAGE = 0.5 - 1e-9
_STRIP = 256  # target rows done at a time, to bound memory
_BLOCK = 512  # GDAL is called for blocks of the target laid from its corner: windows agree exactly


def method_between(source: GeoBox, target: GeoBox) -> Method:
    """Choose how to carry a continuous layer over: average if it is finer, bilinear if not.

    Pixels are compared by their areas at the middle of the target; equal ones count as finer,
    because the average keeps the area mean.
    """
    rows, cols = target.shape
    x, y = target.affine * (
        np.array([cols / 2, cols / 2 + 1, cols / 2]),
        np.array([rows / 2, rows / 2, rows / 2 + 1]),
    )
    if source.crs != target.crs:
        x, y = map(np.asarray, rasterio.warp.transform(_wkt(target), _wkt(source), x, y))
    col, row = ~source.affine * (x, y)
    dcol, drow = np.diff(col[[0, 1, 0, 2]])[::2], np.diff(row[[0, 1, 0, 2]])[::2]
    area = abs(dcol[0] * drow[1] - dcol[1] * drow[0])
    return "bilinear" if area < 1 - 1e-6 else "average"


def carry(
    read: Reader, source: GeoBox, target: GeoBox, *, window: Window, method: Method
) -> NDArray[np.float32]:
    """Bring layers of the `source` grid onto a window of the `target` grid.

    Parameters
    ----------
    read : callable
        Takes a window ``(rows, columns)`` inside the source and returns ``(band, y, x)``, NaN
        where missing.
    source, target : GeoBox
    window : (slice, slice)
        Rows and columns of the target, with start and stop.
    method : {"average", "bilinear", "nearest"}
        Exact area weights between grids of one CRS; GDAL's warper otherwise.

    Returns
    -------
    ndarray (band, y, x) of float32
    """
    if source == target:
        return read(window)
    if source.crs == target.crs and source.axis_aligned and target.axis_aligned:
        return _carry_by_axis(read, source, target, window, method)
    return _carry_by_gdal(read, source, target, window, method)


def _carry_by_axis(
    read: Reader, source: GeoBox, target: GeoBox, window: Window, method: Method
) -> NDArray[np.float32]:
    """Weigh rows and columns apart: in one CRS the weight of a pixel is their product."""
    across = _axis_weights(
        target.affine.a, target.affine.c, source.affine.a, source.affine.c, source.shape[1],
        window[1], method,
    )  # fmt: skip
    columns = _used(across)
    parts = []
    for start in range(window[0].start, window[0].stop, _STRIP):
        strip = slice(start, min(start + _STRIP, window[0].stop))
        down = _axis_weights(
            target.affine.e, target.affine.f, source.affine.e, source.affine.f, source.shape[0],
            strip, method,
        )  # fmt: skip
        rows = _used(down)
        if rows.start == rows.stop or columns.start == columns.stop:
            values = np.full((len(read((slice(0, 1), slice(0, 1)))), 1, 1), np.nan, np.float32)
            parts.append(np.broadcast_to(values, (len(values), down.shape[0], across.shape[0])))
            continue
        parts.append(_weigh(read((rows, columns)), down[:, rows], across[:, columns]))
    return np.concatenate(parts, axis=1)


def _axis_weights(
    step: float, start: float, source_step: float, source_start: float, size: int,
    part: slice, method: Method,
) -> Any:  # fmt: skip
    """Weights ``(target, source)`` along one axis, for the targets of `part`."""
    edges = (start + step * np.arange(part.start, part.stop + 1) - source_start) / source_step
    edges = np.round(edges, 6)  # a millionth of a pixel: grids that touch must not seem to overlap
    low, high = np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:])
    if method == "average":
        place, weight = _area_weights(low, high)
    else:
        place, weight = _point_weights((low + high) / 2, method)
    used = (place >= 0) & (place < size) & (weight > 0)
    target = np.broadcast_to(np.arange(len(low))[:, None], place.shape)
    return csr_array((weight[used], (target[used], place[used])), shape=(len(low), size))


def _area_weights(
    low: NDArray[Any], high: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Share of each target pixel that lies in each source pixel."""
    most = int(np.ceil((high - low).max())) + 1
    place = np.floor(low).astype(np.int64)[:, None] + np.arange(most)
    overlap = np.minimum(high[:, None], place + 1) - np.maximum(low[:, None], place)
    return place, np.clip(overlap, 0, None) / (high - low)[:, None]


def _point_weights(
    centre: NDArray[Any], method: Method
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if method == "nearest":
        return np.floor(centre).astype(np.int64)[:, None], np.ones((len(centre), 1))
    place = np.floor(centre - 0.5).astype(np.int64)[:, None] + np.arange(2)
    return place, 1 - np.abs(centre[:, None] - 0.5 - place)


def _used(weights: Any) -> slice:
    """Range of source pixels that carry any weight."""
    if weights.nnz == 0:
        return slice(0, 0)
    return slice(int(weights.indices.min()), int(weights.indices.max()) + 1)


def _weigh(values: NDArray[np.float32], down: Any, across: Any) -> NDArray[np.float32]:
    """Weighted mean of the valid pixels of each band."""
    result = np.empty((len(values), down.shape[0], across.shape[0]), np.float32)
    for band, mean in zip(values, result, strict=True):
        valid = np.isfinite(band)
        total = down @ (across @ np.where(valid, band, 0).astype(np.float64).T).T
        weight = down @ (across @ valid.astype(np.float64).T).T
        mean[:] = _mean(total, weight)
    return result


def _mean(total: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    covered = weight >= _LEAST_COVERAGE
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=covered)


def _carry_by_gdal(
    read: Reader, source: GeoBox, target: GeoBox, window: Window, method: Method
) -> NDArray[np.float32]:
    shape = tuple(part.stop - part.start for part in window)
    result: NDArray[np.float32] | None = None
    for block in _blocks_touching(window, target.shape):
        piece = _warp(read, source, target[block], method)
        if result is None:
            result = np.empty((len(piece), *shape), np.float32)
        common = [
            slice(max(b.start, w.start), min(b.stop, w.stop))
            for b, w in zip(block, window, strict=True)
        ]
        into = tuple(_shifted(c, w.start) for c, w in zip(common, window, strict=True))
        outof = tuple(_shifted(c, b.start) for c, b in zip(common, block, strict=True))
        result[(slice(None), *into)] = piece[(slice(None), *outof)]
    assert result is not None, "a window has at least one pixel"
    return result


def _shifted(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)


def _blocks_touching(window: Window, shape: tuple[int, int]) -> Iterator[Window]:
    ranges = [range(part.start // _BLOCK * _BLOCK, part.stop, _BLOCK) for part in window]
    for row in ranges[0]:
        for col in ranges[1]:
            yield (
                slice(row, min(row + _BLOCK, shape[0])),
                slice(col, min(col + _BLOCK, shape[1])),
            )


def _warp(read: Reader, source: GeoBox, target: GeoBox, method: Method) -> NDArray[np.float32]:
    """Warp values and their validity apart, so that no missing value leaks into a mean."""
    rows, cols = _window_under(source, target)
    inside = (
        slice(max(rows.start, 0), min(rows.stop, source.shape[0])),
        slice(max(cols.start, 0), min(cols.stop, source.shape[1])),
    )
    if any(part.start >= part.stop for part in inside):
        bands = len(read((slice(0, 1), slice(0, 1))))
        return np.full((bands, *target.shape), np.nan, np.float32)
    values = read(inside)
    # A rim of missing pixels: GDAL would else let the source's edge stand for what is beyond it.
    padding = [
        (part.start - whole.start, whole.stop - part.stop)
        for part, whole in zip(inside, (rows, cols), strict=True)
    ]
    transform = source.affine * source.affine.translation(cols.start, rows.start)
    result = np.empty((len(values), *target.shape), np.float32)
    for band, mean in zip(values, result, strict=True):
        valid = np.isfinite(band)
        total, weight = (
            _reproject(np.pad(layer, padding), transform, source, target, method)
            for layer in (np.where(valid, band, 0).astype(np.float64), valid.astype(np.float64))
        )
        mean[:] = _mean(total, weight)
    return result


def _window_under(source: GeoBox, target: GeoBox) -> Window:
    """Source pixels under the target with a rim of three, reaching beyond the image if need be."""
    left, bottom, right, top = rasterio.warp.transform_bounds(
        _wkt(target), _wkt(source), *target.boundingbox
    )
    x, y = np.array([left, right, left, right]), np.array([bottom, bottom, top, top])
    col, row = ~source.affine * (x, y)
    spans = [(int(np.floor(axis.min())) - 3, int(np.ceil(axis.max())) + 3) for axis in (row, col)]
    return slice(*spans[0]), slice(*spans[1])


def _reproject(
    layer: NDArray[np.float64], transform: Any, source: GeoBox, target: GeoBox, method: Method
) -> NDArray[np.float64]:
    result = np.zeros(target.shape, np.float64)
    rasterio.warp.reproject(
        layer,
        result,
        src_transform=transform,
        src_crs=_wkt(source),
        dst_transform=target.affine,
        dst_crs=_wkt(target),
        resampling=Resampling[method],
    )
    return result


def _wkt(geobox: GeoBox) -> str:
    return str(geobox.crs.to_wkt())
