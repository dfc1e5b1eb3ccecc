"""A series of scenes over one area: as an animation, and as one file on one grid."""

import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.errors import NothingFound
from thermosharp.report.frames import animate, frame
from thermosharp.report.pixels import coarsened, on_grid, robust_limits, step_for
from thermosharp.results.build import drawn_in_celsius, scenes_of
from thermosharp.results.page_scenes import subtitle, title
from thermosharp.results.stored import Layer, StoredScene
from thermosharp.writing import check_writable, write_files
from thermosharp.writing.netcdf import Series, netcdf_bytes

logger = logging.getLogger(__name__)

#: Longest side of an animation's map in pixels.
ANIMATED = 700


def write_animation(folder: Path, *, celsius: bool | None = None) -> list[Path]:
    """Show the scenes of a folder one after another, on one grid and one colour scale.

    Parameters
    ----------
    folder : Path
        Gets ``series.gif`` and ``series.webp``.
    celsius : bool, optional
        Degrees Celsius, or kelvin; by default as the figure of the first scene.

    Raises
    ------
    NothingFound
        There are fewer than two scenes with a date over the area of the first one.
    """
    scenes = _dated(folder, least=2)
    fine = scenes[0].grid
    grid = coarsened(fine, step_for(fine, ANIMATED))
    layers = {scene.name: _on(scene, "sharp", grid) for scene in scenes}
    shown = [scene for scene in scenes if np.isfinite(layers[scene.name]).any()]
    if len(shown) < 2:
        raise _too_few(folder, len(shown), "scenes over one area")
    if apart := len(scenes) - len(shown):
        logger.warning("%d scenes lie outside the area of %s", apart, scenes[0].name)
    unit = drawn_in_celsius(shown[0]) if celsius is None else celsius
    limits = robust_limits(*(layers[scene.name] for scene in shown))
    images = [
        frame(
            layers[scene.name], grid, limits, title=title(scene),
            subtitle=subtitle(scene), celsius=unit,
        )
        for scene in shown
    ]  # fmt: skip
    check_writable(folder)
    return write_files(
        folder, {f"series.{kind}": animate(images, kind) for kind in ("gif", "webp")}
    )


def write_netcdf(folder: Path) -> Path:
    """Put all scenes of a folder into ``series.nc``, on the grid of the first one.

    Scenes on another grid are brought to it (nearest pixel).

    Raises
    ------
    NothingFound
        There is no scene with a date.
    """
    scenes = _dated(folder, least=1)
    grid = _common_lattice(scenes)
    layers: dict[str, NDArray[np.float32]] = {
        "lst": np.stack([_on(scene, "sharp", grid) for scene in scenes])
    }
    if any(scene.has("uncertainty") for scene in scenes):
        empty = np.full(grid.shape, np.nan, np.float32)
        layers["lst_uncertainty"] = np.stack(
            [_on(s, "uncertainty", grid) if s.has("uncertainty") else empty for s in scenes]
        )
    series = Series(
        grid=grid,
        times=[_utc(scene.acquired) for scene in scenes],
        names=[scene.name for scene in scenes],
        layers=layers,
        methods=sorted({scene.method for scene in scenes}),
    )
    check_writable(folder)
    (path,) = write_files(folder, {"series.nc": netcdf_bytes(series)})
    return path


def _dated(folder: Path, least: int) -> list[StoredScene]:
    scenes = [scene for scene in scenes_of(folder) if scene.acquired is not None]
    if len(scenes) < least:
        raise _too_few(folder, len(scenes), "finished scenes with a date")
    return scenes


def _too_few(folder: Path, count: int, what: str) -> NothingFound:
    return NothingFound(
        f"{folder} holds no series",
        expected=f"two or more {what}",
        came=str(count),
        advice="sharpen more scenes into the same folder",
    )


def _on(scene: StoredScene, layer: Layer, grid: GeoBox) -> NDArray[np.float32]:
    """Bring a layer to a grid; the mean where that has the larger pixels."""
    values = scene.averaged(layer, 1)
    shown = values if scene.grid == grid else on_grid(values, grid)
    return np.asarray(shown.values, np.float32)


def _common_lattice(scenes: Sequence[StoredScene]) -> GeoBox:
    """Grid of the first scene, extended over all that lie on its lattice."""
    first = scenes[0].grid
    grids = [scene.grid for scene in scenes if _same_lattice(scene.grid, first)]
    offsets = [~first.transform * grid.transform for grid in grids]
    tops, lefts = ([round(getattr(o, axis)) for o in offsets] for axis in "fc")
    bottom = max(top + grid.shape[0] for top, grid in zip(tops, grids, strict=True))
    right = max(left + grid.shape[1] for left, grid in zip(lefts, grids, strict=True))
    top, left = min(tops), min(lefts)
    transform = first.transform * first.transform.translation(left, top)
    return GeoBox((bottom - top, right - left), transform, first.crs)


def _same_lattice(grid: GeoBox, other: GeoBox) -> bool:
    offset = ~other.transform * grid.transform
    same_size = abs(offset.a - 1) + abs(offset.e - 1) + abs(offset.b) + abs(offset.d) < 1e-9
    whole = abs(offset.c - round(offset.c)) + abs(offset.f - round(offset.f)) < 1e-3
    return grid.crs == other.crs and same_size and whole


def _utc(when: date | None) -> datetime:
    assert when is not None
    if not isinstance(when, datetime):
        return datetime(when.year, when.month, when.day)
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
