"""Where the sun stands: local solar time, and day or night.

After Spencer, J. W. (1971): Fourier series representation of the position of the sun.
*Search* 2, 172; good to half a minute and a tenth of a degree.
"""

import math
from datetime import UTC, date, datetime, timedelta

#: Elevation of the sun's centre at sunrise, degrees: refraction and half its disc.
SUNRISE = -0.83


def solar_time(when: date | None, longitude: float) -> datetime | None:
    """Return local solar time, at which the sun is highest at noon.

    Parameters
    ----------
    when : datetime (UTC if it names no zone), date, or None
    longitude : float
        Degrees east.

    Returns
    -------
    datetime or None
        Without a zone; None where no time is known.
    """
    if not isinstance(when, datetime):
        return None
    utc = _utc(when)
    minutes = 4.0 * longitude + _equation_of_time(utc)
    return utc.replace(tzinfo=None) + timedelta(minutes=minutes)


def is_day(when: date | None, longitude: float, latitude: float) -> bool | None:
    """Whether the sun is up; None where no time is known."""
    elevation = sun_elevation(when, longitude, latitude)
    return None if elevation is None else elevation > SUNRISE


def sun_elevation(when: date | None, longitude: float, latitude: float) -> float | None:
    """Elevation of the sun over the horizon in degrees; None where no time is known."""
    local = solar_time(when, longitude)
    if local is None:
        return None
    assert isinstance(when, datetime)
    hours = local.hour + local.minute / 60 + local.second / 3600
    hour_angle = math.radians(15 * (hours - 12))
    declination, phi = _declination(_utc(when)), math.radians(latitude)
    sine = math.sin(phi) * math.sin(declination)
    sine += math.cos(phi) * math.cos(declination) * math.cos(hour_angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _year_angle(when: datetime) -> float:
    day = when.timetuple().tm_yday - 1 + when.hour / 24
    return 2 * math.pi * day / 365


def _declination(when: datetime) -> float:
    """Return the sun's declination in radians."""
    a = _year_angle(when)
    return (
        0.006918
        - 0.399912 * math.cos(a) + 0.070257 * math.sin(a)
        - 0.006758 * math.cos(2 * a) + 0.000907 * math.sin(2 * a)
        - 0.002697 * math.cos(3 * a) + 0.00148 * math.sin(3 * a)
    )  # fmt: skip


def _equation_of_time(when: datetime) -> float:
    """Return apparent minus mean solar time in minutes."""
    a = _year_angle(when)
    return 229.18 * (
        0.000075
        + 0.001868 * math.cos(a) - 0.032077 * math.sin(a)
        - 0.014615 * math.cos(2 * a) - 0.040849 * math.sin(2 * a)
    )  # fmt: skip
