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
import rasterio
from exactextract import exact_extract
from exactextract.feature import JSONFeatureSource
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from thermosharp.extents import SIDE_STEP, read_polygons
from thermosharp.report.pixels import crs_of, row_areas
from thermosharp.results.stored import StoredScene
from thermosharp.writing.record import plain

#: What the zones of a folder are kept in, for reports to come.
ZONES_FILE = "zones.geojson"
PERCENTILES = (5, 25, 50, 75, 95)
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
    lst = scene.averaged("sharp", 1)
    areas = np.broadcast_to(row_areas(scene.grid)[:, None], lst.shape)
    return {"zone": "whole scene", **heat(lst.values.ravel(), areas.ravel(), hotter_than)}


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
    with rasterio.open(scene.path("sharp")) as file:
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
        measured = heat(values, areas, zones.hotter_than, total=total)
        yield {"zone": zones.polygons[number][0], **measured}


def _area(outline: Geometry, grid: GeoBox, rows: NDArray[np.float64]) -> float:
    """Area of a zone, m2, wherever it reaches; measured as the pixels are."""
    middle = np.array([outline.centroid.coords[0][1]])
    pixel = abs(float(grid.resolution.x) * float(grid.resolution.y))
    return float(outline.area / pixel * rows[_row(middle, grid)][0])


def _row(y: Values, grid: GeoBox) -> NDArray[np.int_]:
    """Rows of a grid that lie at some y, or nearest to it."""
    rows: NDArray[np.int_] = np.floor((y - grid.transform.f) / grid.transform.e).astype(int)
    return np.clip(rows, 0, grid.shape[0] - 1)


def heat(
    values: Values, areas: Values, hotter_than: float | None = None, *, total: float | None = None
) -> Row:
    """Area-weighted statistics of temperatures.

    Parameters
    ----------
    values : ndarray (n,)
        K; NaN where unknown.
    areas : ndarray (n,)
        Area that each stands for, m2.
    hotter_than : float, optional
        K.
    total : float, optional
        Area of the zone where that is more than `areas` add up to, m2.

    Returns
    -------
    dict
        Keys out of `COLUMNS`; None where nothing is known.
    """
    known = np.isfinite(values) & (areas > 0)
    k, w = values[known].astype(np.float64), areas[known]
    weight, total = float(w.sum()), float(areas.sum()) if total is None else total
    row: Row = {
        "area_km2": total / 1e6,
        "known_fraction": min(weight / total, 1.0) if total else 0.0,
    }
    if not weight:
        return row
    mean = float((k * w).sum() / weight)
    row |= {
        "mean_k": mean,
        "std_k": math.sqrt(float((w * (k - mean) ** 2).sum() / weight)),
        "min_k": float(k.min()),
        "max_k": float(k.max()),
    }
    row |= {
        f"p{p:02}_k": q for p, q in zip(PERCENTILES, _percentiles(k, w, PERCENTILES), strict=True)
    }
    if hotter_than is not None:
        hot = float(w[k > hotter_than].sum())
        row |= {"hotter_km2": hot / 1e6, "hotter_fraction": hot / weight}
    return row


def _percentiles(values: Values, weights: Values, shares: Sequence[float]) -> list[float]:
    """Return weighted percentiles, interpolated between the middles of the weights."""
    order = np.argsort(values)
    ranked, cumulated = values[order], np.cumsum(weights[order])
    middles = (cumulated - weights[order] / 2) / cumulated[-1]
    return [float(value) for value in np.interp(np.array(shares) / 100, middles, ranked)]


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
