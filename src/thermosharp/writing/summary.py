"""``summary.csv``: one line a scene, kept from run to run."""

import csv
import io
import logging
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from thermosharp.scenes import SharpenedScene
from thermosharp.writing.files import check_writable, write_files
from thermosharp.writing.lock import locked
from thermosharp.writing.record import plain

log = logging.getLogger(__name__)

#: Columns of ``summary.csv``, in order.
SUMMARY_COLUMNS = (
    "scene",
    "status",
    "reason",
    "code",
    "acquired",
    "method",
    "predictors",
    "date_gap_days",
    "usable_fraction",
    "coarse_usable",
    "fine_written",
    "bias_before_k",
    "rmsd_before_k",
    "bias_after_k",
    "rmsd_after_k",
    "r2",
    "expected_rmse_k",
    "seconds",
    "warnings",
    "file",
)


def summary_row(sharp: SharpenedScene, *, status: str = "done", file: str = "") -> dict[str, Any]:
    """Return the line of ``summary.csv`` about a scene that was sharpened."""
    numbers, taken = sharp.diagnostics, sharp.predictors.get("acquired")
    return {
        "scene": sharp.name,
        "status": status,
        "acquired": sharp.thermal.acquired,
        "method": sharp.method,
        "predictors": sharp.predictors.get("name"),
        "date_gap_days": _days_between(sharp.thermal.acquired, taken),
        "usable_fraction": sharp.thermal.usable_fraction(),
        "coarse_usable": numbers.coarse_usable,
        "fine_written": numbers.fine_written,
        "bias_before_k": numbers.bias_before,
        "rmsd_before_k": numbers.rmsd_before,
        "bias_after_k": numbers.bias_after,
        "rmsd_after_k": numbers.rmsd_after,
        "r2": numbers.r2,
        "seconds": sum(numbers.seconds.values()),
        "warnings": [found.code for found in sharp.findings if found.severity != "info"],
        "file": file or f"{sharp.name}_sharp.tif",
    }


def _days_between(one: Any, other: Any) -> int | None:
    """Whole calendar days between two dates (or ISO strings of them), None if one is unknown."""
    days = []
    for when in (one, other):
        text = when.isoformat() if isinstance(when, date) else when
        if not isinstance(text, str) or not text:
            return None
        days.append(date.fromisoformat(text[:10]))
    return abs((days[0] - days[1]).days)


def write_summary(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write ``summary.csv``, one line a scene, keeping those of earlier runs.

    Parameters
    ----------
    folder : Path
    rows : iterable of mapping
        Keys out of `SUMMARY_COLUMNS`, ``"scene"`` at least. A row takes the place of an earlier
        one of the same scene.

    Raises
    ------
    UsageError, WriteFailed
        As :func:`write_scene`.
    """
    check_writable(folder)
    path = folder / "summary.csv"
    with locked(folder):
        merged = {row["scene"]: row for row in _earlier_rows(path)}
        for row in rows:
            cells = {column: _cell(row.get(column)) for column in SUMMARY_COLUMNS}
            merged[cells["scene"]] = cells
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, SUMMARY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged.values())
        write_files(folder, {path.name: table.getvalue().encode("utf-8", "backslashreplace")})
    return path


def _earlier_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        log.warning("%s is not readable and is made anew: %s", path, error)
        return []
    return [
        {column: row.get(column) or "" for column in SUMMARY_COLUMNS}
        for row in rows
        if row.get("scene")
    ]


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
