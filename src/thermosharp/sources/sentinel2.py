"""Sentinel-2 images of an area, date by date, whichever service has them.

A service is anything that follows :class:`Archive`; this module decides which dates to take,
names the files, and fills clouds from other dates where that is wanted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Protocol

from odc.geo.geobox import GeoBox

from thermosharp.errors import NothingFound, QuotaExceeded
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.composite import write_composite
from thermosharp.sources.imagery import Pixels, Request, clear_share, image_name, write_image
from thermosharp.sources.plan import Fetched, Planned

#: An image whose pixels are hidden to a larger share is put aside as cloudy.
MOST_HIDDEN = 0.4
#: Folder of the images of single dates that composites are made of.
SINGLES = "dates"


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """The images of one day over an area.

    Attributes
    ----------
    day : date
        UTC.
    cloud : float or None
        Cloud cover of the tiles, %, from the catalogue; of the tiles, not of the area.
    items : tuple
        Whatever the archive needs to find them again.
    """

    day: date
    cloud: float | None
    items: tuple[Any, ...] = field(repr=False)


class Archive(Protocol):
    """A service that has Sentinel-2 Level-2A."""

    name: str

    def search(self, area: Area, period: Period) -> list[Acquisition]:
        """List what there is, day by day, whatever its cloud cover."""

    def read(self, acquisition: Acquisition, grid: GeoBox, resolution: int) -> Pixels:
        """Return the pixels of a grid."""

    def units(self, grid: GeoBox, resolution: int) -> float:
        """Return the cost of an image in processing units; 0 where it is free."""


class Budget:
    """Processing units that may be spent, and were."""

    def __init__(self, limit: float) -> None:
        self.limit, self.spent = limit, 0.0

    def spend(self, units: float) -> None:
        """Spend some.

        Raises
        ------
        QuotaExceeded
            That would be too many.
        """
        if self.spent + units > self.limit:
            raise QuotaExceeded(
                f"The next image would cost {units:,.1f} processing units",
                expected=f"at most {self.limit:g} in all (--max-pu)",
                came=f"{self.spent:,.1f} spent already",
                advice="raise --max-pu and run again; what was fetched is kept",
            )
        self.spent += units


@dataclass(frozen=True, kw_only=True)
class Sentinel2Fetch:
    """What is wanted of Sentinel-2, and from where.

    Attributes
    ----------
    archive : Archive
    area : Area
    period : Period
    folder : Path
        Gets ``S2_20m_2023-07-14.tif`` and the like.
    resolution : int
        20 or 10, m.
    margin : int
        How far images reach beyond the area, m.
    max_cloud : float
        Most cloud cover the catalogue may tell of a tile, %.
    budget : Budget
        Processing units that may be spent.
    fill_days : int or None
        Fill hidden pixels from clear dates at most so many days away; None for images as they are.
    """

    archive: Archive
    area: Area
    period: Period
    folder: Path
    resolution: int = 20
    margin: int = 0
    max_cloud: float = 30.0
    budget: Budget = field(default_factory=lambda: Budget(500.0))
    fill_days: int | None = None

    def find(self) -> list[Acquisition]:
        """Search the catalogue; return the acquisitions clear enough, by date.

        Raises
        ------
        NothingFound
            There is none; says which condition none of them met.
        """
        found = self.archive.search(self.area, self.period)
        clear = [item for item in found if item.cloud is None or item.cloud <= self.max_cloud]
        if not clear:
            raise self._nothing(found)
        return sorted(clear, key=lambda item: item.day)

    def plan(self) -> list[Planned]:
        """Say what would be fetched, and what it would cost."""
        return [self.planned(item) for item in self.find()]

    def fetch(self, planned: Sequence[Planned]) -> Iterator[Fetched]:
        """Fetch what was planned, one image after another; what is there is kept.

        Raises
        ------
        QuotaExceeded
            It would cost more processing units than allowed; nothing is fetched then.
        """
        self._afford(planned)
        for item in planned:
            yield from self.image(item.what)

    def image(self, acquisition: Acquisition) -> list[Fetched]:
        """Fetch the image of one acquisition: a file for each part of the area.

        Raises
        ------
        QuotaExceeded, AccessRefused, ServiceFailed, DamagedDownload, OutputTaken, WriteFailed
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        fetched = []
        for number, (path, request) in enumerate(self.files(acquisition)):
            share = clear_share(path, request)
            kept = share is not None
            if share is None:
                share = self._write(acquisition, number, path, request)
            fetched.append(
                Fetched(path=path, kept=kept, note=f"{share:.0%} in plain sight", clear=share)
            )
        return fetched

    def files(self, acquisition: Acquisition) -> list[tuple[Path, Request]]:
        """Return the files of an acquisition, and what each is to hold."""
        grids = self.area.grids(self.resolution, margin=self.margin)
        filled = {} if self.fill_days is None else {"fill_days": self.fill_days}
        return [
            (
                self.folder / image_name(acquisition.day, grid, self.resolution, parts=len(grids)),
                Request(
                    source=self.archive.name,
                    day=acquisition.day,
                    grid=grid,
                    resolution=self.resolution,
                    more=filled and {**filled, "max_cloud": self.max_cloud},
                ),
            )
            for grid in grids
        ]

    def _write(self, acquisition: Acquisition, number: int, path: Path, request: Request) -> float:
        """Write one part of an image; return the share in plain sight."""
        if self.fill_days is None:
            self.budget.spend(self.archive.units(request.grid, self.resolution))
            return write_image(path, request, self._reader(acquisition))
        single = replace(self, fill_days=None, folder=self.folder / SINGLES)
        layers = (
            (item.day, single.image(item)[number].path) for item in self._fillers(acquisition)
        )
        return write_composite(path, request, layers)

    def _fillers(self, acquisition: Acquisition) -> Iterator[Acquisition]:
        """Go through what may fill the clouds of an acquisition: itself, then nearest first."""
        yield acquisition
        near = timedelta(days=self.fill_days or 0)
        period = Period(first=acquisition.day - near, last=acquisition.day + near)
        others = (
            item for item in replace(self, period=period).find() if item.day != acquisition.day
        )
        yield from sorted(others, key=lambda item: (abs(item.day - acquisition.day), item.day))

    def _reader(self, acquisition: Acquisition) -> Callable[[GeoBox], Pixels]:
        return lambda grid: self.archive.read(acquisition, grid, self.resolution)

    def planned(self, acquisition: Acquisition) -> Planned:
        """Say what fetching an acquisition means."""
        files = self.files(acquisition)
        missing = [request for path, request in files if not path.exists()]
        return Planned(
            name=f"Sentinel-2 {acquisition.day}",
            when=acquisition.day,
            cloud=acquisition.cloud,
            size=sum(_bytes(request) for _, request in files),
            units=sum(self.archive.units(request.grid, self.resolution) for request in missing),
            files=len(files),
            there=not missing,
            what=acquisition,
        )

    def _afford(self, planned: Sequence[Planned]) -> None:
        units = sum(item.units for item in planned)
        if units > self.budget.limit:
            raise QuotaExceeded(
                f"{len(planned)} images would cost {units:,.1f} processing units",
                expected=f"at most {self.budget.limit:g} (--max-pu)",
                came=f"{units:,.1f}",
                advice="take a smaller area, fewer dates or less cloud (--max-cloud), or raise "
                "--max-pu",
            )

    def _nothing(self, found: Sequence[Acquisition]) -> NothingFound:
        where = f"{self.area.text} in {self.period}"
        if found:
            clearest = min(found, key=lambda item: item.cloud or 0)
            return NothingFound(
                f"No Sentinel-2 image of {where} is clear enough",
                expected=f"at most {self.max_cloud:g} % cloud (--max-cloud)",
                came=f"{len(found)} dates; the clearest is {clearest.day} with "
                f"{clearest.cloud:.0f} %",
                advice=f"allow more cloud, or other dates; --max-cloud {clearest.cloud or 0:.0f} "
                "would take it",
            )
        return NothingFound(
            f"There is no Sentinel-2 image of {where}",
            expected="at least one (they come every 2 to 5 days since 2017)",
            came=f"none from {self.archive.name}, whatever its cloud cover",
            advice=self._why_none(),
        )

    def _why_none(self) -> str:
        other = self.area.swapped()
        if other is not None and self.archive.search(other, self.period):
            return (
                f"there are images of {other.text}: latitude and longitude may be swapped; "
                "a box is W,S,E,N"
            )
        return "check the box (W,S,E,N) and the dates"


def _bytes(request: Request) -> int:
    """Estimate what an image takes on disk: two thirds of its numbers remain when packed."""
    rows, cols = request.grid.shape
    return int(rows * cols * len(request.bands) * 2 * 2 / 3)
