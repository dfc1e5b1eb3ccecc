"""``heat.csv``: how hot it is, and on how much land; for whole scenes and for polygons."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from exactextract import exact_extract
from exactextract.feature import JSONFeatureSource
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from thermosharp.extents import SIDE_STEP, read_polygons
from thermosharp.rasterfiles import open_raster
from thermosharp.report.pixels import crs_of, row_areas
from thermosharp.results.stored import StoredScene
from thermosharp.writing.record import plain

#: What the zones of a folder are kept in, for reports to come.
ZONES_FILE = "zones.geojson"
PERCENTILES = (5, 25, 50, 75, 95)
#: Temperatures that are counted, and how finely, K.
_LOWEST, _HIGHEST, _BIN = 150.0, 450.0, 0.01
COLUMNS = (
    "scene",
    "acquired",
    "solar_time",
    "zone",
    "area_km2",
    "known_fraction",
    "mean_k",
    "std_k",
    "min_k",
    *(f"p{share:02}_k" for share in PERCENTILES),
    "max_k",
    "hotter_than_k",
    "hotter_km2",
    "hotter_fraction",
)

Row = dict[str, Any]
Values = NDArray[np.floating]


@dataclass(frozen=True)
class Zones:
    """What heat is measured on.

    Attributes
    ----------
    polygons : sequence of (str, Geometry)
        Names, and outlines in WGS84 longitude and latitude.
    hotter_than : float or None
        K.
    """

    polygons: Sequence[tuple[str, Geometry]] = ()
    hotter_than: float | None = None


def read_zones(path: Path, *, hotter_than: float | None = None) -> Zones:
    """Read zones from GeoJSON; they are called by their property ``name`` or ``id``, or numbered.

    Raises
    ------
    UsageError
        There is no such file, or no polygon in it.
    """
    polygons = read_polygons(path, option="--zones")
    return Zones(tuple(_named(polygons)), hotter_than)


def kept_zones(folder: Path) -> Zones:
    """Return the zones that an earlier report of the folder was made with."""
    path = folder / ZONES_FILE
    try:
        kept = json.loads(path.read_bytes()) if path.is_file() else {}
        threshold = kept.get("hotter_than_k")
        names = [feature["properties"]["name"] for feature in kept.get("features", [])]
        shapes = [Geometry(f["geometry"], "EPSG:4326") for f in kept.get("features", [])]
    except (ValueError, TypeError, KeyError, AttributeError):
        return Zones()
    number = float(threshold) if isinstance(threshold, int | float) else None
    return Zones(tuple(zip(names, shapes, strict=True)), number)


def zones_json(zones: Zones) -> bytes:
    """Encode zones as GeoJSON, to keep them."""
    features = [
        {"type": "Feature", "properties": {"name": name}, "geometry": shape.json}
        for name, shape in zones.polygons
    ]
    document = {
        "type": "FeatureCollection", "hotter_than_k": zones.hotter_than, "features": features,
    }  # fmt: skip
    return (json.dumps(document, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def heat_csv(scenes: Iterable[StoredScene], zones: Zones) -> bytes:
    """Measure scenes; a line for each whole scene, and one for each zone it reaches."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for scene in scenes:
        local = scene.solar_time
        about = {
            "scene": scene.name,
            "acquired": scene.acquired,
            "solar_time": f"{local:%H:%M}" if local else None,
            "hotter_than_k": zones.hotter_than,
        }
        for row in (_whole(scene, zones.hotter_than), *_zones(scene, zones)):
            cells = {key: _cell(value) for key, value in {**about, **row}.items()}
            writer.writerow(cells)
    return table.getvalue().encode("utf-8", "backslashreplace")


def _whole(scene: StoredScene, hotter_than: float | None) -> Row:
    """Measure a scene strip by strip: it may be larger than the memory."""
    rows, tally = row_areas(scene.grid), Tally(hotter_than)
    alike = bool((rows == rows[0]).all())  # in degrees they are not
    for top, strip in scene.strips("sharp"):
        areas = rows[0] if alike else rows[top : top + len(strip), None]
        tally.add(strip, areas)
    return {"zone": "whole scene", **tally.row(float(rows.sum()) * scene.grid.shape[1])}


def _zones(scene: StoredScene, zones: Zones) -> Iterator[Row]:
    """Measure the pixels of each zone by the share of them that lies in it."""
    if not zones.polygons:
        return
    grid = scene.grid
    near = grid.geographic_extent
    outlines = {
        number: shape.segmented(SIDE_STEP).to_crs(crs_of(grid))
        for number, (_, shape) in enumerate(zones.polygons)
        if shape.intersects(near)
    }
    if not outlines:
        return
    features = [
        {"type": "Feature", "properties": {"number": number}, "geometry": outline.json}
        for number, outline in outlines.items()
    ]
    rows = row_areas(grid)
    with open_raster(scene.path("sharp")) as file:
        found = exact_extract(
            file, JSONFeatureSource(features), ["values", "coverage", "center_y"],
            include_cols=["number"],
        )  # fmt: skip
    for zone in found:
        told = zone["properties"]
        values, share, y = (np.asarray(told[k], float) for k in ("values", "coverage", "center_y"))
        areas = share * rows[_row(y, grid)]
        number = told["number"]
        total = _area(outlines[number], grid, rows)
        tally = Tally(zones.hotter_than)
        tally.add(values, areas)
        yield {"zone": zones.polygons[number][0], **tally.row(total)}


def _area(outline: Geometry, grid: GeoBox, rows: NDArray[np.float64]) -> float:
    """Area of a zone, m2, wherever it reaches; measured as the pixels are."""
    middle = np.array([outline.centroid.coords[0][1]])
    pixel = abs(float(grid.resolution.x) * float(grid.resolution.y))
    return float(outline.area / pixel * rows[_row(middle, grid)][0])


def _row(y: Values, grid: GeoBox) -> NDArray[np.int_]:
    """Rows of a grid that lie at some y, or nearest to it."""
    rows: NDArray[np.int_] = np.floor((y - grid.transform.f) / grid.transform.e).astype(int)
    return np.clip(rows, 0, grid.shape[0] - 1)


class Tally:
    """Area-weighted statistics of temperatures that come in parts.

    Parameters
    ----------
    hotter_than : float, optional
        K; the area above it is added up too.
    """

    def __init__(self, hotter_than: float | None = None) -> None:
        self.hotter_than = hotter_than
        self._bins = np.zeros(round((_HIGHEST - _LOWEST) / _BIN))
        self._sums = np.zeros(3)  # of areas, and of area times K and K2 above _LOWEST
        self._hot = 0.0
        self._ends = [math.inf, -math.inf]

    def add(self, values: Values, areas: Values | float) -> None:
        """Add temperatures in K, NaN where unknown, and the area of each, or of all, in m2."""
        known = np.isfinite(values) & (np.asarray(areas) > 0)
        if not known.any():
            return
        k = values[known].astype(np.float64)
        above = k - _LOWEST
        place = (above / _BIN).astype(np.int64).clip(0, len(self._bins) - 1)
        hot = k > (math.inf if self.hotter_than is None else self.hotter_than)
        if np.ndim(areas) == 0:  # much quicker
            self._sums += np.array([k.size, above.sum(), above @ above]) * areas
            self._bins += np.bincount(place, minlength=len(self._bins)) * areas
            self._hot += float(np.count_nonzero(hot) * areas)
        else:
            w = np.broadcast_to(areas, values.shape)[known]
            self._sums += w.sum(), w @ above, w @ above**2
            self._bins += np.bincount(place, w, len(self._bins))
            self._hot += float(w[hot].sum())
        self._ends = [min(self._ends[0], float(k.min())), max(self._ends[1], float(k.max()))]

    def row(self, total: float) -> Row:
        """Return what was found.

        Parameters
        ----------
        total : float
            Area of the zone, m2, known or not.

        Returns
        -------
        dict
            Keys out of `COLUMNS`; only the first two where nothing is known. Percentiles are good
            to a hundredth of a kelvin.
        """
        weight, first, second = self._sums.tolist()
        known = min(weight / total, 1.0) if total else 0.0
        row: Row = {"area_km2": total / 1e6, "known_fraction": known}
        if not weight:
            return row
        mean = first / weight
        row |= {
            "mean_k": _LOWEST + mean,
            "std_k": math.sqrt(max(second / weight - mean**2, 0.0)),
            "min_k": self._ends[0],
            "max_k": self._ends[1],
        }
        edges = _LOWEST + _BIN * np.arange(len(self._bins) + 1)
        reached = np.concatenate([[0.0], np.cumsum(self._bins)]) / self._bins.sum()
        filled = np.concatenate([[True], np.diff(reached) > 0])
        for share in PERCENTILES:
            value = float(np.interp(share / 100, reached[filled], edges[filled]))
            row[f"p{share:02}_k"] = min(max(value, self._ends[0]), self._ends[1])
        if self.hotter_than is not None:
            row |= {"hotter_km2": self._hot / 1e6, "hotter_fraction": self._hot / weight}
        return row


def _named(polygons: Sequence[tuple[Geometry, dict[str, Any]]]) -> list[tuple[str, Geometry]]:
    zones = []
    for number, (shape, about) in enumerate(polygons, 1):
        lower = {str(key).lower(): value for key, value in about.items()}
        name = lower.get("name") or lower.get("id") or f"zone {number}"
        zones.append((str(name), shape))
    return zones


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
