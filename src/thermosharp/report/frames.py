"""Frames of an animation: one map each, all on one grid and one colour scale."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from PIL import Image

from thermosharp.report.map_axes import axes_of, scale_bar
from thermosharp.report.pixels import CELSIUS_ZERO
from thermosharp.report.quicklook import INK, MISSING, MUTED, colours

#: How long a frame stays, ms.
STAYS = 1200
#: Colours of a GIF's palette that are left for words and lines; the others are temperatures.
_GREYS = 32
_DPI = 100
# Inches.
_LONGEST, _TOP, _BOTTOM, _LEFT, _RIGHT = 6.5, 0.7, 0.2, 0.2, 1.05


def frame(
    values: NDArray[np.floating],
    grid: GeoBox,
    limits: tuple[float, float],
    *,
    title: str,
    subtitle: str,
    celsius: bool = False,
) -> Image.Image:
    """Draw a map of temperature.

    Parameters
    ----------
    values : ndarray (y, x)
        K; NaN where unknown.
    grid : GeoBox
    limits : (float, float)
        Ends of the colour scale, K.
    title, subtitle : str
    celsius : bool
        Degrees Celsius instead of kelvin.
    """
    zero = CELSIUS_ZERO if celsius else 0.0
    layout = axes_of(grid)
    shape = min(max(layout.height_over_width, 0.2), 5.0)
    width, height = min(_LONGEST, _LONGEST / shape), min(_LONGEST, _LONGEST * shape)
    total = max(width, 4.5) + _LEFT + _RIGHT, height + _TOP + _BOTTOM
    figure = Figure(figsize=total, dpi=_DPI, facecolor="white")
    bottom, top = _BOTTOM / total[1], height / total[1]
    ax = figure.add_axes((_LEFT / total[0], bottom, width / total[0], top))
    image = ax.imshow(
        np.ma.masked_invalid(values - zero), extent=layout.extent, aspect="auto",
        norm=Normalize(limits[0] - zero, limits[1] - zero), cmap=colours(),
    )  # fmt: skip
    ax.set_facecolor(MISSING)
    ax.set(xticks=[], yticks=[])
    scale_bar(ax, layout)
    bar = figure.add_axes(((_LEFT + width + 0.15) / total[0], bottom, 0.13 / total[0], top))
    figure.colorbar(image, cax=bar, extend="both", extendfrac=0.02)
    bar.set_ylabel("°C" if celsius else "K", fontsize=9, color=INK)
    bar.tick_params(labelsize=8, colors=MUTED)
    left = _LEFT / total[0]
    words: dict[str, Any] = {"ha": "left", "parse_math": False}
    figure.text(left, 1 - 0.32 / total[1], title, fontsize=13, weight="bold", color=INK, **words)
    figure.text(left, 1 - 0.56 / total[1], subtitle, fontsize=8, color=MUTED, **words)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=_DPI)
    return Image.open(buffer).convert("RGB")


def animate(images: Sequence[Image.Image], kind: str) -> bytes:
    """Join frames into an animation, ``"gif"`` or ``"webp"``, that starts anew at its end."""
    buffer = io.BytesIO()
    first, *others = _alike(images, kind)
    options = {"minimize_size": True, "quality": 85} if kind == "webp" else {"optimize": False}
    first.save(
        buffer, format=kind.upper(), save_all=True, append_images=others, duration=STAYS,
        loop=0, **options,
    )  # fmt: skip
    return buffer.getvalue()


def _alike(images: Sequence[Image.Image], kind: str) -> list[Image.Image]:
    """Give all frames of a GIF one palette, so that no colour changes its meaning."""
    if kind != "gif":
        return list(images)
    greys = np.repeat(np.linspace(0, 255, _GREYS), 3).reshape(-1, 3)
    ramp = 255 * colours()(np.linspace(0, 1, 256 - _GREYS))[:, :3]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(np.concatenate([ramp, greys])).astype(np.uint8).tobytes())
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
