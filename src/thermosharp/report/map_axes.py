"""Axes of a map: kilometres or degrees, a scale bar, the frame of a close-up."""

from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from odc.geo.geobox import GeoBox

from thermosharp.report.pixels import crs_of, ground_width, metres_per_unit

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class MapAxes:
    """How pixel edges of the drawn grid become axis numbers.

    Attributes
    ----------
    grid : GeoBox
        What is drawn.
    extent : tuple of float
        (left, right, bottom, top) of the whole grid.
    aspect : float
        Length on the ground of one unit up, over one unit to the right.
    labels : tuple of str
        Of the x and y axis.
    width : float
        Of the whole grid on the ground, m.
    """

    grid: GeoBox
    extent: Box
    aspect: float
    labels: tuple[str, str]
    width: float

    @property
    def height_over_width(self) -> float:
        """Shape of the whole grid on the ground."""
        left, right, bottom, top = self.extent
        return self.aspect * abs(top - bottom) / abs(right - left)

    def part(self, grid: GeoBox) -> Box:
        """Extent of a part of the map that has a grid of its own, parallel to this one."""
        left, right, bottom, top = self.extent
        place = ~self.grid.transform * grid.transform
        dx, dy = (right - left) / self.grid.shape[1], (bottom - top) / self.grid.shape[0]
        return (
            left + place.c * dx,
            left + (place.c + place.a * grid.shape[1]) * dx,
            top + (place.f + place.e * grid.shape[0]) * dy,
            top + place.f * dy,
        )


def axes_of(grid: GeoBox) -> MapAxes:
    """Axes in kilometres from the lower left corner; in degrees where the grid is in degrees."""
    height, width = grid.shape
    left, bottom, right, top = grid.boundingbox.bbox
    across = ground_width(grid) * width
    if crs_of(grid).geographic:
        aspect = 1 / max(np.cos(np.radians((bottom + top) / 2)), 0.05)
        labels = ("longitude (°)", "latitude (°)")
        return MapAxes(grid, (left, right, bottom, top), aspect, labels, across)
    up = abs(grid.resolution.y) * height * metres_per_unit(grid) / 1000
    return MapAxes(grid, (0.0, across / 1000, 0.0, up), 1.0, ("km east", "km north"), across)


def scale_bar(ax: Axes, layout: MapAxes) -> None:
    """Draw a bar of a round length, about a quarter of the map, into its lower left corner."""
    metres = round_length(layout.width / 3)
    share = metres / layout.width
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    edge = [patheffects.withStroke(linewidth=3, foreground="#000000b0")]
    x, y = 0.035, 0.04
    ax.plot(
        (x, x + share), (y, y), transform=ax.transAxes, color="white", linewidth=2.2,
        solid_capstyle="butt", path_effects=edge, clip_on=False,
    )  # fmt: skip
    ax.text(
        x, y + 0.015, text, transform=ax.transAxes, color="white", fontsize=8, va="bottom",
        path_effects=edge,
    )  # fmt: skip


def round_length(longest: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20, ... that is not above `longest`."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(n for n in (1, 2, 5) if n * power <= longest * (1 + 1e-9)) * power)


def frame(ax: Axes, part: Box, colour: str) -> None:
    """Draw the outline of a part of the map."""
    left, right, bottom, top = part
    ax.add_patch(
        Rectangle(
            (left, bottom), right - left, top - bottom, fill=False, edgecolor=colour, linewidth=1.6
        )
    )
