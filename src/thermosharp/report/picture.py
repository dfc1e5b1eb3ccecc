"""A scene as it is drawn: observed and sharpened, on one grid of a drawable size."""

from dataclasses import dataclass
from datetime import date

import numpy as np
from odc.geo.geobox import GeoBox

from thermosharp.rasters import Raster
from thermosharp.report.pixels import (
    block_mean,
    coarsened,
    ground_resolution,
    on_grid,
    robust_limits,
    step_for,
)
from thermosharp.scenes import SharpenedScene


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a figure shows.

    Attributes
    ----------
    name : str
    observed, sharpened : Raster (y, x)
        Kelvin on one grid; the coarse pixels are the blocks that they are. NaN where unknown:
        clouds have a temperature too, but not the land's.
    coarse, fine : float
        Pixel sizes before anything was averaged for drawing, m.
    acquired : datetime, date, or None
        UTC.
    method : str
    """

    name: str
    observed: Raster
    sharpened: Raster
    coarse: float
    fine: float
    acquired: date | None
    method: str

    @property
    def grid(self) -> GeoBox:
        """The grid that both lie on."""
        return self.sharpened.geobox

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of one robust colour scale for both, K."""
        return robust_limits(self.observed.values, self.sharpened.values)

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the middle, degrees."""
        return centre(self.grid)


def centre(geobox: GeoBox) -> tuple[float, float]:
    """Longitude and latitude of the middle of a grid, degrees."""
    point = geobox.extent.centroid.to_crs("EPSG:4326")
    ((lon, lat),) = point.coords
    return float(lon), float(lat)


def picture_of(sharp: SharpenedScene, most: int) -> Picture:
    """Return what is drawn of a scene, no side longer than `most` pixels."""
    step = step_for(sharp.geobox, most)
    values = sharp.values("lst")
    if step > 1:
        values = block_mean(values, step)
    grid = coarsened(sharp.geobox, step)
    return Picture(
        name=sharp.name,
        observed=on_grid(sharp.thermal.usable_kelvin, grid),
        sharpened=Raster(values.astype(np.float32), grid),
        coarse=ground_resolution(sharp.thermal.geobox),
        fine=ground_resolution(sharp.geobox),
        acquired=sharp.thermal.acquired,
        method=sharp.method,
    )
