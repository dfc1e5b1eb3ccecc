"""Everything that is made of a folder of results as a whole."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from thermosharp.errors import NothingFound, UsageError
from thermosharp.report.pixels import robust_limits
from thermosharp.report.quicklook import MAX_PIXELS, figure_png, figure_tags
from thermosharp.results.completion import completed
from thermosharp.results.heat import (
    ZONES_FILE,
    Zones,
    heat_csv,
    kept_zones,
    read_zones,
    zones_json,
)
from thermosharp.results.html import report_html
from thermosharp.results.stored import Layer, StoredScene, stored_scenes
from thermosharp.threads import results_of
from thermosharp.writing import check_writable, write_files

logger = logging.getLogger(__name__)

Limits = tuple[float, float]

#: Longest side of what colour scales are chosen from.
_GLANCE = 400
_TEMPERATURES: tuple[Layer, ...] = ("observed", "sharp")


def build_report(
    folder: Path,
    *,
    zones: Path | None = None,
    hotter_than: float | None = None,
    celsius: bool | None = None,
) -> Path:
    """Report on the finished scenes of a folder, from the files in it alone.

    Makes ``report.html``, ``heat.csv`` and the STAC catalogue, pictures and styles that are not
    there yet, and draws the figures of a series anew where they do not share one colour scale.

    Parameters
    ----------
    folder : Path
    zones : Path, optional
        GeoJSON polygons to measure; by default those of the last report.
    hotter_than : float, optional
        K; how much area lies above it; by default as in the last report.
    celsius : bool, optional
        Figures in degrees Celsius, or in kelvin; by default as they are.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    NothingFound
        No scene was ever worked on here.
    UsageError, WriteFailed
        The folder cannot be written to.
    """
    scenes = scenes_of(folder)
    check_writable(folder)
    scenes = [completed(scene, celsius=bool(celsius)) for scene in scenes]
    measured = _zones(folder, zones, hotter_than)
    limits = series_limits(scenes)
    draw_alike(scenes, limits, celsius)
    if any(scene.acquired is not None for scene in scenes):
        from thermosharp.results.stac import stac_files  # pystac is slow to import

        for part, files in stac_files(scenes).items():
            check_writable(folder / part)
            write_files(folder / part, files)
    making: dict[str, Callable[[], bytes]] = {}
    if scenes:
        making["heat.csv"] = lambda: heat_csv(scenes, measured)
    if measured != Zones():
        making[ZONES_FILE] = lambda: zones_json(measured)
    making["report.html"] = lambda: report_html(folder, scenes, limits).encode(
        "utf-8", "backslashreplace"
    )
    return write_files(folder, results_of(making))[-1]


def scenes_of(folder: Path) -> list[StoredScene]:
    """Return the finished scenes of a folder that was worked in.

    Raises
    ------
    UsageError
        There is no such folder.
    NothingFound
        No scene was ever worked on here.
    """
    if not folder.is_dir():
        raise UsageError(
            f"There is no folder {folder}", advice="give the folder that was given to -o"
        )
    scenes = stored_scenes(folder)
    if not scenes and not (folder / "summary.csv").is_file():
        raise NothingFound(
            f"{folder} holds no results",
            expected="a folder that `thermosharp sharpen` wrote into",
            came="no finished scene and no summary.csv",
            advice="give the folder that was given to -o",
        )
    return scenes


def series_limits(scenes: Sequence[StoredScene]) -> dict[str, Limits]:
    """Choose colour scales that can be compared: one for all scenes by day, one for the nights.

    Returns
    -------
    dict of str to (float, float)
        Kelvin, by the scene's name.
    """
    limits: dict[str, Limits] = {}
    for daylight in {scene.is_day for scene in scenes}:
        series = [scene for scene in scenes if scene.is_day == daylight]
        layers = [scene.glance(name, _GLANCE) for scene in series for name in _TEMPERATURES]
        limits |= dict.fromkeys((scene.name for scene in series), robust_limits(*layers))
    return limits


def draw_alike(
    scenes: Sequence[StoredScene], limits: dict[str, Limits], celsius: bool | None
) -> None:
    """Draw figures anew that do not have the colour scale of their series, or another unit."""
    shared = [scene for scene in scenes if list(limits.values()).count(limits[scene.name]) > 1]
    for scene in scenes:
        tags = _tags(scene)
        in_celsius = drawn_in_celsius(scene) if celsius is None else celsius
        wanted = figure_tags(limits[scene.name], celsius=in_celsius)
        right = tags == wanted if scene in shared else tags.get("Unit") == wanted["Unit"]
        if right:
            continue
        picture = scene.picture(MAX_PIXELS)
        scale = limits[scene.name] if scene in shared else None
        png = figure_png(picture, celsius=in_celsius, limits=scale)
        write_files(scene.folder, {f"{scene.name}.png": png})


def drawn_in_celsius(scene: StoredScene) -> bool:
    """Whether the figure of a scene is in degrees Celsius."""
    return _tags(scene).get("Unit") == "C"


def _tags(scene: StoredScene) -> dict[str, str]:
    """Return what a figure says about itself; nothing where it cannot be read."""
    try:
        with (
            (scene.folder / f"{scene.name}.png").open("rb") as file,
            Image.open(file) as image,
        ):
            return {key: str(image.info[key]) for key in ("Unit", "Limits") if key in image.info}
    except (OSError, ValueError, SyntaxError):
        return {}


def _zones(folder: Path, path: Path | None, hotter_than: float | None) -> Zones:
    kept = kept_zones(folder)
    threshold = kept.hotter_than if hotter_than is None else hotter_than
    polygons = kept.polygons if path is None else read_zones(path).polygons
    return Zones(polygons, threshold)
