"""Counters in a table of cells: one row for each subject, all bounds of a request taken together or not at all.

Knows how to count, not where the table lies; see `local` and `shared`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from headgate.core.bounds import Bound, Period, Refusal, Spent, Standing, Ticket, Used, Want
from headgate.core.errors import LimitsUnavailable
from headgate.limits import budget, rate, window
from headgate.limits.window import RING, SLOT, Cells

REQUESTS = rate.REQUESTS
TOKENS = rate.TOKENS
MONEY = rate.CELLS
TOUCHED = MONEY + budget.CELLS
ROW = TOUCHED + 1
"""Cells of a row: the two windows, the money by period, and the slot of the last use."""
FULL = "There are more callers with limits than can be counted."
_STREAM_SECONDS = 1.0
"""Nobody knows when a stream ends; who is refused may ask again after this."""
_HELD = ("streams", "budget")


class Table(Protocol):
    """Rows of cells that start as zeros. `lock` keeps other processes out until `unlock`."""

    @property
    def cells(self) -> Cells: ...

    def lock(self) -> None: ...

    def unlock(self) -> None: ...

    def find(self, subject: str, slot: int, numbers: Mapping[Period, int]) -> int:
        """Where a subject's row begins, made if there is none; raises LimitsUnavailable when there is no room.

        The row is touched. One that was touched in the last minute, holds something, or has spent something in a period
        that still runs (see `numbers`) is never given to another subject.
        """

    def peek(self, subject: str) -> int | None:
        """Where a subject's row begins; None if there is none. Touches nothing."""

    def streams(self, row: int) -> int:
        """Streams in flight, in all processes."""

    def reserved(self, row: int) -> int:
        """Nano-USD that requests in flight hold, in all processes."""

    def hold(self, row: int, streams: int, nano_usd: int) -> None:
        """Change what this process holds."""

    def bury(self) -> bool:
        """Drop what dead processes hold; whether there was anything."""

    def close(self) -> None: ...


def is_idle(cells: Cells, row: int, slot: int, numbers: Mapping[Period, int]) -> bool:
    """Whether a row says nothing that a new one would not; what is held the caller has to know."""
    if cells[row + TOUCHED] + RING > slot:
        return False
    at = row + MONEY
    return not any(cells[at + cell + 1] and cells[at + cell] >= numbers[period] for period, cell in budget.AT.items())


class TableCounters:
    """Counters over a table. `clock` is the same in all processes that share it; `today` is seconds since the epoch."""

    def __init__(
        self, table: Table, clock: Callable[[], float] = time.monotonic, today: Callable[[], float] = time.time
    ) -> None:
        self._table = table
        self._clock = clock
        self._today = today
        self._calendar = budget.Calendar()
        self._news: dict[str, list[tuple[Period, int, int]]] = {}
        """What was learnt and not yet used: (period, its number, nano-USD)"""
        self._now = 0.0
        self._slot = 0

    async def take(self, bounds: tuple[Bound, ...], want: Want) -> Ticket | Refusal:
        table = self._table
        table.lock()
        try:
            answer = self._decide(bounds, want)
            if type(answer) is Refusal and answer.limit in _HELD and table.bury():
                answer = self._decide(bounds, want)
            return answer
        finally:
            table.unlock()

    def settle(self, ticket: Ticket, tokens: int, nano_usd: int) -> None:
        if not ticket.is_open:
            return
        ticket.is_open = False
        table = self._table
        table.lock()
        try:
            self._look_at_clocks()
            for bound in ticket.bounds:
                try:
                    self._give_back(bound, ticket, tokens, nano_usd)
                except LimitsUnavailable:  # its row was given away, for it held nothing
                    continue
        finally:
            table.unlock()

    def learn(self, spent: Spent) -> None:
        """Rows are lifted when they are next used; those of subjects that never ask are not made."""
        self._look_at_clocks()
        numbers = self._calendar.numbers
        for subject, amounts in spent.items():
            self._news[subject] = [(period, numbers[period], amount) for period, amount in amounts.items()]

    async def look(self, bounds: Sequence[Bound]) -> list[Used]:
        table = self._table
        table.lock()
        try:
            self._look_at_clocks()
            return [self._used(bound) for bound in bounds]
        finally:
            table.unlock()

    async def close(self) -> None:
        self._table.close()

    def _used(self, bound: Bound) -> Used:
        """What was learnt and is not yet in the row counts as well."""
        row, calendar = self._table.peek(bound.subject), self._calendar
        spent: dict[Period, int] = {}
        for period in {one.period for one in bound.budgets}:
            number = calendar.numbers[period]
            spent[period] = 0
            if row is not None:
                at = row + MONEY + budget.AT[period]
                spent[period] = self._table.cells[at + 1] if self._table.cells[at] == number else 0
            for learnt, of, amount in self._news.get(bound.subject, ()):
                if (learnt, of) == (period, number):
                    spent[period] = max(spent[period], amount)
        reserved = 0 if row is None else self._table.reserved(row)
        return Used(bound, spent, reserved, {period: calendar.ends[period] for period in spent})

    def _look_at_clocks(self) -> None:
        self._now = self._clock()
        self._slot = int(self._now // SLOT)
        self._calendar.turn_to(self._today())

    def _decide(self, bounds: tuple[Bound, ...], want: Want) -> Ticket | Refusal:
        self._look_at_clocks()
        slot, numbers = self._slot, self._calendar.numbers
        standing = Standing(reset=(slot + RING) * SLOT - self._now)
        against: list[Refusal] = []
        over: list[Refusal] = []
        rows = []
        for bound in bounds:
            row = self._table.find(bound.subject, slot, numbers)
            rows.append(row)
            if self._news and bound.subject in self._news:
                self._lift(bound.subject, row)
            limits = bound.rate
            if limits.requests_per_minute or limits.tokens_per_minute:
                self._weigh_rate(bound, row, want.tokens, standing, against)
            if limits.streams and want.is_stream and self._table.streams(row) >= limits.streams:
                against.append(Refusal(bound.subject, "streams", limits.streams, _STREAM_SECONDS))
            if bound.budgets:
                self._weigh_budgets(bound, row, want.nano_usd, against, over)
        if against:
            cells, now, pairs = self._table.cells, self._now, zip(bounds, rows, strict=True)
            standing.reset = max(rate.reset_in(cells, row, bound.rate, now) for bound, row in pairs)
            return replace(max(against, key=lambda one: one.wait), standing=standing)
        for bound, row in zip(bounds, rows, strict=True):
            self._book(bound, row, want)
        standing.requests_left -= 1
        standing.tokens_left -= want.tokens
        first = bounds[0].budgets if bounds else ()
        spent = self._spent(rows[0], first[0].period) if first else None
        return Ticket(bounds, want, standing, tuple(over), slot, spent=spent)

    def _weigh_rate(self, bound: Bound, row: int, tokens: int, standing: Standing, against: list[Refusal]) -> None:
        """Who wants more tokens than the limit itself waits until all of it is free, and is not refused for ever."""
        cells, limits = self._table.cells, bound.rate
        requests_left, tokens_left = rate.left(cells, row, self._slot, limits, standing)
        if limits.requests_per_minute and requests_left < 1:
            against.append(rate.no_request(cells, row, bound, self._now))
        if limits.tokens_per_minute > tokens_left < (tokens or 1):
            against.append(rate.no_tokens(cells, row, bound, tokens, self._now))

    def _weigh_budgets(
        self, bound: Bound, row: int, nano_usd: int, against: list[Refusal], over: list[Refusal]
    ) -> None:
        needed = self._table.reserved(row) + (nano_usd or 1)
        for one in bound.budgets:
            if self._spent(row, one.period) + needed > one.nano_usd:
                wait = self._calendar.ends[one.period] - self._today()
                refusal = Refusal(bound.subject, "budget", one.nano_usd, wait, one.period)
                (against if one.hard else over).append(refusal)

    def _book(self, bound: Bound, row: int, want: Want) -> None:
        table, limits, slot = self._table, bound.rate, self._slot
        if limits.requests_per_minute:
            window.add(table.cells, row + REQUESTS, slot, 1)
        if limits.tokens_per_minute:
            window.add(table.cells, row + TOKENS, slot, want.tokens)
        streams = 1 if limits.streams and want.is_stream else 0
        nano_usd = want.nano_usd if bound.budgets else 0
        if streams or nano_usd:
            table.hold(row, streams, nano_usd)

    def _give_back(self, bound: Bound, ticket: Ticket, tokens: int, nano_usd: int) -> None:
        """Money is booked before it is given back, for a process may be killed in between."""
        table, limits, want = self._table, bound.rate, ticket.want
        row = table.find(bound.subject, self._slot, self._calendar.numbers)
        if limits.tokens_per_minute and tokens != want.tokens:
            window.correct(table.cells, row + TOKENS, self._slot, ticket.at, tokens - want.tokens)
        for period in {one.period for one in bound.budgets} if nano_usd else ():
            self._spent(row, period)
            table.cells[row + MONEY + budget.AT[period] + 1] += nano_usd
        streams = 1 if limits.streams and want.is_stream else 0
        reserved = want.nano_usd if bound.budgets else 0
        if streams or reserved:
            table.hold(row, -streams, -reserved)

    def _lift(self, subject: str, row: int) -> None:
        for period, number, amount in self._news.pop(subject):
            if number == self._calendar.numbers[period] and amount > self._spent(row, period):
                self._table.cells[row + MONEY + budget.AT[period] + 1] = amount

    def _spent(self, row: int, period: Period) -> int:
        return budget.spent(self._table.cells, row + MONEY + budget.AT[period], self._calendar.numbers[period])
