"""The time of day in real time zones, and arithmetic with dates."""

import calendar
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headgate.tools.builtin.function import FunctionTool, builtin, number, schema, text
from headgate.tools.types import Caller, ToolResult

_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])([0-9]{1,2}):?([0-9]{2})?", re.IGNORECASE)
_ZONE = "Such as Europe/Berlin, UTC or +05:30."
_CALENDAR = ("years", "months", "weeks", "days")
_CLOCK = ("hours", "minutes", "seconds")


def zone_of(name: str) -> tzinfo:
    """The zone of a name such as Europe/Berlin, or of an offset such as +05:30 or UTC-3; raises ValueError."""
    if name.upper() in ("UTC", "GMT", "Z"):
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        if minutes > 14 * 60 or int(offset[3] or 0) > 59:
            raise ValueError(f"there is no offset '{name}': they go from -14:00 to +14:00")
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone '{name[:64]}'. Use a name such as Europe/Berlin") from None


def moment_of(words: str, zone: tzinfo) -> datetime:
    """A moment in ISO 8601, `now` or `today`; without an offset it is local to the zone. Raises ValueError."""
    if words == "now":
        return datetime.now(zone)
    if words == "today":
        return datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        found = datetime.fromisoformat(words.strip())
    except ValueError:
        raise ValueError(
            f"'{words[:64]}' is no date: use ISO 8601, such as 2026-03-29T02:30, or now or today"
        ) from None
    return found.astimezone(zone) if found.tzinfo else found.replace(tzinfo=zone)


def _told(moment: datetime, name: str) -> str:
    summer = ", daylight saving time" if moment.dst() else ""
    return f"{moment.isoformat(timespec='seconds')} ({name}, {moment:%A}{summer})"


def _current_time(arguments: Mapping[str, Any], _: Caller) -> ToolResult:
    name = arguments.get("timezone") or "UTC"
    return ToolResult(_told(datetime.now(zone_of(name)), name))


def _date_math(arguments: Mapping[str, Any], _: Caller) -> ToolResult:
    name = arguments.get("timezone") or "UTC"
    try:
        zone = zone_of(name)
        moment = moment_of(arguments["date"], zone)
        if "other" in arguments:
            return ToolResult(_between(moment, moment_of(arguments["other"], zone)))
        return ToolResult(_told(moved(moment, arguments), name))
    except OverflowError:
        raise ValueError("the date would lie outside of the years 1 to 9999") from None


def moved(moment: datetime, by: Mapping[str, Any]) -> datetime:
    """Years to days move the calendar and keep the time of day; hours to seconds are as long as they last."""
    months = moment.year * 12 + moment.month - 1 + by.get("years", 0) * 12 + by.get("months", 0)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    moment = moment.replace(year=year, month=month + 1, day=day)
    moment += timedelta(weeks=by.get("weeks", 0), days=by.get("days", 0))
    clock = timedelta(**{unit: by.get(unit, 0) for unit in _CLOCK})
    settled = moment.astimezone(UTC) + clock  # also takes a time that a change of clocks skips to the one after it
    return settled.astimezone(moment.tzinfo)


def _between(first: datetime, second: datetime) -> str:
    span = second.astimezone(UTC) - first.astimezone(UTC)
    days = (second.date() - first.date()).days
    seconds = span.total_seconds()
    hours, rest = divmod(abs(int(seconds)), 3600)
    sign = "-" if seconds < 0 else ""
    clock = f"{sign}{hours}:{rest // 60:02}:{rest % 60:02}"
    return f"{days} days by the calendar; {clock} hours, {seconds:g} seconds in all (from {first:%A} to {second:%A})"


_AMOUNTS = {unit: number(f"{unit} to add; negative to take away.") for unit in (*_CALENDAR, *_CLOCK)}
CLOCK = (
    FunctionTool(
        replace(
            builtin(
                "current_time",
                "The current date and time in a time zone.",
                schema("timezone", timezone=text(_ZONE)),
                "compute",
            ),
            aliases=("get_current_time",),
        ),
        _current_time,
    ),
    FunctionTool(
        builtin(
            "date_math",
            "Add to a date, turn it into another time zone, or, with `other`, tell how far two dates are apart.",
            schema(
                *("other", "timezone", *_AMOUNTS),
                date=text("ISO 8601, such as 2026-03-29T14:30, or `now` or `today`."),
                other=text("A second date: then the answer is the time between the two."),
                timezone=text(f"In which the dates are meant and the answer is given. {_ZONE}"),
                **_AMOUNTS,
            ),
            "compute",
        ),
        _date_math,
    ),
)
