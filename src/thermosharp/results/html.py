"""``report.html`` of a folder of results, from the files in it alone."""

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from thermosharp.report import words
from thermosharp.report.page import Page, PageRow, PageScene, render
from thermosharp.report.picture import centre
from thermosharp.report.pixels import ground_resolution, ground_width
from thermosharp.results.page_scenes import (
    STEP,
    day_or_night,
    metres,
    page_scene,
)
from thermosharp.results.stored import StoredScene
from thermosharp.writing.record import version

logger = logging.getLogger(__name__)

#: Characters that the maps of all scenes, and of a single one, may take up.
ALL_SCENES, ONE_SCENE = 40e6, 6e6


def report_html(
    folder: Path, scenes: Sequence[StoredScene], series: Mapping[str, tuple[float, float]]
) -> str:
    """Write the page about a folder.

    Parameters
    ----------
    folder : Path
        Its ``summary.csv`` tells of scenes that were skipped or failed.
    scenes : sequence of StoredScene
    series : mapping of str to (float, float)
        Ends of the colour scale of each scene's series, K, by the scene's name.
    """
    budget = min(ONE_SCENE, ALL_SCENES / max(len(scenes), 1))
    shown: list[PageScene] = []
    places: dict[str, int] = {}
    for scene in scenes:
        try:
            shown.append(page_scene(scene, budget, series[scene.name]))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            # A record that other hands changed; one scene must not take the report with it.
            logger.warning("%s cannot be shown: %s", scene.name, error)
            continue
        places[scene.name] = len(shown) - 1
    known = [scene for scene in scenes if scene.name in places]
    page = Page(
        title=_title(known),
        place=_place(known),
        facts=_facts(known),
        simulated=any(words.simulated(scene.record) for scene in known),
        version=version("thermosharp"),
        side=max((max(s.grid["width"], s.grid["height"]) for s in shown), default=0),
        step=STEP,
        rows=_rows(known, places, _summary(folder)),
        scenes=shown,
    )
    return render(page)


def _title(scenes: Sequence[StoredScene]) -> str:
    days = sorted({_day(scene.acquired) for scene in scenes if scene.acquired is not None})
    title = "Land surface temperature"
    if not days:
        return title
    first, last = days[0], days[-1]
    if first == last:
        return f"{title}, {first.day} {first:%B %Y}"
    start = f"{first.day}"
    if (first.year, first.month) != (last.year, last.month):
        start += f" {first:%B}"
    if first.year != last.year:
        start += f" {first.year}"
    return f"{title}, {start} to {last.day} {last:%B %Y}"


def _day(when: date | None) -> date:
    assert when is not None
    return date(when.year, when.month, when.day)


def _place(scenes: Sequence[StoredScene]) -> str:
    if not scenes:
        return "no finished scene in this folder"
    grid = scenes[0].grid
    lon, lat = centre(grid)
    height, width = grid.shape
    across, down = (
        size / 1000 for size in (width * ground_width(grid), height * ground_resolution(grid))
    )
    return (
        f"{abs(lat):.2f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"
        f" · {across:.3g} by {down:.3g} km"
    )


def _facts(scenes: Sequence[StoredScene]) -> list[tuple[str, str]]:
    """Say in a few large numbers what there is."""
    if not scenes:
        return []
    first = scenes[0]
    coarse, fine = (metres(ground_resolution(g)) for g in (first.coarse_grid, first.grid))
    facts = [("pixel size", f"{coarse} → {fine} m")]
    errors = [e for e in (words.expected_error(scene.record) for scene in scenes) if e is not None]
    if errors:
        low, high = f"{min(errors):.2f}", f"{max(errors):.2f}"
        facts.append(("expected error", f"{low} K" if low == high else f"{low}\u2013{high} K"))
    shares = [share for scene in scenes if (share := scene.usable) is not None]
    if shares:
        low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
        facts.append(("usable", f"{low} %" if low == high else f"{low}\u2013{high} %"))
    return [*facts, ("scenes" if len(scenes) > 1 else "scene", str(len(scenes)))]


def _rows(
    scenes: Iterable[StoredScene],
    places: Mapping[str, int],
    summary: Mapping[str, Mapping[str, str]],
) -> list[PageRow]:
    rows = [_row(scene, places[scene.name], summary.get(scene.name, {})) for scene in scenes]
    others = [told for name, told in summary.items() if name not in places]
    return rows + [_row_of_other(told) for told in others]


def _row(scene: StoredScene, place: int, told: Mapping[str, str]) -> PageRow:
    local, when = scene.solar_time, scene.acquired
    return PageRow(
        name=scene.name,
        scene=place,
        date="no date"
        if when is None
        else f"{when:%Y-%m-%d}" + (f" {when:%H:%M}" if local else ""),
        sort="" if when is None else when.isoformat(),
        solar=f"{local:%H:%M}" if local else "",
        day=day_or_night(scene),
        usable=scene.usable,
        expected=words.expected_error(scene.record),
        method=scene.method,
        status=told.get("status") or "done",
        remarks=", ".join(scene.warnings),
    )


def _row_of_other(told: Mapping[str, str]) -> PageRow:
    """Tell of a scene that there is nothing to show of, as the summary does."""
    when = (told.get("acquired") or "")[:16].replace("T", " ")
    return PageRow(
        name=told.get("scene", ""),
        scene=None,
        date=when or "no date",
        sort=when,
        solar="",
        day="",
        usable=_number(told.get("usable_fraction")),
        expected=_number(told.get("expected_rmse_k")),
        method=told.get("method", ""),
        status=told.get("status", ""),
        remarks=told.get("reason") or "its files are not all there",
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _summary(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        with (folder / "summary.csv").open(newline="", encoding="utf-8-sig") as file:
            return {row["scene"]: row for row in csv.DictReader(file) if row.get("scene")}
    except (OSError, ValueError, csv.Error, KeyError):
        return {}
