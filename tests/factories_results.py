"""Folders of results, as runs leave them, from small scenes with a known answer."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import thermosharp as ts
from scenes_for_tests import known_scene
from thermosharp.evaluation import EXPECTED_RMSE
from thermosharp.findings import Finding
from thermosharp.writing import summary_row, write_scene, write_summary

DAY, NIGHT = datetime(2023, 7, 17, 20, 11, 42, tzinfo=UTC), datetime(2023, 7, 26, 6, 37, tzinfo=UTC)
WARNING = Finding("CLOUD_UNKNOWN", "warning", "There is no cloud mask", "get one")


def make_results(folder: Path) -> Path:
    """A day scene with uncertainty, a night scene without, and one that was skipped."""
    day = sharpened("day", DAY, "detail")
    night = sharpened("night", NIGHT, "tsharp", cooler=15.0)
    for sharp, error in ((day, 0.7), (replace(night, findings=(WARNING,)), 1.2)):
        row = {**summary_row(sharp), EXPECTED_RMSE: error}
        write_scene(sharp, folder, extra={EXPECTED_RMSE: error, "summary": row})
        write_summary(folder, [row])
    skipped = {"scene": "cloudy", "status": "skipped", "reason": "3% is usable", "method": "detail"}
    write_summary(folder, [{**skipped, "usable_fraction": 0.03}])
    return folder


def sharpened(
    name: str, acquired: datetime | None, method: str, *, cooler: float = 0.0, seed: int = 0, **more
) -> ts.SharpenedScene:
    """A sharpened scene with a few holes, near Los Angeles."""
    thermal, fine, _ = known_scene(holes=0.02, seed=seed, **more)
    lst = thermal.lst - cooler
    thermal = replace(
        thermal, name=name, lst=lst, acquired=acquired, product="ECO_L2_LSTE.002",
        provenance={"file": f"{name}.tif"},
    )  # fmt: skip
    return ts.sharpen(thermal, replace(fine, acquired=acquired and acquired.date()), method=method)
