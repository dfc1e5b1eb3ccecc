"""How scenes show themselves in a notebook: a small picture and what matters about them."""

import base64
import io
from collections.abc import Iterable
from datetime import date, datetime
from html import escape

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from PIL import Image

from thermosharp.findings import Finding
from thermosharp.report.picture import Picture, centre, picture_of
from thermosharp.report.pixels import (
    CELSIUS_ZERO,
    block_mean,
    ground_resolution,
    robust_limits,
    step_for,
)
from thermosharp.report.sun import solar_time
from thermosharp.scenes import PredictorStack, SharpenedScene, ThermalScene

#: Longest side of the small pictures in pixels, and of a single pixel of the image in them.
_SIDE, _LARGEST_PIXEL = 320, 6
_NOT_USABLE = 0.55

Row = tuple[str, str]
Shares = NDArray[np.floating]


def thermal_html(scene: ThermalScene) -> str:
    """Show a thermal scene; grey where it is not usable."""
    step = step_for(scene.geobox, _SIDE)
    usable = scene.usable_kelvin.values
    rows = [
        *_when(scene.acquired, scene.geobox),
        ("product", scene.product),
        _size(scene.geobox),
        ("usable", f"{scene.usable_fraction():.0%} of what the instrument saw"),
        ("temperature", _range(usable)),
        *_noticed(scene.findings),
    ]
    picture = _coloured(block_mean(usable, step), robust_limits(usable))
    return _html("ThermalScene", scene.name, rows, [("usable LST", picture)])


def predictors_html(stack: PredictorStack) -> str:
    """Show predictors; in natural colours where there are red, green and blue."""
    step = step_for(stack.geobox, _SIDE)
    rows = [
        *_when(stack.acquired, stack.geobox),
        _size(stack.geobox),
        ("bands", ", ".join(stack.bands)),
        *_noticed(stack.findings),
    ]
    natural = {"red", "green", "blue"} <= set(stack.bands)
    names = ("red", "green", "blue") if natural else (stack.bands[0],) * 3
    layers = [block_mean(stack.values[stack.bands.index(name)], step) for name in names]
    return _html("PredictorStack", stack.name, rows, [(_band_title(names), _stretched(layers))])


def sharpened_html(sharp: SharpenedScene) -> str:
    """Show a result: before and after, and how it went."""
    picture: Picture = picture_of(sharp, _SIDE)
    numbers = sharp.diagnostics
    rows = [
        *_when(sharp.thermal.acquired, sharp.geobox),
        _size(sharp.geobox),
        ("method", sharp.method),
        ("temperature", _range(sharp.values("lst"))),
        ("explained", "" if numbers.r2 is None else f"{numbers.r2:.0%} of the coarse variance"),
        ("area means kept to", f"{numbers.rmsd_after:.3f} K"),
        *_noticed(sharp.findings),
    ]
    images = [
        (f"observed, {picture.coarse:.0f} m", _coloured(picture.observed.values, picture.limits)),
        (f"sharpened, {picture.fine:.0f} m", _coloured(picture.sharpened.values, picture.limits)),
    ]
    return _html("SharpenedScene", sharp.name, rows, images)


def _when(acquired: date | None, geobox: GeoBox) -> list[Row]:
    lon, lat = centre(geobox)
    where = (
        f"{abs(lat):.2f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"
    )
    if acquired is None:
        return [("where", where)]
    text, local = f"{acquired.day} {acquired:%B %Y}", solar_time(acquired, lon)
    if isinstance(acquired, datetime) and local is not None:
        text += f", {acquired:%H:%M} UTC ({local:%H:%M} solar time)"
    return [("acquired", text), ("where", where)]


def _size(geobox: GeoBox) -> Row:
    height, width = geobox.shape
    return "grid", f"{height} x {width} pixels of {ground_resolution(geobox):.3g} m, {geobox.crs}"


def _range(kelvin: Shares) -> str:
    known = kelvin[np.isfinite(kelvin)]
    if known.size == 0:
        return "none"
    low, middle, high = np.percentile(known, (2, 50, 98))
    return (
        f"median {middle:.1f} K ({middle - CELSIUS_ZERO:.1f} °C), mostly {low:.1f} to {high:.1f} K"
    )


def _noticed(findings: Iterable[Finding]) -> list[Row]:
    return [(found.severity, f"{found.code}: {found.message}") for found in findings]


def _band_title(names: tuple[str, ...]) -> str:
    return "natural colours" if len(set(names)) > 1 else names[0]


def _coloured(kelvin: Shares, limits: tuple[float, float]) -> bytes:
    low, high = limits
    colours = mpl.colormaps["inferno"].with_extremes(bad=(_NOT_USABLE,) * 3)
    shares = np.ma.masked_invalid((kelvin - low) / (high - low))
    return _png(np.asarray(colours(shares, bytes=True))[..., :3])


def _stretched(layers: list[Shares]) -> bytes:
    parts = []
    for layer in layers:
        low, high = _ends(layer)
        share = ((layer - low) / (high - low)).clip(0, 1)
        parts.append(np.where(np.isfinite(share), share, _NOT_USABLE))
    return _png((255 * np.stack(parts, axis=-1)).astype(np.uint8))


def _ends(layer: Shares) -> tuple[float, float]:
    """Return the ends of a stretch in whatever unit; never the same."""
    known = layer[np.isfinite(layer)]
    low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
    return float(low), max(float(high), float(low) + 1e-9)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    grow = max(min(_SIDE // max(image.size), _LARGEST_PIXEL), 1)
    image = image.resize((image.width * grow, image.height * grow), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _html(kind: str, name: str, rows: list[Row], images: list[tuple[str, bytes]]) -> str:
    lines = "".join(
        f"<tr><th style='text-align:left;font-weight:500;opacity:.7'>{escape(term)}</th>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for term, text in rows
        if text
    )
    figures = "".join(
        f"<figure style='margin:0 12px 0 0'><img alt='{escape(title, quote=True)}' "
        f"src='data:image/png;base64,{base64.b64encode(png).decode('ascii')}'>"
        f"<figcaption style='font-size:12px;opacity:.8'>{escape(title)}</figcaption></figure>"
        for title, png in images
    )
    return (
        f"<div><div><b>{kind}</b> <code>{escape(name)}</code></div>"
        f"<div style='display:flex;flex-wrap:wrap;gap:8px;align-items:flex-start;margin:6px 0'>"
        f"{figures}<table>{lines}</table></div></div>"
    )
