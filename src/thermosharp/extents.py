"""Where to sharpen: what two images share, a box in degrees, or an area of a GeoJSON file."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, box, unary_union
from rasterio.features import geometry_mask

from thermosharp.errors import UsageError
from thermosharp.overlap import to_pixels
from thermosharp.rasters import Window

#: Degrees round a grid within which an area is looked at.
NEAR = 0.5

#: Sides of an area are bent to another projection in steps of this many degrees.
SIDE_STEP = 0.05


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What part of the images to sharpen, and how far the output reaches.

    Attributes
    ----------
    output : {"overlap", "lst", "fine", "area"}
        The output covers what LST and fine image share; all of the LST; all of the fine image
        (NaN where nothing is known); or an area.
    area : Geometry, optional
        In WGS84 longitude and latitude, for "area".
    cut : bool
        Whether pixels outside the area's outline are masked; a box only limits the output.
    text : str
        As the user gave it.
    """

    output: Literal["overlap", "lst", "fine", "area"] = "overlap"
    area: Geometry | None = None
    cut: bool = False
    text: str = "overlap"

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read ``lst``, ``fine`` or ``W,S,E,N`` in degrees; None is the overlap.

        Raises
        ------
        UsageError
            It is none of these, or a box that cannot be.
        """
        if text is None or text == "overlap":
            return cls()
        if text == "lst":
            return cls(output="lst", text=text)
        if text == "fine":
            return cls(output="fine", text=text)
        return cls(output="area", area=box(*parse_box(text), "EPSG:4326"), text=text)

    @classmethod
    def from_geojson(cls, path: Path) -> Self:
        """Read the polygons of a GeoJSON file (RFC 7946: longitude, latitude).

        Raises
        ------
        UsageError
            There is no such file, or no polygon in it.
        """
        area = unary_union(shape for shape, _ in read_polygons(path, option="--aoi"))
        return cls(output="area", area=area, cut=True, text=str(path))

    def window(self, grid: GeoBox) -> Window | None:
        """Rows and columns of a grid that the area reaches; None where it misses the grid."""
        if self.area is None:
            return slice(0, grid.shape[0]), slice(0, grid.shape[1])
        area = self._on(grid)
        if area is None:
            return None
        west, south, east, north = area.boundingbox.bbox
        x = np.array([west, east, west, east])
        y = np.array([south, south, north, north])
        col, row = ~grid.transform * (x, y)
        spans = []
        for at, size in zip((row, col), grid.shape, strict=True):
            start, stop = math.floor(at.min() + 1e-6), math.ceil(at.max() - 1e-6)
            if start >= size or stop <= 0:
                return None
            spans.append(slice(max(0, start), min(size, stop)))
        return spans[0], spans[1]

    def inside(self, grid: GeoBox, *, touched: bool = False) -> NDArray[np.bool_]:
        """Mark the pixels ``(y, x)`` of a grid whose centres lie in the area.

        With `touched`, all that the area touches.
        """
        if self.area is None:
            return np.ones(grid.shape, bool)
        area = self._on(grid)
        if area is None:
            return np.zeros(grid.shape, bool)
        mask: NDArray[np.bool_] = geometry_mask(
            [area.json], grid.shape, grid.transform, invert=True, all_touched=touched
        )
        return mask

    def swapped(self) -> "Extent | None":
        """Exchange latitude and longitude, where that is possible."""
        if self.area is None:
            return None
        west, south, east, north = self.area.boundingbox.bbox
        if self.cut:
            if max(abs(west), abs(east)) > 90:
                return None
            return replace(self, area=Geometry(_exchanged(self.area.json), "EPSG:4326"))
        try:
            return Extent.parse(f"{south:g},{west:g},{north:g},{east:g}")
        except UsageError:
            return None

    def _on(self, grid: GeoBox) -> Geometry | None:
        """Bring the area to the CRS of a grid; None where it is nowhere near."""
        assert self.area is not None and grid.crs is not None
        # Only what is near: half a globe has no image in a map projection.
        near = self.area & grid.geographic_extent.buffer(NEAR)
        if near.is_empty:
            return None
        area: Geometry = near.segmented(SIDE_STEP).to_crs(grid.crs)
        return area


def _exchanged(shape: Any) -> dict[str, Any]:
    """Return a GeoJSON geometry with the two coordinates of each point exchanged."""

    def turn(part: Any) -> Any:
        if part and isinstance(part[0], int | float):
            return [part[1], part[0]]
        return [turn(inner) for inner in part]

    if "geometries" in shape:
        return {**shape, "geometries": [_exchanged(inner) for inner in shape["geometries"]]}
    return {**shape, "coordinates": turn(shape["coordinates"])}


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Read a box ``W,S,E,N`` in degrees, as bboxfinder.com prints it.

    Raises
    ------
    UsageError
        It has not four numbers, or they cannot be a box.
    """
    expected = "W,S,E,N in degrees, such as -118.30,34.05,-118.20,34.10"
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is no extent", expected=f"lst, fine, or {expected}") from None
    advice = ""
    if not all(math.isfinite(v) for v in (west, south, east, north)):
        problem = "holds a number that is not finite"
    elif max(abs(south), abs(north)) > 90 >= max(abs(west), abs(east)):
        problem = "has latitudes beyond 90 degrees"
        advice = f"latitude and longitude are swapped; try {south:g},{west:g},{north:g},{east:g}"
    elif max(abs(south), abs(north)) > 90 or max(abs(west), abs(east)) > 180:
        problem = "lies off the globe"
        advice = "give degrees, not metres"
    elif south >= north:
        problem = "has its south at or above its north"
    elif west > east:
        problem = "has its west beyond its east"
        advice = "an area across the 180th meridian must be done as two boxes"
    elif west == east:
        problem = "has no width"
    else:
        return west, south, east, north
    raise UsageError(f"The box {text} {problem}", expected=expected, advice=advice)


def read_polygons(path: Path, *, option: str) -> list[tuple[Geometry, dict[str, Any]]]:
    """Read the polygons of a GeoJSON file (RFC 7946: longitude, latitude) and their properties.

    Raises
    ------
    UsageError
        There is no such file, no polygon in it, or it is not in degrees.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}", advice=f"check the path given to {option}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        polygons = [
            (Geometry(shape, "EPSG:4326"), dict(about)) for shape, about in _polygons(document, {})
        ]
        area = unary_union(shape for shape, _ in polygons)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path.name} is no GeoJSON area", expected="polygons", came=str(error)
        ) from error
    if area is None or area.is_empty or area.area == 0:
        raise UsageError(
            f"{path.name} holds no area",
            expected="a Polygon, MultiPolygon, or features of these",
            came="nothing with a surface",
            advice="draw a polygon, for instance at geojson.io, and save it as GeoJSON",
        )
    west, south, east, north = area.boundingbox.bbox
    if max(abs(south), abs(north)) > 90 >= max(abs(west), abs(east)):
        raise UsageError(
            f"{path.name} has latitudes beyond 90 degrees",
            expected="longitude first, then latitude, as GeoJSON demands",
            came=f"coordinates from {west:g},{south:g} to {east:g},{north:g}",
            advice="latitude and longitude are swapped; exchange them in the file",
        )
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise UsageError(
            f"{path.name} is not in degrees",
            expected="longitude and latitude (WGS84), as GeoJSON demands",
            came=f"coordinates from {west:g},{south:g} to {east:g},{north:g}",
            advice="save the file again in EPSG:4326",
        )
    return polygons


def lattice_over(fine: GeoBox, coarse: GeoBox) -> GeoBox:
    """Extend the lattice of a fine grid so that it covers all of a coarse one."""
    rows, cols = coarse.shape
    edge = np.linspace(0, 1, 65)
    y = np.concatenate([edge, edge, 0 * edge, 0 * edge + 1]) * rows
    x = np.concatenate([0 * edge, 0 * edge + 1, edge, edge]) * cols
    at_y, at_x = to_pixels(coarse, fine, y, x)
    top, left = math.floor(at_y.min() + 1e-6), math.floor(at_x.min() + 1e-6)
    bottom, right = math.ceil(at_y.max() - 1e-6), math.ceil(at_x.max() - 1e-6)
    return GeoBox(
        (bottom - top, right - left), fine.transform * Affine.translation(left, top), fine.crs
    )


def _polygons(document: Any, about: Any) -> Any:
    """Yield polygons with the properties of the feature they belong to."""
    kind = document["type"]
    if kind == "FeatureCollection":
        for feature in document["features"]:
            yield from _polygons(feature, about)
    elif kind == "Feature":
        if document["geometry"] is not None:
            yield from _polygons(document["geometry"], document.get("properties") or {})
    elif kind == "GeometryCollection":
        for geometry in document["geometries"]:
            yield from _polygons(geometry, about)
    elif kind in ("Polygon", "MultiPolygon"):
        yield document, about
