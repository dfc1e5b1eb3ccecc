"""Where and when to look: an area in degrees, days, and the UTM grid images are put on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Self

from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox, Geometry, box, unary_union

from thermosharp.errors import UsageError
from thermosharp.extents import SIDE_STEP, Extent, parse_box

#: Corners of grids are multiples of this, m, so that those of 10 and 20 m nest.
SNAP = 20
#: Largest image, pixels: some 300 km by 300 km at 20 m.
MOST_PIXELS = 225_000_000
#: Pixels along the side of what is asked for at once: whole tiles of a file, and less than the
#: 2500 that Sentinel Hub takes.
BLOCK = 9 * 256
METRES_PER_DEGREE = 111_320.0

_HALVES = (box(-180, -90, 0, 90, "EPSG:4326"), box(0, -90, 180, 90, "EPSG:4326"))


@dataclass(frozen=True, kw_only=True)
class Area:
    """An area to fetch images of.

    Attributes
    ----------
    geometry : Geometry
        In WGS84 longitude and latitude; in two pieces where it crosses the 180th meridian.
    text : str
        As the user gave it.
    outline : bool
        Whether it is more than a box, so that maps are cut out along it.
    """

    geometry: Geometry
    text: str
    outline: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``W,S,E,N`` in degrees; a west beyond the east crosses the 180th meridian.

        Raises
        ------
        UsageError
            It is no box, or latitude and longitude are swapped beyond doubt.
        """
        halves = _across_180(text)
        boxes = [parse_box(half) for half in halves]
        geometry = unary_union(box(*sides, "EPSG:4326") for sides in boxes)
        assert geometry is not None
        return cls(geometry=geometry, text=text)

    @classmethod
    def from_geojson(cls, path: Path) -> Self:
        """Read the polygons of a GeoJSON file.

        Raises
        ------
        UsageError
            There is no such file, or no polygon in it.
        """
        geometry = Extent.from_geojson(path).area
        assert geometry is not None
        return cls(geometry=geometry, text=str(path), outline=True)

    @property
    def parts(self) -> tuple[Geometry, ...]:
        """The area, cut where it crosses the 180th meridian; from west to east on the globe."""
        bounds = self.geometry.boundingbox
        if bounds.span_x <= 180:
            return (self.geometry,)
        east, west = (self.geometry & half for half in _HALVES)
        return tuple(part for part in (west, east) if not part.is_empty)

    @property
    def boxes(self) -> tuple[tuple[float, float, float, float], ...]:
        """West, south, east, north of each part, degrees."""
        return tuple(part.boundingbox.bbox for part in self.parts)

    @property
    def extent(self) -> Extent:
        """The area as the extent of sharpened maps."""
        return Extent(output="area", area=self.geometry, cut=self.outline, text=self.text)

    def swapped(self) -> "Area | None":
        """Exchange latitude and longitude of a box, where that is possible."""
        if self.outline or len(self.parts) > 1:
            return None
        west, south, east, north = self.boxes[0]
        try:
            return Area.parse(f"{south:g},{west:g},{north:g},{east:g}")
        except UsageError:
            return None

    def widened(self, metres: float) -> "Area":
        """Return boxes round the parts that reach so much further to all sides."""
        boxes = []
        for west, south, east, north in self.boxes:
            up = metres / METRES_PER_DEGREE
            aside = up / math.cos(math.radians(min(85, max(abs(south), abs(north)))))
            sides = (
                max(-180, west - aside), max(-90, south - up),
                min(180, east + aside), min(90, north + up),
            )  # fmt: skip
            boxes.append(box(*sides, "EPSG:4326"))
        geometry = unary_union(boxes)
        assert geometry is not None
        return Area(geometry=geometry, text=self.text)

    def grids(self, resolution: int, *, margin: int = 0) -> tuple[GeoBox, ...]:
        """Return the UTM grid of each part, with a margin, m: of the zone its middle lies in.

        An area over the border of two zones gets one seamless grid: so near its own zone UTM is
        as true as inside.

        Raises
        ------
        UsageError
            The area is too large for one image.
        """
        return tuple(utm_grid(part, resolution, margin) for part in self.parts)


def _across_180(text: str) -> list[str]:
    """Split a box that crosses the 180th meridian; leave judging the numbers to the reader."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{text!r} is no box",
            expected="W,S,E,N in degrees, such as -118.30,34.05,-118.20,34.10",
            advice="draw a box at bboxfinder.com and copy what it prints",
        ) from None
    if -180 <= east < west <= 180 and east + 360 - west < 180:
        return [f"{west},{south},180,{north}", f"-180,{south},{east},{north}"]
    return [text]


def utm_grid(geometry: Geometry, resolution: int, margin: int = 0) -> GeoBox:
    """Cover a geometry (degrees) with a UTM grid aligned to multiples of :data:`SNAP` metres.

    Parameters
    ----------
    geometry : Geometry
    resolution : int
        Size of a pixel, m.
    margin : int
        How much further the grid reaches to all sides, m.

    Raises
    ------
    UsageError
        It would have more than :data:`MOST_PIXELS`.
    """
    bounds = geometry.boundingbox
    longitude, latitude = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
    if bounds.span_x > 12 or bounds.span_y > 12:  # far before the projection breaks down
        raise _too_large(f"{bounds.span_x:.1f} by {bounds.span_y:.1f} degrees")
    zone = min(60, math.floor((longitude + 180) / 6) + 1)
    crs = f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"
    metres = geometry.segmented(SIDE_STEP).to_crs(crs).boundingbox
    left, bottom = (math.floor((v - margin) / SNAP) * SNAP for v in metres.bbox[:2])
    right, top = (math.ceil((v + margin) / SNAP) * SNAP for v in metres.bbox[2:])
    grid = GeoBox.from_bbox(
        BoundingBox(left, bottom, right, top, crs), resolution=resolution, tight=True
    )
    rows, cols = grid.shape
    if rows * cols > MOST_PIXELS:
        raise _too_large(f"{rows * cols / 1e6:,.0f} million pixels of {resolution} m")
    return grid


def _too_large(came: str) -> UsageError:
    return UsageError(
        "The area is too large for one image",
        expected=f"at most {MOST_PIXELS / 1e6:.0f} million pixels",
        came=came,
        advice="take a smaller area, or do it in several",
    )


def blocks(grid: GeoBox, size: int = BLOCK) -> Iterator[tuple[slice, slice]]:
    """Cut a grid into windows (rows, columns) of at most `size` pixels a side."""
    rows, cols = grid.shape
    for top in range(0, rows, size):
        for left in range(0, cols, size):
            yield slice(top, min(top + size, rows)), slice(left, min(left + size, cols))


@dataclass(frozen=True, kw_only=True)
class Period:
    """Days from the first to the last, both included, UTC."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``FROM/TO``, each as YYYY-MM-DD, or a single day.

        Raises
        ------
        UsageError
            It is no period, or ends before it begins.
        """
        parts = [part.strip() for part in text.split("/")]
        try:
            days = [date.fromisoformat(part) for part in parts]
            first, last = days * 2 if len(days) == 1 else days
        except ValueError:
            raise UsageError(
                f"{text!r} is no period",
                expected="FROM/TO, such as 2023-07-01/2023-08-31, or one day",
            ) from None
        if first > last:
            raise UsageError(
                f"The period {text} ends before it begins",
                expected="the earlier day first",
                advice=f"try {last}/{first}",
            )
        return cls(first=first, last=last)

    def __str__(self) -> str:
        return f"{self.first}/{self.last}"

    @property
    def moments(self) -> tuple[datetime, datetime]:
        """First and last second (UTC)."""
        return (
            datetime.combine(self.first, time(0, 0, 0), tzinfo=UTC),
            datetime.combine(self.last, time(23, 59, 59), tzinfo=UTC),
        )

    def utc(self, joint: str = "/") -> str:
        """Return the two moments as ISO 8601, as catalogues want them."""
        return joint.join(moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in self.moments)
