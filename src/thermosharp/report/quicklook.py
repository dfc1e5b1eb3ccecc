"""The figure of a sharpened scene: observed and sharpened side by side, on one colour scale.

Scenes too wide for a street to show get a second row: the same close-up of both, where the
sharpening changed most.
"""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from thermosharp.report.map_axes import MapAxes, axes_of, frame, scale_bar
from thermosharp.report.picture import CloseUp, Picture, picture_of
from thermosharp.report.pixels import CELSIUS_ZERO
from thermosharp.report.sun import solar_time
from thermosharp.scenes import SharpenedScene

#: Side length in pixels above which images are averaged before they are drawn.
MAX_PIXELS = 1600
DPI = 150
#: Strategy of zlib, Z_RLE.
_RUN_LENGTHS = 3
INK, MUTED, MISSING, FRAME = "#1a1a1a", "#6b6b6b", "#d9d9d9", "#35c9c3"

# Inches.
_PANEL, _MIN_PANEL = 5.4, 1.3
_LEFT, _GAP, _RIGHT, _TOP, _BOTTOM = 0.75, 0.3, 1.25, 1.15, 0.65

Limits = tuple[float, float]


class ShownFigure(Figure):
    """A figure that a notebook shows without being told how."""

    def _repr_png_(self) -> bytes:
        return _png(self)


def quicklook(
    sharp: SharpenedScene, *, celsius: bool = False, limits: Limits | None = None
) -> bytes:
    """Draw a scene before and after sharpening.

    Parameters
    ----------
    sharp : SharpenedScene
    celsius : bool
        Degrees Celsius instead of kelvin.
    limits : (float, float), optional
        Ends of the colour scale, K; by default the scene's own 2nd and 98th percentile.

    Returns
    -------
    bytes
        A PNG.
    """
    return figure_png(picture_of(sharp, MAX_PIXELS), celsius=celsius, limits=limits)


def plot(sharp: SharpenedScene, *, celsius: bool = False, limits: Limits | None = None) -> Figure:
    """Draw a scene as :func:`quicklook` does, as a figure to show or to go on with."""
    return draw(picture_of(sharp, MAX_PIXELS), celsius=celsius, limits=limits)


def figure_png(picture: Picture, *, celsius: bool = False, limits: Limits | None = None) -> bytes:
    """Draw a picture as :func:`quicklook` does; the PNG's own tags tell unit and limits."""
    limits = limits or picture.limits
    figure = draw(picture, celsius=celsius, limits=limits)
    return _png(figure, figure_tags(limits, celsius=celsius))


def figure_tags(limits: Limits, *, celsius: bool) -> dict[str, str]:
    """Return what a figure says about itself, to know whether it must be drawn again."""
    low, high = limits
    return {"Unit": "C" if celsius else "K", "Limits": f"{low:.2f} {high:.2f} K"}


def draw(picture: Picture, *, celsius: bool = False, limits: Limits | None = None) -> Figure:
    """Draw a picture; see :func:`quicklook`."""
    zero = CELSIUS_ZERO if celsius else 0.0
    low, high = limits or picture.limits
    norm = Normalize(low - zero, high - zero)
    layout, close_up = axes_of(picture.grid), picture.close_up
    figure, axes = _canvas(layout.height_over_width, 1 if close_up is None else 2)
    image = _pair(axes[0], picture, zero, layout, norm)
    if close_up is not None:
        for ax in axes[0]:
            frame(ax, layout.part(close_up.sharpened.geobox), FRAME)
        image = _pair(axes[1], close_up, zero, layout, norm)
    scale_bar(axes[0][0], layout)
    _colour_bar(figure, axes, image, "°C" if celsius else "K")
    _words(figure, axes, picture, layout)
    return figure


def colours() -> Colormap:
    """Return the colours of temperature: perceptually uniform, safe for the colour-blind."""
    return mpl.colormaps["inferno"].with_extremes(bad=MISSING)


def _png(figure: Figure, tags: dict[str, str] | None = None) -> bytes:
    buffer, told = io.BytesIO(), PngInfo()
    for name, text in (tags or {}).items():
        told.add_text(name, text)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    # Nothing is transparent. Lines are predicted from the line above, and what is left of flat
    # areas repeats: run lengths are the quickest to find, and make the smallest file.
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.save(buffer, "png", dpi=(DPI, DPI), pnginfo=told, compress_type=_RUN_LENGTHS)
    return buffer.getvalue()


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
    figure = ShownFigure(figsize=total, dpi=DPI, facecolor="white")
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


def _pair(
    axes: list[Axes], shown: Picture | CloseUp, zero: float, layout: MapAxes, norm: Normalize
) -> AxesImage:
    close = isinstance(shown, CloseUp)
    for ax, layer in zip(axes, (shown.observed, shown.sharpened), strict=True):
        image = ax.imshow(
            np.ma.masked_invalid(layer.values - zero),
            extent=layout.part(layer.geobox),
            norm=norm,
            cmap=colours(),
            aspect=layout.aspect,
            interpolation="nearest" if close else "auto",
        )
        ax.set_facecolor(MISSING)
        ax.tick_params(labelsize=8, colors=MUTED, length=3, width=0.6)
        ax.locator_params(nbins=6)
        ax.ticklabel_format(useOffset=False, style="plain")
        for spine in ax.spines.values():
            spine.set(color=FRAME if close else MUTED, linewidth=1.6 if close else 0.5)
    axes[0].set_ylabel(layout.labels[1], fontsize=8, color=MUTED)
    axes[1].tick_params(labelleft=False)
    return image


def _colour_bar(figure: Figure, axes: list[list[Axes]], image: AxesImage, unit: str) -> None:
    top, bottom = axes[0][1].get_position(), axes[-1][1].get_position()
    inch = 1 / figure.get_figwidth()
    bar = figure.add_axes((top.x1 + 0.18 * inch, bottom.y0, 0.13 * inch, top.y1 - bottom.y0))
    figure.colorbar(image, cax=bar, extend="both", extendfrac=0.02)
    bar.set_ylabel(f"land surface temperature ({unit})", fontsize=9, color=INK)
    bar.tick_params(labelsize=8, colors=MUTED, length=3, width=0.6)
    for spine in bar.spines.values():
        spine.set_linewidth(0.5)


def _words(figure: Figure, axes: list[list[Axes]], picture: Picture, layout: MapAxes) -> None:
    titles = f"observed, {_metres(picture.coarse)}", f"sharpened, {_metres(picture.fine)}"
    for ax, text in zip(axes[0], titles, strict=True):
        ax.set_title(text, fontsize=10.5, color=INK, loc="left", pad=5)
    for ax in axes[-1]:
        ax.set_xlabel(layout.labels[0], fontsize=8, color=MUTED)
    left = axes[0][0].get_position().x0
    inch = 1 / figure.get_figheight()
    room = (figure.get_figwidth() * (1 - left) - 0.1) * 72  # points
    size = min(13.0, room / (0.62 * max(len(picture.name), 1)))
    plain: dict[str, Any] = {"color": INK, "ha": "left", "parse_math": False}
    figure.text(left, 1 - 0.42 * inch, picture.name, fontsize=size, weight="bold", **plain)
    figure.text(
        left, 1 - 0.68 * inch, _subtitle(picture), fontsize=9.5, **{**plain, "color": MUTED}
    )


def _metres(size: float) -> str:
    return f"{size:.0f} m" if size >= 10 else f"{size:.2g} m"


def _subtitle(picture: Picture) -> str:
    when = picture.acquired
    parts = [] if when is None else [f"{when.day} {when:%B %Y}"]
    local = solar_time(when, picture.centre[0])
    if local is not None:
        parts[0] += f", {when:%H:%M} UTC ({local:%H:%M} solar time)"
    parts.append(f"method {picture.method}")
    known = np.isfinite(picture.sharpened.values)
    if not known.any():
        parts.append("no pixel was sharpened")
    elif not known.all():
        parts.append("grey: cloud, bad quality or no data")
    return "  ·  ".join(parts)
