"""Metres on the ground, whatever coordinates a grid is in."""

import math

from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer


def metres(grid: GeoBox, shift: tuple[float, float]) -> tuple[float, float]:
    """Metres east and north of a shift in rows and columns, in the middle of a grid of any CRS."""
    assert grid.crs is not None
    rows, cols = grid.shape
    ends = [(cols / 2 + along, rows / 2 + down) for down, along in ((0.0, 0.0), shift)]
    x, y = zip(*(grid.transform * end for end in ends), strict=True)
    lon, lat = Transformer.from_crs(grid.crs.proj, "EPSG:4326", always_xy=True).transform(x, y)
    azimuth, _, length = Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])
    return length * math.sin(math.radians(azimuth)), length * math.cos(math.radians(azimuth))


def pixel_side(grid: GeoBox) -> float:
    """Shorter side of a pixel in the middle of a grid, m."""
    return min(math.hypot(*metres(grid, step)) for step in ((0.0, 1.0), (1.0, 0.0)))
