"""Solar time and elevation against published almanac values."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from thermosharp.report.sun import is_day, solar_time, sun_elevation


@pytest.mark.parametrize(
    ("when", "minutes"),
    [  # equation of time, minutes
        (datetime(2023, 2, 11, 12, tzinfo=UTC), -14.2),
        (datetime(2023, 5, 14, 12, tzinfo=UTC), 3.7),
        (datetime(2023, 7, 26, 12, tzinfo=UTC), -6.5),
        (datetime(2023, 11, 3, 12, tzinfo=UTC), 16.4),
    ],
)
def test_solar_noon_at_greenwich(when, minutes):
    off = (solar_time(when, 0.0) - when.replace(tzinfo=None)).total_seconds() / 60
    assert off == pytest.approx(minutes, abs=0.6)


def test_four_minutes_a_degree_and_any_time_zone():
    when = datetime(2023, 7, 17, 20, 11, tzinfo=UTC)
    assert solar_time(when, -118.0) - solar_time(when, 0.0) == timedelta(minutes=-472)
    assert solar_time(when.astimezone(timezone(timedelta(hours=-7))), 5.0) == solar_time(when, 5.0)
    assert solar_time(when.replace(tzinfo=None), 5.0) == solar_time(when, 5.0)


@pytest.mark.parametrize(
    ("when", "lon", "lat", "elevation"),
    [  # noon: 90 - |latitude - declination|; midnight below the horizon by as much
        (datetime(2023, 6, 21, 12, 2, tzinfo=UTC), 0.0, 51.48, 61.96),
        (datetime(2023, 12, 22, 11, 58, tzinfo=UTC), 0.0, 51.48, 15.08),
        (datetime(2023, 3, 20, 12, 7, tzinfo=UTC), 0.0, 0.0, 89.8),
        (datetime(2023, 6, 21, 0, 2, tzinfo=UTC), 0.0, 51.48, -15.08),
    ],
)
def test_elevation(when, lon, lat, elevation):
    assert sun_elevation(when, lon, lat) == pytest.approx(elevation, abs=0.5)


def test_day_and_night():
    assert is_day(datetime(2023, 7, 17, 20, 11, tzinfo=UTC), -118.2, 34.0) is True
    assert is_day(datetime(2023, 7, 26, 6, 37, tzinfo=UTC), -118.2, 34.0) is False
    assert is_day(datetime(2023, 6, 21, 0, 0, tzinfo=UTC), 20.0, 75.0) is True, "midnight sun"
    assert is_day(date(2023, 7, 17), 0.0, 0.0) is None
    assert solar_time(None, 0.0) is None
