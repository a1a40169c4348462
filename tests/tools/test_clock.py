"""Times in real zones, summer time and fixed offsets, and arithmetic with dates."""

from datetime import UTC, datetime, timedelta

import pytest

from headgate.tools.builtin.clock import moment_of, moved, zone_of
from tests.requirements import covers
from tests.tools.calling import call, said

pytestmark = covers("106")


async def test_berlin_is_ahead_of_utc_by_its_offset_of_today() -> None:
    berlin, utc = await said("current_time", timezone="Europe/Berlin"), await said("current_time")
    ahead = datetime.fromisoformat(berlin.split()[0]).utcoffset()
    assert ahead in (timedelta(hours=1), timedelta(hours=2))
    assert datetime.fromisoformat(berlin.split()[0]) - datetime.fromisoformat(utc.split()[0]) < timedelta(minutes=1)
    assert utc.split()[0].endswith("+00:00")
    assert ("daylight" in berlin) is (ahead == timedelta(hours=2))


@pytest.mark.parametrize(
    ("zone", "winter", "summer"),
    [
        ("Europe/Berlin", 1, 2),
        ("America/New_York", -5, -4),
        ("Asia/Kolkata", 5.5, 5.5),
        ("Australia/Sydney", 11, 10),
        ("UTC", 0, 0),
        ("z", 0, 0),
        ("+05:30", 5.5, 5.5),
        ("UTC-3", -3, -3),
        ("gmt+0945", 9.75, 9.75),
        ("-14:00", -14, -14),
    ],
)
def test_zones_have_their_offset_in_january_and_july(zone: str, winter: float, summer: float) -> None:
    hours = [moment_of(f"2026-{month}-15T12:00", zone_of(zone)).utcoffset() for month in ("01", "07")]
    assert hours == [timedelta(hours=winter), timedelta(hours=summer)]


@pytest.mark.parametrize(
    "zone", ["Berlin", "../../etc/passwd", "/etc/localtime", "America", "+15:00", "+05:99", "UTC+", "a" * 5000, "\0"]
)
async def test_a_zone_that_is_none_is_an_error_that_shows_a_name_to_use(zone: str) -> None:
    result = await call("current_time", timezone=zone)
    assert result.failed
    assert "Europe/Berlin" in result.text or "-14:00" in result.text
    assert len(result.text) < 200


@pytest.mark.parametrize(
    ("date", "zone", "by", "expected"),
    [
        ("2026-01-31", "UTC", {"months": 1}, "2026-02-28T00:00:00+00:00"),
        ("2024-02-29", "UTC", {"years": 1}, "2025-02-28T00:00:00+00:00"),
        ("2026-03-15", "UTC", {"months": -15}, "2024-12-15T00:00:00+00:00"),
        ("2026-03-28T12:00", "Europe/Berlin", {"days": 1}, "2026-03-29T12:00:00+02:00"),
        ("2026-03-28T12:00", "Europe/Berlin", {"hours": 24}, "2026-03-29T13:00:00+02:00"),
        ("2026-03-28T02:30", "Europe/Berlin", {"days": 1}, "2026-03-29T03:30:00+02:00"),
        ("2026-10-25T00:30", "Europe/Berlin", {"hours": 3}, "2026-10-25T02:30:00+01:00"),
        ("2026-06-01T12:00:00Z", "Asia/Tokyo", {}, "2026-06-01T21:00:00+09:00"),
        ("2026-12-31T23:59:59", "UTC", {"seconds": 1}, "2027-01-01T00:00:00+00:00"),
        ("2026-01-01", "UTC", {"weeks": 2, "minutes": -1}, "2026-01-14T23:59:00+00:00"),
    ],
)
def test_days_move_the_calendar_and_hours_are_as_long_as_they_last(
    date: str, zone: str, by: dict[str, int], expected: str
) -> None:
    assert moved(moment_of(date, zone_of(zone)), by).isoformat() == expected


async def test_the_time_between_two_dates_counts_changes_of_the_clock() -> None:
    text = await said("date_math", date="2026-03-28", other="2026-03-30", timezone="Europe/Berlin")
    assert text.startswith("2 days by the calendar; 47:00:00 hours, 169200 seconds in all")
    assert (await said("date_math", date="2026-03-30", other="2026-03-28")).startswith("-2 days")


@pytest.mark.parametrize(
    "arguments",
    [
        {"date": "tomorrow"},
        {"date": "2026-02-30"},
        {"date": "2026-01-01", "years": 10_000},
        {"date": "2026-01-01", "days": 10**18},
        {"date": "2026-01-01", "seconds": -(10**30)},
        {"date": "0001-01-01", "hours": -1},
        {"date": "9999-12-31T23:00-05:00", "timezone": "Asia/Tokyo"},
        {"date": "2026-01-01", "other": "soon"},
    ],
)
async def test_a_date_that_is_none_or_lies_out_of_reach_is_an_error(arguments: dict[str, object]) -> None:
    result = await call("date_math", **arguments)
    assert result.failed
    assert "ISO 8601" in result.text or "years 1 to 9999" in result.text


async def test_now_and_today_are_meant_in_the_zone() -> None:
    now = datetime.now(UTC)
    told = datetime.fromisoformat((await said("date_math", date="now")).split()[0])
    assert abs(told - now) < timedelta(minutes=1)
    assert (await said("date_math", date="today", timezone="+14:00")).split()[0].endswith("T00:00:00+14:00")
