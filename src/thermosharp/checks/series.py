"""What can be told of the scenes of a run only when they are seen side by side."""

from collections.abc import Sequence
from datetime import date

from odc.geo.geobox import GeoBox

from thermosharp.findings import Finding
from thermosharp.report.sun import is_day


def check_series(scenes: Sequence[tuple[date | None, GeoBox]]) -> tuple[Finding, ...]:
    """Hold the scenes of one run against each other.

    Are they all of the day or all of the night, which is told by where the sun stood, and on one
    kind of grid?

    Parameters
    ----------
    scenes : sequence of (date, GeoBox)
        When each was acquired, and its grid. Without a time of day a scene says nothing of it.
    """
    if len(scenes) < 2:
        return ()
    days = [_by_day(*scene) for scene in scenes]
    grids = {str(grid.crs) for _, grid in scenes}
    findings = []
    if True in days and False in days:
        night = days.count(False)
        findings.append(
            Finding(
                "DAY_NIGHT_MIXED",
                "warning",
                f"{days.count(True)} scenes by day and {night} by night are in one folder",
                "keep them apart in means, maxima and animations: surfaces that are hot by day "
                "are often cool by night",
                float(night),
            )
        )
    if len(grids) > 1:
        findings.append(
            Finding(
                "ZONES_MIXED",
                "warning",
                f"the scenes lie on grids of {len(grids)} coordinate systems: "
                f"{', '.join(sorted(grids))}",
                "pixels of such maps do not lie on each other; run each zone into its own folder",
                float(len(grids)),
            )
        )
    return tuple(findings)


def _by_day(acquired: date | None, grid: GeoBox) -> bool | None:
    west, south, east, north = grid.geographic_extent.boundingbox
    return is_day(acquired, (west + east) / 2, (south + north) / 2)
