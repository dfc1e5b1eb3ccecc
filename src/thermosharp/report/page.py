"""``report.html``: one file that opens anywhere, without a network, and shows a whole run."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from thermosharp.report.distributions import CELLS, Histogram, Scatter, Spectrum
from thermosharp.report.packing import Packed

#: Perceptually uniform and safe for the colour-blind; temperature in any of them.
PALETTES = ("inferno", "cividis", "viridis", "magma")
_OTHERS = ("RdBu_r",)
_SCRIPTS = ("codec.js", "map.js", "charts.js", "main.js")
#: Columns of the list of scenes, and which of them hold numbers.
COLUMNS = (
    ("Date (UTC)", False),
    ("Solar time", False),
    ("Sun", False),
    ("Usable", True),
    ("Expected error", True),
    ("Method", False),
    ("Status", False),
    ("Remarks", False),
    ("Scene", False),
)


@dataclass(frozen=True, kw_only=True)
class PageScene:
    """A scene as the page shows it.

    Attributes
    ----------
    title, subtitle : str
    coarse, fine : str
        Pixel sizes, m.
    grid : mapping
        ``width``, ``height``; ``metres``: size of a pixel across and down; ``corners``: longitude
        and latitude of the upper left, upper right, lower left and lower right; ``place``: the
        same for scenes that lie on one another.
    layers : mapping of str to Packed
        ``observed``, ``sharp``, ``residual`` and, where there is one, ``uncertainty``; kelvin.
    limits : mapping of str to (float, float)
        Ends of the colour scales, K: ``scene`` and ``series`` for temperature, and the other
        layers'.
    facts : list of (str, str)
    histogram, scatter, spectrum
        What the charts show; None where there is too little.
    histogram_text, scatter_text, spectrum_text, method_text, error_text : str
    provenance : list of (str, str)
    findings : list of mapping
    citations, files : list of str
    """

    title: str
    subtitle: str
    coarse: str
    fine: str
    grid: Mapping[str, Any]
    layers: Mapping[str, Packed]
    limits: Mapping[str, tuple[float, float]]
    facts: list[tuple[str, str]]
    histogram: Histogram | None
    scatter: Scatter | None
    spectrum: Spectrum | None
    histogram_text: str
    scatter_text: str
    spectrum_text: str
    method_text: str
    error_text: str
    provenance: list[tuple[str, str]]
    findings: list[Mapping[str, Any]]
    citations: list[str]
    files: list[str]

    @property
    def packed_size(self) -> int:
        """Characters that the layers take up in the page."""
        return sum(len(layer.data) for layer in self.layers.values())


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """A line of the list of scenes; `scene` is its place among the scenes that can be shown."""

    name: str
    scene: int | None
    date: str
    sort: str
    solar: str
    day: str
    usable: float | None
    expected: float | None
    method: str
    status: str
    remarks: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that ``report.html`` tells."""

    title: str
    place: str
    facts: list[tuple[str, str]]
    simulated: bool
    version: str
    side: int
    step: float
    rows: list[PageRow]
    scenes: list[PageScene]
    palettes: tuple[str, ...] = PALETTES
    columns: tuple[tuple[str, bool], ...] = field(default=COLUMNS)

    @property
    def first(self) -> int:
        """Place of the scene to start with: the one that gained the most detail."""
        gains = [scene.scatter.spread if scene.scatter else 0.0 for scene in self.scenes]
        return gains.index(max(gains)) if gains else 0


def render(page: Page) -> str:
    """Write the page: HTML with its style, its scripts and its data inside."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    packs = [
        {"id": f"pack-{index}-{name}", "data": Markup(layer.data)}  # base64 needs no escaping
        for index, scene in enumerate(page.scenes)
        for name, layer in scene.layers.items()
    ]
    return environment.from_string(_web("report.html")).render(
        page=page,
        css=Markup(_web("report.css")),
        script=Markup("".join(map(_web, _SCRIPTS))),
        data=Markup(_json_in_html(_data(page))),
        packs=packs,
    )


def _data(page: Page) -> dict[str, Any]:
    return {
        "first": page.first,
        "scenes": [_scene_data(scene) for scene in page.scenes],
        "colours": {name: _colour_table(name) for name in (*PALETTES, *_OTHERS)},
    }


def _scene_data(scene: PageScene) -> dict[str, Any]:
    charts = {
        "histogram": scene.histogram and asdict(scene.histogram),
        "scatter": scene.scatter and {**asdict(scene.scatter), "cells_a_side": CELLS},
        "spectrum": scene.spectrum and asdict(scene.spectrum),
    }
    layers = {name: {"zero": p.zero, "step": p.step} for name, p in scene.layers.items()}
    told = ("title", "subtitle", "coarse", "fine", "grid", "limits", "facts")
    return {**{key: getattr(scene, key) for key in told}, **charts, "layers": layers}


def _colour_table(name: str) -> str:
    colours = mpl.colormaps[name](np.arange(256) / 255)[:, :3]
    return base64.b64encode(np.rint(255 * colours).astype(np.uint8).tobytes()).decode("ascii")


def _json_in_html(value: Any) -> str:
    """Encode so that nothing in a file's name or message can end the script element."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(value: Any) -> Any:
    """Replace NaN, which JSON does not know, by null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def _web(name: str) -> str:
    return (files("thermosharp.report") / "web" / name).read_text(encoding="utf-8")
