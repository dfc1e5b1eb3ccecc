"""Fewer pixels, and the same place on another grid: what every picture needs."""

import math
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.warp import rio_reproject
from rasterio.fill import fillnodata

from thermosharp.errors import MissingCRS
from thermosharp.rasters import Raster
from thermosharp.storage import release

CELSIUS_ZERO = 273.15
#: Percentiles between which a colour scale runs: a few hot roofs must not flatten the rest.
ROBUST = (2.0, 98.0)
#: A colour scale is never narrower than this, K: noise is no pattern.
NARROWEST = 1.0
#: Pixels a side that are looked at for a colour scale; more would not move it.
_SAMPLED = 600
_METRES_PER_DEGREE = 111_195.0
#: Rows of blocks that are averaged at a time.
_BLOCKS = 64
#: Held while rasterio wraps arrays for GDAL: the warning that it keeps back gets out where several
#: threads do so at a time.
_wrapping = Lock()


def block_mean(values: NDArray[np.floating], step: int) -> NDArray[np.floating]:
    """Mean of step x step blocks ``(y, x)``, leaving NaN out; blocks at the rim may be smaller."""
    means = []
    for top in range(0, values.shape[0], step * _BLOCKS):  # an image may be larger than the memory
        part = values[top : top + step * _BLOCKS]
        finite = np.isfinite(part)
        whole = finite.all()
        total = _block_sum(part if whole else np.where(finite, part, np.float32(0)), step)
        if whole:
            high, wide = (_block_sum(np.ones((n, 1), np.float32), step) for n in part.shape)
            means.append(total / (high * wide.T))
        else:
            count = _block_sum(finite.astype(np.float32), step)
            means.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        release(values)
    return np.concatenate(means)


def _block_sum(array: NDArray[np.floating], step: int) -> NDArray[np.floating]:
    """Sum of step x step blocks: of every step-th row, of those after them, and so on."""
    for _ in array.shape:
        total = array[::step].copy()
        for k in range(1, min(step, len(array))):
            part = array[k::step]
            total[: len(part)] += part
        array = total.T  # rows, then columns, and back
    return array


def step_for(geobox: GeoBox, most: int) -> int:
    """How many pixels must become one for no side of a grid to be longer than `most`."""
    return -(-max(geobox.shape) // most)


def coarsened(geobox: GeoBox, step: int) -> GeoBox:
    """Grid of the blocks that :func:`block_mean` makes."""
    shape = -(-geobox.shape.y // step), -(-geobox.shape.x // step)
    return GeoBox(shape, geobox.transform * geobox.transform.scale(step), geobox.crs)


def on_grid(layer: Raster, grid: GeoBox, resampling: str | None = None) -> Raster:
    """Show a layer ``(y, x)`` on another grid, float32, NaN where it has nothing.

    Each pixel as the block that it is, by nearest neighbour; where the grid has the larger pixels,
    the mean. Unless `resampling` names another way of GDAL's, such as ``cubic``.
    """
    own = layer.geobox
    if resampling is None:
        larger = ground_resolution(grid) > 1.2 * ground_resolution(own)
        resampling = "average" if larger else "nearest"
    source = layer.values.astype(np.float32, copy=False)
    shown = np.full(grid.shape, np.nan, np.float32)
    with _wrapping:
        rio_reproject(source, shown, own, grid, resampling, src_nodata=np.nan, dst_nodata=np.nan)
    return Raster(shown, grid)


def filled(layer: Raster, reach: int) -> Raster:
    """Fill what is missing of a layer ``(y, x)`` from no more than `reach` pixels around."""
    known = np.isfinite(layer.values)
    with _wrapping:
        values = fillnodata(layer.values.astype(np.float32), known, max_search_distance=reach)
    return Raster(values, layer.geobox)


def ground_resolution(geobox: GeoBox) -> float:
    """Return the pixel height in metres."""
    size = abs(float(geobox.resolution.y))
    if crs_of(geobox).geographic:
        return size * _METRES_PER_DEGREE
    return size * metres_per_unit(geobox)


def ground_width(geobox: GeoBox) -> float:
    """Return the pixel width in metres, at the middle of the grid."""
    size = abs(float(geobox.resolution.x))
    if not crs_of(geobox).geographic:
        return size * metres_per_unit(geobox)
    _, south, _, north = geobox.boundingbox.bbox
    return size * _METRES_PER_DEGREE * max(math.cos(math.radians((south + north) / 2)), 0.05)


def row_areas(geobox: GeoBox) -> NDArray[np.float64]:
    """Area of a pixel of each row, m2, on a sphere where the grid is in degrees."""
    rows = geobox.shape[0]
    if not crs_of(geobox).geographic:
        size = abs(float(geobox.resolution.x) * float(geobox.resolution.y))
        return np.full(rows, size * metres_per_unit(geobox) ** 2)
    latitude = geobox.transform.f + geobox.transform.e * (np.arange(rows) + 0.5)
    height = abs(float(geobox.resolution.y)) * _METRES_PER_DEGREE
    width = abs(float(geobox.resolution.x)) * _METRES_PER_DEGREE
    areas: NDArray[np.float64] = height * width * np.cos(np.radians(latitude))
    return areas


def crs_of(geobox: GeoBox) -> CRS:
    """Return the CRS, which every raster that reaches us has: reading refuses the others."""
    if geobox.crs is None:
        raise MissingCRS("The grid of a scene has no coordinate reference system")
    return geobox.crs


def metres_per_unit(geobox: GeoBox) -> float:
    """Length of a unit of the grid's projection, m."""
    return float(crs_of(geobox).proj.axis_info[0].unit_conversion_factor)


def robust_limits(*layers: NDArray[np.floating]) -> tuple[float, float]:
    """Return the ends of one colour scale for several layers, in their unit."""
    thinned = [
        layer[tuple(slice(None, None, -(-n // _SAMPLED)) for n in layer.shape)] for layer in layers
    ]
    pooled = np.concatenate([layer[np.isfinite(layer)] for layer in thinned])
    for layer in layers:
        release(layer)
    if pooled.size == 0:
        return 0.0, NARROWEST
    low, high = (float(end) for end in np.percentile(pooled, ROBUST))
    widen = max(NARROWEST - (high - low), 0.0) / 2
    return low - widen, high + widen
