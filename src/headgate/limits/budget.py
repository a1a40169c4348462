"""Money per day, week, month (of the calendar, in UTC) or in total: when a period runs, and what is left in it.

What a request may cost at most is reserved before it is sent; what it did cost is booked after. At any moment
spent + reserved <= budget, so N requests at once overspend by no more than the sum of what their estimates fell short,
and by nothing at all when the reservations are true maximums.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from headgate.core.bounds import Period
from headgate.limits.window import Cells

PERIODS: tuple[Period, ...] = ("day", "week", "month", "total")
CELLS = 2 * len(PERIODS)
"""Cells of one row: for each period its number and the nano-USD spent in it; a number of 0 means nothing is known."""
AT: dict[Period, int] = {period: 2 * number for number, period in enumerate(PERIODS)}
_DAY = 86_400.0
_FOREVER = float("inf")


class Calendar:
    """Numbers of the periods that run, rising with time and never 0, and when they end in seconds since the epoch."""

    def __init__(self) -> None:
        self.numbers: dict[Period, int] = {}
        self.ends: dict[Period, float] = {}
        self._since = self._until = 0.0

    def turn_to(self, now: float) -> None:
        if not self._since <= now < self._until:
            self._turn(now)

    def _turn(self, now: float) -> None:
        today = datetime.fromtimestamp(now // _DAY * _DAY, UTC)
        days = int(now // _DAY)
        monday = today + timedelta(days=7 - today.weekday())
        first = (today.replace(day=28) + timedelta(days=4)).replace(day=1)
        self._since, self._until = days * _DAY, (days + 1) * _DAY
        self.numbers = {"day": days, "week": (days + 3) // 7, "month": today.year * 12 + today.month, "total": 1}
        self.ends = {"day": self._until, "week": monday.timestamp(), "month": first.timestamp(), "total": _FOREVER}


def turn_to(cells: Cells, at: int, numbers: Mapping[Period, int]) -> None:
    """Begin the periods with these numbers, with nothing spent. A clock set back changes nothing."""
    for period, cell in AT.items():
        if cells[at + cell] < numbers[period]:
            cells[at + cell + 1] = 0
            cells[at + cell] = numbers[period]
