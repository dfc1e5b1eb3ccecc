"""A scene as it is drawn: observed and sharpened, on one grid of a drawable size.

Of scenes too wide for a street to show, the part where the sharpening changed most is cut out too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.rasters import Raster, Window
from thermosharp.report.pixels import (
    block_mean,
    coarsened,
    ground_resolution,
    on_grid,
    robust_limits,
    step_for,
)
from thermosharp.scenes import SharpenedScene

#: Width of the close-up in coarse pixels: wide enough for a quarter of a town, few enough to count.
CLOSE_UP_PIXELS = 55


@dataclass(frozen=True, kw_only=True)
class CloseUp:
    """A part of a scene, its pixels as they are.

    Attributes
    ----------
    observed, sharpened : Raster (y, x)
        Kelvin on one grid.
    """

    observed: Raster
    sharpened: Raster


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
    close_up : CloseUp, optional
        Where the scene is wide.
    """

    name: str
    observed: Raster
    sharpened: Raster
    coarse: float
    fine: float
    acquired: date | None
    method: str
    close_up: CloseUp | None = None

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
    lst, grid = sharp.values("lst"), sharp.geobox
    return pictured(
        name=sharp.name, observed=sharp.thermal.usable_kelvin,
        sharpened=averaged(Raster(lst, grid), step_for(grid, most)),
        grid=grid, cut=lambda window: Raster(lst[window], grid[window]), most=most,
        acquired=sharp.thermal.acquired, method=sharp.method,
    )  # fmt: skip


def pictured(
    *, name: str, observed: Raster, sharpened: Raster, grid: GeoBox,
    cut: Callable[[Window], Raster], most: int, acquired: date | None, method: str,
) -> Picture:  # fmt: skip
    """Put together what is drawn of a scene.

    Parameters
    ----------
    name : str
    observed : Raster (coarse y, coarse x)
    sharpened : Raster (y, x)
        Averaged to no more than `most` pixels a side.
    grid : GeoBox
        Of the map before it was averaged.
    cut : callable
        Gives a window of that map.
    most : int
    acquired : datetime, date, or None
    method : str

    Returns
    -------
    Picture
    """
    shown, coarse = on_grid(observed, sharpened.geobox), ground_resolution(observed.geobox)
    window = _most_gained(
        shown.values, sharpened.values, coarse / ground_resolution(sharpened.geobox)
    )
    close_up = None
    if window is not None:
        step = step_for(grid, most)
        rows, columns = (
            slice(at.start * step, min(at.stop * step, size))
            for at, size in zip(window, grid.shape, strict=True)
        )
        part = cut((rows, columns))
        part = averaged(part, step_for(part.geobox, most))
        close_up = CloseUp(observed=on_grid(observed, part.geobox), sharpened=part)
    return Picture(
        name=name, observed=shown, sharpened=sharpened, coarse=coarse,
        fine=ground_resolution(grid), acquired=acquired, method=method, close_up=close_up,
    )  # fmt: skip


def averaged(layer: Raster, step: int) -> Raster:
    """Return the means of step x step pixels of a layer ``(y, x)``, float32."""
    values = block_mean(layer.values, step) if step > 1 else layer.values
    return Raster(values.astype(np.float32), coarsened(layer.geobox, step))


def _most_gained(observed: NDArray[Any], sharpened: NDArray[Any], coarse: float) -> Window | None:
    """Find the window with the most detail gained, well covered; None if all is close enough."""
    height, width = sharpened.shape
    share = CLOSE_UP_PIXELS * coarse / max(height, width)
    if share > 0.5:
        return None
    size = (max(int(height * share), 1), max(int(width * share), 1))
    gained = np.abs(sharpened - observed)
    # Half a window apart: a fine search costs more than it shows.
    best, where = 0.0, None
    for top in range(0, height - size[0] + 1, max(size[0] // 2, 1)):
        for left in range(0, width - size[1] + 1, max(size[1] // 2, 1)):
            window = (slice(top, top + size[0]), slice(left, left + size[1]))
            part = gained[window]
            known = np.isfinite(part)
            if known.mean() > 0.95 and (detail := float(part[known].mean())) > best:
                best, where = detail, window
    return where
