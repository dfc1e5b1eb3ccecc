"""The quicklook of a sharpened scene: observed and sharpened side by side, on one colour scale.

Scenes too wide for a street to show get a second row: the same close-up of both, where the
sharpening changed most.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_reproject

from thermosharp.errors import MissingCRS
from thermosharp.scenes import SharpenedScene, raster
from thermosharp.storage import release

#: Side length in pixels above which images are averaged before they are drawn.
MAX_PIXELS = 1600
#: Width of the close-up in coarse pixels: wide enough for a quarter of a town, few enough to count.
CLOSE_UP_PIXELS = 55
CELSIUS_ZERO = 273.15
#: Rows of blocks that are averaged at a time.
_BLOCKS = 64
DPI = 150
INK, MUTED, MISSING, FRAME = "#1a1a1a", "#6b6b6b", "#d9d9d9", "#35c9c3"

# Inches.
_PANEL, _MIN_PANEL = 5.4, 1.3
_LEFT, _GAP, _RIGHT, _TOP, _BOTTOM = 0.75, 0.3, 1.25, 1.15, 0.65


@dataclass(frozen=True)
class _Axes2D:
    """How pixel edges of the drawn grid become axis numbers.

    Attributes
    ----------
    extent : tuple of float
        (left, right, bottom, top) of the whole grid.
    aspect : float
        Length on the ground of one unit up, over one unit to the right.
    labels : tuple of str
        Of the x and y axis.
    """

    extent: tuple[float, float, float, float]
    aspect: float
    labels: tuple[str, str]

    @property
    def height_over_width(self) -> float:
        left, right, bottom, top = self.extent
        return self.aspect * abs(top - bottom) / abs(right - left)


def quicklook(sharp: SharpenedScene, *, celsius: bool = False) -> bytes:
    """Draw a scene before and after sharpening.

    Parameters
    ----------
    sharp : SharpenedScene
    celsius : bool
        Degrees Celsius instead of kelvin.

    Returns
    -------
    bytes
        A PNG.
    """
    shown, step = _decimated(sharp)
    grid = _coarsened(sharp.geobox, step)
    # Clouds have a temperature too, but not the land's: they are grey on both sides.
    usable = _on_grid(sharp, sharp.thermal.lst.where(sharp.thermal.usable).values, grid)
    zero = CELSIUS_ZERO if celsius else 0.0
    norm = _scale(usable - zero, shown - zero)
    layout = _axes_of(grid)
    window = _close_up(usable, shown, _coarse_in_shown(sharp, grid))
    rows = [None] if window is None else [None, window]

    figure, axes = _canvas(layout.height_over_width, len(rows))
    for pair, part in zip(axes, rows, strict=True):
        image = _pair(pair, (usable - zero, shown - zero), layout, norm, part)
    if window is not None:
        for ax in axes[0]:
            _frame(ax, layout, shown.shape, window)
    _colour_bar(figure, axes, image, "°C" if celsius else "K")
    _words(figure, axes, sharp)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


# --- pixels -------------------------------------------------------------------------------------


def block_mean(values: NDArray[np.floating], step: int) -> NDArray[np.floating]:
    """Mean of step x step blocks ``(y, x)``, leaving NaN out; blocks at the rim may be smaller."""
    columns = np.arange(0, values.shape[1], step)

    def block_sum(array: NDArray[np.floating]) -> NDArray[np.floating]:
        rows = np.arange(0, array.shape[0], step)
        return np.add.reduceat(np.add.reduceat(array, rows, axis=0), columns, axis=1)

    means = []
    for top in range(0, values.shape[0], step * _BLOCKS):  # an image may be larger than the memory
        part = values[top : top + step * _BLOCKS]
        finite = np.isfinite(part)
        count = block_sum(finite.astype(np.float32))
        total = block_sum(np.where(finite, part, np.float32(0)))
        means.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        release(values)
    return np.concatenate(means)


def _decimated(sharp: SharpenedScene) -> tuple[NDArray[np.floating], int]:
    values = sharp.lst.values
    step = -(-max(values.shape) // MAX_PIXELS)
    return (values if step == 1 else block_mean(values, step)), step


def _coarsened(geobox: GeoBox, step: int) -> GeoBox:
    shape = -(-geobox.shape.y // step), -(-geobox.shape.x // step)
    return GeoBox(shape, geobox.transform * geobox.transform.scale(step), geobox.crs)


def _on_grid(
    sharp: SharpenedScene, coarse: NDArray[np.floating], grid: GeoBox
) -> NDArray[np.floating]:
    """Show coarse pixels as the blocks they are on the grid that is drawn (nearest neighbour)."""
    layer = raster(coarse.astype(np.float32), sharp.thermal.geobox, nodata=np.nan)
    shown: NDArray[np.floating] = xr_reproject(
        layer, grid, resampling="nearest", dst_nodata=np.nan
    ).values
    return shown


def _coarse_in_shown(sharp: SharpenedScene, grid: GeoBox) -> float:
    """Return the side of a coarse pixel in drawn pixels."""
    return _ground_resolution(sharp.thermal.geobox) / _ground_resolution(grid)


def _ground_resolution(geobox: GeoBox) -> float:
    """Return the pixel height in metres."""
    size = abs(float(geobox.resolution.y))
    return size * 111_195.0 if _crs(geobox).geographic else size * _metres_per_unit(geobox)


def _crs(geobox: GeoBox) -> CRS:
    """Return the CRS, which every raster that reaches us has: reading refuses the others."""
    if geobox.crs is None:
        raise MissingCRS("The grid of a scene has no coordinate reference system")
    return geobox.crs


def _metres_per_unit(geobox: GeoBox) -> float:
    return float(_crs(geobox).proj.axis_info[0].unit_conversion_factor)


def _scale(observed: NDArray[np.floating], sharpened: NDArray[np.floating]) -> Normalize:
    """Return one robust scale for both: clouds and a few hot roofs must not flatten the rest."""
    pooled = np.concatenate([part[np.isfinite(part)] for part in (observed, sharpened)])
    if pooled.size == 0:
        return Normalize(0.0, 1.0)
    low, high = np.percentile(pooled, (2, 98))
    widen = 0.5 if high - low < 0.1 else 0.0
    return Normalize(low - widen, high + widen)


def _close_up(
    observed: NDArray[np.floating], sharpened: NDArray[np.floating], coarse: float
) -> tuple[slice, slice] | None:
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


# --- drawing ------------------------------------------------------------------------------------


def _axes_of(grid: GeoBox) -> _Axes2D:
    height, width = grid.shape
    left, bottom, right, top = grid.boundingbox.bbox
    if _crs(grid).geographic:
        aspect = 1 / max(np.cos(np.radians((bottom + top) / 2)), 0.05)
        return _Axes2D((left, right, bottom, top), aspect, ("longitude (°)", "latitude (°)"))
    km = _metres_per_unit(grid) / 1000
    size_x, size_y = abs(grid.resolution.x) * width * km, abs(grid.resolution.y) * height * km
    return _Axes2D((0.0, size_x, 0.0, size_y), 1.0, ("km east", "km north"))


def _part_extent(
    layout: _Axes2D, shape: tuple[int, ...], window: tuple[slice, slice]
) -> tuple[float, float, float, float]:
    left, right, bottom, top = layout.extent
    rows, columns = window
    dx, dy = (right - left) / shape[1], (bottom - top) / shape[0]
    return (
        left + columns.start * dx,
        left + columns.stop * dx,
        top + rows.stop * dy,
        top + rows.start * dy,
    )


def _canvas(height_over_width: float, rows: int) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure that the panels fill, whatever the shape of the scene."""
    width = max(min(_PANEL, _PANEL * 1.25 / height_over_width), _MIN_PANEL)
    height = max(min(width * height_over_width, _PANEL * 1.25), _MIN_PANEL)
    between = 0.55
    # Narrow scenes still need room for their title.
    left = _LEFT + max(0.0, 5.0 - 2 * width) / 2
    total = (
        2 * left + 2 * width + _GAP + _RIGHT - _LEFT,
        _TOP + rows * height + (rows - 1) * between + _BOTTOM,
    )
    figure = Figure(figsize=total, dpi=DPI, facecolor="white")
    axes = []
    for row in range(rows):
        bottom = _BOTTOM + (rows - 1 - row) * (height + between)
        axes.append(
            [
                figure.add_axes(
                    (
                        (left + column * (width + _GAP)) / total[0],
                        bottom / total[1],
                        width / total[0],
                        height / total[1],
                    )
                )
                for column in range(2)
            ]
        )
    return figure, axes


def _colours() -> Colormap:
    return mpl.colormaps["inferno"].with_extremes(bad=MISSING)


def _pair(
    axes: list[Axes],
    images: tuple[NDArray[np.floating], NDArray[np.floating]],
    layout: _Axes2D,
    norm: Normalize,
    window: tuple[slice, slice] | None,
) -> AxesImage:
    whole = (slice(None), slice(None))
    extent = layout.extent if window is None else _part_extent(layout, images[1].shape, window)
    for ax, values in zip(axes, images, strict=True):
        image = ax.imshow(
            np.ma.masked_invalid(values[window or whole]),
            extent=extent,
            norm=norm,
            cmap=_colours(),
            aspect=layout.aspect,
            interpolation="nearest" if window else "auto",
        )
        ax.set_facecolor(MISSING)
        ax.tick_params(labelsize=8, colors=MUTED, length=3, width=0.6)
        ax.locator_params(nbins=6)
        ax.ticklabel_format(useOffset=False, style="plain")
        for spine in ax.spines.values():
            spine.set(color=FRAME if window else MUTED, linewidth=1.6 if window else 0.5)
    axes[0].set_ylabel(layout.labels[1], fontsize=8, color=MUTED)
    axes[1].tick_params(labelleft=False)
    return image


def _frame(ax: Axes, layout: _Axes2D, shape: tuple[int, ...], window: tuple[slice, slice]) -> None:
    left, right, bottom, top = _part_extent(layout, shape, window)
    ax.add_patch(
        Rectangle(
            (left, bottom), right - left, top - bottom, fill=False, edgecolor=FRAME, linewidth=1.6
        )
    )


def _colour_bar(figure: Figure, axes: list[list[Axes]], image: AxesImage, unit: str) -> None:
    top, bottom = axes[0][1].get_position(), axes[-1][1].get_position()
    inch = 1 / figure.get_figwidth()
    bar = figure.add_axes((top.x1 + 0.18 * inch, bottom.y0, 0.13 * inch, top.y1 - bottom.y0))
    figure.colorbar(image, cax=bar, extend="both", extendfrac=0.02)
    bar.set_ylabel(f"land surface temperature ({unit})", fontsize=9, color=INK)
    bar.tick_params(labelsize=8, colors=MUTED, length=3, width=0.6)
    for spine in bar.spines.values():
        spine.set_linewidth(0.5)


def _words(figure: Figure, axes: list[list[Axes]], sharp: SharpenedScene) -> None:
    coarse, fine = (_metres(grid) for grid in (sharp.thermal.geobox, sharp.geobox))
    for ax, text in zip(axes[0], (f"observed, {coarse}", f"sharpened, {fine}"), strict=True):
        ax.set_title(text, fontsize=10.5, color=INK, loc="left", pad=5)
    for ax in axes[-1]:
        ax.set_xlabel(axes_label(sharp.geobox), fontsize=8, color=MUTED)
    left = axes[0][0].get_position().x0
    inch = 1 / figure.get_figheight()
    room = (figure.get_figwidth() * (1 - left) - 0.1) * 72  # points
    size = min(13.0, room / (0.62 * max(len(sharp.name), 1)))
    plain: dict[str, Any] = {"color": INK, "ha": "left", "parse_math": False}
    figure.text(left, 1 - 0.42 * inch, sharp.name, fontsize=size, weight="bold", **plain)
    figure.text(left, 1 - 0.68 * inch, _subtitle(sharp), fontsize=9.5, **{**plain, "color": MUTED})


def axes_label(geobox: GeoBox) -> str:
    """Return the label of the x axis."""
    return _axes_of(geobox).labels[0]


def _metres(geobox: GeoBox) -> str:
    size = _ground_resolution(geobox)
    return f"{size:.0f} m" if size >= 10 else f"{size:.2g} m"


def _subtitle(sharp: SharpenedScene) -> str:
    when = sharp.thermal.acquired
    parts = [] if when is None else [f"{when.day} {when:%B %Y}"]
    if isinstance(when, datetime):
        parts[0] += f", {when:%H:%M} UTC"
    parts.append(f"method {sharp.method}")
    if not sharp.diagnostics.fine_written:
        parts.append("no pixel was sharpened")
    elif sharp.diagnostics.fine_written < sharp.lst.size:
        parts.append("grey: cloud, bad quality or no data")
    return "  ·  ".join(parts)
