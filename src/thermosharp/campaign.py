"""From an area and a period to sharpened maps: fetch what is missing, pair, sharpen.

Every step leaves its result on disk, and begins with what is there: thermal images in
``<output>/ecostress`` (or ``landsat``), fine ones in ``<output>/sentinel2``, maps in
``<output>/sharpened``.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from thermosharp import fetching
from thermosharp.cluster import Workforce
from thermosharp.errors import NothingFound
from thermosharp.products import find_thermal
from thermosharp.products.dates import date_in, day_of
from thermosharp.settings import Credentials, Project, Services
from thermosharp.sharpeners import METHODS
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.imagery import clear_share
from thermosharp.sources.plan import Fetch, Fetched, Planned, Tell, silent
from thermosharp.sources.sentinel2 import MOST_HIDDEN, Acquisition, Sentinel2Fetch
from thermosharp.workflow import SharpenOptions, SharpenRun

log = logging.getLogger(__name__)

#: Folder of images that turned out to show too little of the ground.
CLOUDY = "cloudy"
#: Images reach so far beyond the area, m: eight pixels of the sensor, so that its rim is no rim
#: to what is learnt there.
MARGIN = {"ecostress": 560, "landsat": 800}
#: So many dates are tried for one thermal image.
MOST_TRIES = 8


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """Everything `thermosharp run` is told.

    Attributes
    ----------
    project : Project
    services : Services
    credentials : Credentials
    tell : callable
        Called with news worth showing while one waits.
    """

    project: Project
    services: Services
    credentials: Credentials = field(repr=False)
    tell: Tell = silent

    @property
    def area(self) -> Area:
        """Where."""
        if self.project.aoi is not None:
            return Area.from_geojson(self.project.aoi.absolute())
        assert self.project.bbox is not None
        return Area.parse(self.project.bbox)

    @property
    def period(self) -> Period:
        """When thermal images are looked for."""
        return Period.parse(self.project.dates)

    @property
    def thermal_folder(self) -> Path:
        """Where the thermal images go."""
        return self.project.output / self.project.thermal.sensor

    @property
    def fine_folder(self) -> Path:
        """Where the fine images go."""
        return self.project.output / "sentinel2"

    @property
    def maps(self) -> Path:
        """Where the sharpened maps go."""
        return self.project.output / "sharpened"

    def check(self) -> None:
        """Find out what is wrong with the project before anything is fetched.

        Raises
        ------
        UsageError
            The area or the period cannot be, a method is not known, an account is missing.
        """
        fetch = self._sentinel2([])
        self.area.grids(fetch.resolution, margin=fetch.margin)
        self._options()

    def plan(self) -> tuple[list[Planned], list[Planned]]:
        """Say which thermal images, and which fine ones for them, would be fetched."""
        thermal = list(self.thermal().plan())
        days = sorted({day_of(item.when) for item in thermal if item.when is not None})
        fine = self._sentinel2(days)
        found = fine.find()
        if days:
            nearest = {item.day: item for day in days for item in self._order(found, day)[:1]}
            found = [nearest[day] for day in sorted(nearest)]
        return thermal, [fine.planned(item) for item in found]

    def thermal(self) -> Fetch:
        """Return the fetch of the thermal images and their companions."""
        cut = self.project.thermal.source == "appeears"  # others deliver tiles, or a margin
        return fetching.thermal(
            self.area.widened(self._margin) if cut else self.area, self.period, self.thermal_folder,
            settings=self.project.thermal, services=self.services, credentials=self.credentials,
            tell=self.tell,
        )  # fmt: skip

    def fine_units(self) -> float:
        """Return the processing units that a fine image costs."""
        fetch = self._sentinel2([])
        grids = self.area.grids(fetch.resolution, margin=fetch.margin)
        return sum(fetch.archive.units(grid, fetch.resolution) for grid in grids)

    def fetch_fine(self) -> Iterator[Fetched]:
        """Fetch, for each thermal image, the nearest fine image that shows the ground.

        Dates are tried from the nearest on. Images that show too little are put aside into a
        subfolder; where there is none better, the clearest of them is used after all.

        Raises
        ------
        NothingFound
            There is no image near enough in time.
        """
        days = sorted(
            {
                day_of(when)
                for path in find_thermal(self.thermal_folder)
                if (when := date_in(path.stem))
            }
        )
        fetch = self._sentinel2(days)
        found = fetch.find()
        looked_at: dict[date, _Look] = {}
        each = [self._nearest_clear(fetch, found, day, looked_at) for day in days]
        chosen = [item for item in each if item is not None]
        if not chosen:
            raise self._none_near(found, days)
        aside = replace(fetch, folder=fetch.folder / CLOUDY)
        for look in looked_at.values():
            if look.clear or look.item in chosen:
                _move(look.item, aside, fetch)
            else:
                _move(look.item, fetch, aside)
        for item in dict.fromkeys(chosen):
            for part in fetch.image(item):
                yield replace(part, kept=not looked_at[item.day].fresh)

    def sharpening(
        self, workforce: Workforce | None = None, *, overwrite: bool = False
    ) -> SharpenRun:
        """Return the run that sharpens each thermal image with its fine one."""
        return SharpenRun(self._options(overwrite=overwrite), workforce)

    def _options(self, *, overwrite: bool = False) -> SharpenOptions:
        wanted = self.project.sharpen
        takes_seed = wanted.method in METHODS and (
            "random_state" in METHODS[wanted.method]._get_param_names()
        )
        return SharpenOptions(
            # Absolute: from wherever a rerun is started, the settings are the same.
            lst=(self.thermal_folder.absolute(),),
            fine=(self.fine_folder.absolute(),),
            output=self.maps,
            method=wanted.method,
            method_options={"random_state": wanted.seed} if takes_seed else {},
            extent=self.area.extent,
            min_usable=wanted.min_usable,
            force=frozenset(wanted.force),
            resolution=self.project.sentinel2.resolution,
            overwrite=overwrite,
            celsius=wanted.celsius,
        )

    def _sentinel2(self, days: Sequence[date]) -> Sentinel2Fetch:
        """Look for fine images around the days of the thermal ones."""
        settings = self.project.sentinel2
        near = timedelta(days=settings.within_days)
        first, last = (days[0], days[-1]) if days else (self.period.first, self.period.last)
        return fetching.sentinel2(
            self.area, Period(first=first - near, last=last + near), self.fine_folder,
            settings=settings, services=self.services, credentials=self.credentials,
            margin=self._margin,
        )  # fmt: skip

    @property
    def _margin(self) -> int:
        return MARGIN[self.project.thermal.sensor]

    def _order(self, found: Sequence[Acquisition], day: date) -> list[Acquisition]:
        """Return the acquisitions near enough to a day, nearest first."""
        near = timedelta(days=self.project.sentinel2.within_days)
        close = [item for item in found if abs(item.day - day) <= near]
        return sorted(close, key=lambda item: (abs(item.day - day), item.day))

    def _nearest_clear(
        self,
        fetch: Sentinel2Fetch,
        found: Sequence[Acquisition],
        day: date,
        looked_at: dict[date, "_Look"],
    ) -> Acquisition | None:
        """Choose for a thermal image; None where there is nothing near.

        What was looked at is noted.
        """
        near = self._order(found, day)[:MOST_TRIES]
        for item in near:
            if item.day not in looked_at:
                self.tell(f"Sentinel-2 of {item.day} for the thermal image of {day}")
                looked_at[item.day] = self._look(fetch, item)
            if looked_at[item.day].clear:
                return item
        if not near:
            log.warning(
                "no Sentinel-2 image within %d days of %s; the nearest there is will be used",
                self.project.sentinel2.within_days, day,
            )  # fmt: skip
            return None
        best = max((looked_at[item.day] for item in near), key=lambda look: look.share)
        log.warning(
            "no clear Sentinel-2 image near %s; that of %s shows %.0f %% of the ground",
            day, best.item.day, 100 * best.share,
        )  # fmt: skip
        return best.item

    def _none_near(self, found: Sequence[Acquisition], days: Sequence[date]) -> NothingFound:
        gap, nearest = min((abs(item.day - day), item.day) for item in found for day in days)
        settings = self.project.sentinel2
        return NothingFound(
            "There is no Sentinel-2 image near any of the thermal ones",
            expected=f"one within {settings.within_days} days (--within) with at most "
            f"{settings.max_cloud:g} % cloud (--max-cloud)",
            came=f"the nearest, of {nearest}, is {gap.days} day(s) away",
            advice="allow more days or more cloud",
        )

    def _look(self, fetch: Sentinel2Fetch, item: Acquisition) -> "_Look":
        """Find out how much an image shows; fetch it unless it lies somewhere."""
        aside = replace(fetch, folder=fetch.folder / CLOUDY)
        shares = [clear_share(path, request) for path, request in aside.files(item)]
        fresh = False
        if None in shares:
            parts = fetch.image(item)
            shares, fresh = [part.clear for part in parts], not all(part.kept for part in parts)
        return _Look(item, sum(share or 0.0 for share in shares) / len(shares), fresh)


@dataclass(frozen=True)
class _Look:
    """What an image shows: the share of it in plain sight; and whether it came just now."""

    item: Acquisition
    share: float
    fresh: bool

    @property
    def clear(self) -> bool:
        return self.share >= 1 - MOST_HIDDEN


def _move(item: Acquisition, source: Sentinel2Fetch, target: Sentinel2Fetch) -> None:
    """Move the files of an acquisition from one folder to another, where they are there."""
    for path, _ in source.files(item):
        for file in source.folder.glob(f"{path.stem}*.tif"):
            target.folder.mkdir(parents=True, exist_ok=True)
            file.replace(target.folder / file.name)
