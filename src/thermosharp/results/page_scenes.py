"""A stored scene, made small enough for the page, with its charts and words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.rasters import Raster
from thermosharp.report import words
from thermosharp.report.distributions import Scatter, Spectrum, histogram, scatter, spectrum
from thermosharp.report.packing import Packed, pack
from thermosharp.report.page import PageScene
from thermosharp.report.pixels import (
    coarsened,
    filled,
    ground_resolution,
    ground_width,
    on_grid,
    robust_limits,
    step_for,
)
from thermosharp.results.stored import StoredScene
from thermosharp.threads import beside, in_threads

#: What temperatures are rounded to in the page, K.
STEP = 0.05
#: Longest side of a map in the page; and of the part, at full resolution in the middle of a scene,
#: that scatter plot and spectrum are made of.
LONGEST, MIDDLE_SIDE = 1200, 1024
#: Characters a pixel of all layers together, about; for the first try.
_CHARACTERS = 3.2
#: A side of pixels below which nobody would see anything.
_SHORTEST = 16

Limits = tuple[float, float]


@dataclass(frozen=True)
class Layers:
    """The maps of a scene, small enough for the page.

    Attributes
    ----------
    packed, plain : dict of str to Packed, and to ndarray (y, x)
    grid : mapping
        What the page is told of their grid.
    thinned : ndarray (y, x)
        Some pixels of the sharpened map, as they are.
    """

    packed: dict[str, Packed]
    plain: dict[str, NDArray[np.float32]]
    grid: dict[str, Any]
    thinned: NDArray[np.float32]

    @property
    def size(self) -> int:
        """Characters that they take up."""
        return sum(len(layer.data) for layer in self.packed.values())


def page_scene(scene: StoredScene, budget: float, series: Limits) -> PageScene:
    """Prepare a scene for the page.

    Parameters
    ----------
    scene : StoredScene
    budget : float
        Characters that its layers may take up.
    series : (float, float)
        Ends of the colour scale that all scenes share, K.
    """
    observed = scene.coarse("observed")
    with beside(lambda: _middle_charts(scene, observed)) as charts:
        layers = _fitting_layers(scene, observed, budget)
        distribution = histogram(observed.values, layers.thinned)
        counted, power = charts()
    return PageScene(
        title=title(scene),
        subtitle=subtitle(scene),
        coarse=metres(ground_resolution(scene.coarse_grid)),
        fine=metres(ground_resolution(scene.grid)),
        grid=layers.grid,
        layers=layers.packed,
        limits={"series": series, **_limits(layers.plain)},
        facts=facts(scene),
        histogram=distribution,
        scatter=counted,
        spectrum=power,
        histogram_text=_spread_text(observed.values, layers.thinned),
        scatter_text=_scatter_text(counted.spread) if counted else "",
        spectrum_text=_spectrum_text(power, ground_resolution(scene.coarse_grid)),
        method_text=words.method_text(scene.record),
        error_text=_error_text(scene.record),
        provenance=words.provenance(scene.record),
        findings=[dict(found) for found in scene.record.get("checks", [])],
        citations=words.citations(scene.record),
        files=[str(file) for file in scene.record["files"]],
    )


def title(scene: StoredScene) -> str:
    """Say when a scene was observed; its name where that is not known."""
    when = scene.acquired
    if when is None:
        return scene.name
    text = f"{when.day} {when:%B %Y}"
    return f"{text}, {when:%H:%M} UTC" if isinstance(when, datetime) else text


def subtitle(scene: StoredScene) -> str:
    """Say solar time, day or night, and name."""
    local = scene.solar_time
    parts = [] if local is None else [f"{local:%H:%M} local solar time", day_or_night(scene)]
    return " · ".join([*parts, scene.name])


def day_or_night(scene: StoredScene) -> str:
    """Say whether the sun was up; nothing where that is not known."""
    return {True: "day", False: "night", None: ""}[scene.is_day]


def metres(size: float) -> str:
    """Write a pixel size."""
    return f"{size:.0f}" if size >= 10 else f"{size:.2g}"


def facts(scene: StoredScene) -> list[tuple[str, str]]:
    """Tell what one wants to know about a scene first, as (name, value) pairs."""
    local, expected, usable = scene.solar_time, words.expected_error(scene.record), scene.usable
    rows = [
        ("Observed by", words.product(scene.record)),
        ("Solar time", "" if local is None else f"{local:%H:%M}, {day_or_night(scene)}"),
        ("Usable", "" if usable is None else f"{usable:.0%} of the swath"),
        ("Expected error", "" if expected is None else f"{expected:.2f} K"),
        ("Fine image", str((scene.record.get("predictors") or {}).get("name") or "")),
        ("Method", scene.method),
        ("Warnings", ", ".join(scene.warnings) or "none"),
    ]
    return [(name, value) for name, value in rows if value]


def _middle_charts(scene: StoredScene, observed: Raster) -> tuple[Scatter | None, Spectrum | None]:
    """Make the charts that take pixels of the full resolution."""
    middle = scene.middle("sharp", MIDDLE_SIDE)
    counted = scatter(on_grid(observed, middle.geobox).values, middle.values)
    return counted, _spectrum(observed, middle)


def _fitting_layers(scene: StoredScene, observed: Raster, budget: float) -> Layers:
    """Average a scene until its layers take up no more characters than they may."""
    side = min(LONGEST, max(int(math.sqrt(budget / _CHARACTERS)), 64))
    while True:
        layers = _layers(scene, observed, side)
        if layers.size <= budget or side <= _SHORTEST:
            return layers
        side = int(side * min(0.95 * math.sqrt(budget / layers.size), 0.95))


def _limits(arrays: dict[str, NDArray[np.float32]]) -> dict[str, Limits]:
    _, reach = robust_limits(np.abs(arrays["residual"]))
    limits = {
        "scene": robust_limits(arrays["observed"], arrays["sharp"]),
        "residual": (-reach, reach),
    }
    if "uncertainty" in arrays:
        limits["uncertainty"] = robust_limits(arrays["uncertainty"])
    return limits


def _layers(scene: StoredScene, observed: Raster, side: int) -> Layers:
    """Average a scene to a side of pixels."""
    step = step_for(scene.grid, side)
    grid = coarsened(scene.grid, step)
    sharp, thinned = scene.reduced("sharp", step)
    plain = {
        "sharp": sharp.values,
        "observed": on_grid(observed, grid).values,
        "residual": on_grid(scene.coarse("residual"), grid).values,
    }
    if scene.has("uncertainty"):
        plain["uncertainty"] = scene.averaged("uncertainty", step).values
    packing = in_threads(lambda values: pack(values, STEP), plain.values())
    packed = dict(zip(plain, packing, strict=True))
    return Layers(packed, plain, _grid_data(grid), thinned)


def _grid_data(grid: GeoBox) -> dict[str, Any]:
    height, width = grid.shape
    corners = [grid.transform * at for at in ((0, 0), (width, 0), (0, height), (width, height))]
    assert grid.crs is not None
    to_degrees = grid.crs.transformer_to_crs("EPSG:4326")
    lon, lat = to_degrees([x for x, _ in corners], [y for _, y in corners])
    return {
        "width": width,
        "height": height,
        "metres": [ground_width(grid), ground_resolution(grid)],
        "corners": [
            [round(float(x), 6), round(float(y), 6)] for x, y in zip(lon, lat, strict=True)
        ],
        "place": f"{grid.crs} {grid.boundingbox.bbox} {grid.shape}",
    }


def _spectrum(observed: Raster, sharp: Raster) -> Spectrum | None:
    grid = sharp.geobox
    if not np.isfinite(observed.values).any():
        return None
    # Interpolated as smoothly as the eye would: steps between pixels would look like detail.
    smooth = on_grid(filled(observed, 20), grid, "cubic")
    return spectrum(smooth.values, sharp.values, ground_resolution(grid))


def _spectrum_text(power: Spectrum | None, coarse: float) -> str:
    if power is None:
        return ""
    shorter = np.array(power.wavelength) < 2 * coarse
    before, after = np.array(power.observed)[shorter], np.array(power.sharpened)[shorter]
    text = f"What is smaller than {2 * coarse:.0f} m, two coarse pixels, the satellite cannot see"
    if not shorter.any() or before.mean() <= 0 or after.mean() <= before.mean():
        return f"{text}."
    return f"{text}; there the sharpened map varies {_times(after.mean() / before.mean())} as much."


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio < 1000 else "more than a thousand times"


def _spread_text(observed: NDArray[np.floating], sharpened: NDArray[np.floating]) -> str:
    known = [layer[np.isfinite(layer)].astype(np.float64) for layer in (observed, sharpened)]
    if not all(part.size for part in known):
        return ""
    before, after = (float(part.std()) for part in known)
    return (
        f"{'Averages hide extremes: the' if after > before else 'The'} standard deviation is "
        f"{before:.1f} K observed and {after:.1f} K sharpened."
    )


def _scatter_text(spread: float) -> str:
    return (
        "How far fine pixels lie from the dashed line is what the coarse pixel round them hides: "
        f"{spread:.1f} K (root mean square)."
    )


def _error_text(record: Mapping[str, Any]) -> str:
    expected = words.expected_error(record)
    if expected is None:
        return ""
    return (
        f"A sharpened temperature is expected to be off by {expected:.2f} K (RMSE). That is "
        "measured on this scene: made coarser still, sharpened again, and compared with what was "
        "observed."
    )
