"""Dates in the names of files and folders."""

import re
from datetime import UTC, date, datetime, time, timedelta

_SHAPES = (
    r"doy(?P<year>\d{4})(?P<doy>\d{3})(?:(?P<clock>\d{6}))?(?!\d)",
    r"(?<!\d)(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})(?:T(?P<clock>\d{6}))?(?!\d)",
    r"(?<!\d)(?P<year>\d{4})(?P<dash>[-_.])(?P<month>\d{2})(?P=dash)(?P<day>\d{2})(?!\d)",
)
#: First Landsat; and far enough ahead.
_EARLIEST, _LATEST = 1972, 2100


def date_in(name: str) -> datetime | date | None:
    """Return the first date a name tells, with its time (UTC) where it tells one.

    Understood are ``20230714``, ``20230714T184312``, ``2023-07-14`` and ``doy2023195`` (with or
    without ``HHMMSS``). Digits that are no day between 1972 and 2100 are something else: a tile,
    an orbit, a serial number.
    """
    hits = sorted(
        (hit for shape in _SHAPES for hit in re.finditer(shape, name)), key=lambda hit: hit.start()
    )
    return next((found for hit in hits if (found := _date(hit.groupdict())) is not None), None)


def _date(parts: dict[str, str]) -> datetime | date | None:
    year, clock = int(parts["year"]), parts.get("clock")
    if not _EARLIEST <= year <= _LATEST:
        return None
    try:
        if "doy" in parts:
            day = date(year, 1, 1) + timedelta(days=int(parts["doy"]) - 1)
            if day.year != year:
                return None
        else:
            day = date(year, int(parts["month"]), int(parts["day"]))
        if clock is None:
            return day
        return datetime.combine(
            day, time(int(clock[:2]), int(clock[2:4]), int(clock[4:])), tzinfo=UTC
        )
    except ValueError:
        return None


def day_of(acquired: datetime | date) -> date:
    """Return the day (UTC) of a moment or a day."""
    if isinstance(acquired, datetime):
        return (acquired.astimezone(UTC) if acquired.tzinfo else acquired).date()
    return acquired


def gap(one: datetime | date, other: datetime | date) -> timedelta:
    """Return the time between two acquisitions, in whole days unless both tell the time."""
    if isinstance(one, datetime) and isinstance(other, datetime):
        one, other = (
            moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (one, other)
        )
        return abs(one - other)
    return abs(day_of(one) - day_of(other))
