"""Counters in a table of cells: one row for each subject, all bounds of a request taken together or not at all.

Knows how to count, not where the table lies; see `local` and `shared`.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from headgate.core.bounds import Bound, Period, Refusal, Spent, Standing, Ticket, Used, Want
from headgate.core.errors import LimitsUnavailable
from headgate.limits import budget, rate, window
from headgate.limits.window import RING, SLOT, Cells

NEWEST = rate.NEWEST
REQUESTS = rate.REQUESTS
TOKENS = rate.TOKENS
MONEY = rate.CELLS
SPENT = {period: MONEY + cell + 1 for period, cell in budget.AT.items()}
ROW = MONEY + budget.CELLS
"""Cells of a row: the slot of the last use, the two windows, the money by period."""
FULL = "There are more callers with limits than can be counted."
_STREAM_SECONDS = 1.0
"""Nobody knows when a stream ends; who is refused may ask again after this."""
_HELD = ("streams", "budget")
_MOST_PLACES = 10_000


class Places(NamedTuple):
    """Where all that some bounds count is counted: cells of the table, with the limits that hold for them.

    `money` has a row and its budgets, as (limit, cell), for each bound with budgets; `held` are the cells of what this
    process holds of them, `spent` those of all their periods, `first` that of the first bound's first budget.
    """

    bounds: tuple[Bound, ...]
    rows: tuple[int, ...]
    requests: tuple[tuple[int, int], ...]
    tokens: tuple[tuple[int, int], ...]
    streams: tuple[int, ...]
    money: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
    held: tuple[int, ...]
    spent: tuple[int, ...]
    first: int | None


class Table(Protocol):
    """Rows of cells that start as zeros. `lock` keeps other processes out until `unlock`."""

    @property
    def cells(self) -> Cells: ...

    def lock(self) -> None: ...

    def unlock(self) -> None: ...

    @property
    def own(self) -> tuple[int, int]:
        """Cells of a row in which this process counts the streams and the nano-USD that its requests hold."""

    def find(self, subject: str, slot: int, numbers: Mapping[Period, int]) -> int:
        """Where a subject's row begins, made if there is none; raises LimitsUnavailable when there is no room.

        A row that was used in the last minute, holds something, or has spent something in a period that still runs (see
        `numbers`) is never given to another subject.
        """

    def peek(self, subject: str) -> int | None:
        """Where a subject's row begins; None if there is none. Touches nothing."""

    def streams(self, row: int) -> int:
        """Streams in flight, in all processes."""

    def reserved(self, row: int) -> int:
        """Nano-USD that requests in flight hold, in all processes."""

    def bury(self) -> bool:
        """Drop what dead processes hold; whether there was anything."""

    def close(self) -> None: ...


def is_idle(cells: Cells, row: int, slot: int, numbers: Mapping[Period, int]) -> bool:
    """Whether a row says nothing that a new one would not; what is held the caller has to know."""
    if cells[row + NEWEST] + RING > slot:
        return False
    at = row + MONEY
    return not any(cells[at + cell + 1] and cells[at + cell] >= numbers[period] for period, cell in budget.AT.items())


class TableCounters:
    """Counters over a table. `clock` is the same in all processes that share it; `today` is seconds since the epoch."""

    def __init__(
        self, table: Table, clock: Callable[[], float] = time.monotonic, today: Callable[[], float] = time.time
    ) -> None:
        self._table = table
        self._own_streams, self._own_money = table.own
        self._clock = clock
        self._today = today
        self._calendar = budget.Calendar()
        self._news: dict[str, list[tuple[Period, int, int]]] = {}
        """What was learnt and not yet used: (period, its number, nano-USD)"""
        self._now = 0.0
        self._slot = 0
        self._since = self._until = 0.0
        self._places: dict[tuple[int, ...], Places] = {}
        """By the bounds' identities, those used in this slot of this day: their rows are up to date, and nobody can be
        given them. What holds the bounds keeps their identities from being anything else's."""

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
            self._give_back(ticket, ticket.bounds, tokens, nano_usd)
        except LimitsUnavailable:  # a row was given away, for it held nothing
            for bound in ticket.bounds:
                with contextlib.suppress(LimitsUnavailable):
                    self._give_back(ticket, (bound,), tokens, nano_usd)
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
        for period in bound.periods:
            number = calendar.numbers[period]
            spent[period] = 0
            if row is not None:
                at = row + SPENT[period]
                spent[period] = self._table.cells[at] if self._table.cells[at - 1] == number else 0
            for learnt, of, amount in self._news.get(bound.subject, ()):
                if (learnt, of) == (period, number):
                    spent[period] = max(spent[period], amount)
        reserved = 0 if row is None else self._table.reserved(row)
        return Used(bound, spent, reserved, {period: calendar.ends[period] for period in spent})

    def _look_at_clocks(self) -> None:
        """The calendar is looked at with each new slot and when its day ends, as that was known then."""
        now = self._now = self._clock()
        if self._since <= now < self._until:
            return
        today = self._today()
        self._calendar.turn_to(today)
        self._slot, self._places = int(now // SLOT), {}
        self._since = self._slot * SLOT
        self._until = min(self._since + SLOT, now + self._calendar.ends["day"] - today)

    def _places_of(self, bounds: tuple[Bound, ...]) -> Places:
        """With the rows brought up to now. Raises LimitsUnavailable."""
        self._look_at_clocks()
        key = tuple(map(id, bounds))
        places = self._places.get(key)
        if places is None:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            places = self._places[key] = self._found(bounds, tuple(self._row_of(bound.subject) for bound in bounds))
        return places

    def _row_of(self, subject: str) -> int:
        table, numbers = self._table, self._calendar.numbers
        row = table.find(subject, self._slot, numbers)
        rate.turn_to(table.cells, row, self._slot)
        budget.turn_to(table.cells, row + MONEY, numbers)
        return row

    def _found(self, bounds: tuple[Bound, ...], rows: tuple[int, ...]) -> Places:
        pairs = tuple(zip(bounds, rows, strict=True))
        rates = tuple((bound.rate, row) for bound, row in pairs)
        budgeted = tuple((bound, row) for bound, row in pairs if bound.budgets)
        first = bounds[0].budgets if bounds else ()
        return Places(
            bounds,
            rows,
            tuple((limit, row + REQUESTS) for one, row in rates if (limit := one.requests_per_minute)),
            tuple((limit, row + TOKENS) for one, row in rates if (limit := one.tokens_per_minute)),
            tuple(row + self._own_streams for one, row in rates if one.streams),
            tuple((row, tuple((one.nano_usd, row + SPENT[one.period]) for one in of.budgets)) for of, row in budgeted),
            tuple(row + self._own_money for _, row in budgeted),
            tuple(row + SPENT[period] for bound, row in budgeted for period in bound.periods),
            rows[0] + SPENT[first[0].period] if first else None,
        )

    def _decide(self, bounds: tuple[Bound, ...], want: Want) -> Ticket | Refusal:
        places = self._places_of(bounds)
        if self._news:
            self._lift(bounds, places.rows)
        standing, is_tight = self._weigh(places, want)
        against, over = self._refusals(places, want) if is_tight else ([], [])
        cells = self._table.cells
        if against:
            now, pairs = self._now, zip(bounds, places.rows, strict=True)
            standing.reset = max(rate.reset_in(cells, row, bound.rate, now) for bound, row in pairs)
            return replace(max(against, key=lambda one: one.wait), standing=standing)
        self._book(places, want)
        standing.requests_left -= 1
        standing.tokens_left -= want.tokens
        spent = None if places.first is None else cells[places.first]
        return Ticket(bounds, want, standing, tuple(over), self._slot, spent=spent)

    def _weigh(self, places: Places, want: Want) -> tuple[Standing, bool]:
        """What is left of the tightest limits per minute, and whether any limit or budget may stand against it."""
        table, (tokens, nano_usd, is_tight) = self._table, want
        cells = table.cells
        requests_limit = fewest_requests = tokens_limit = fewest_tokens = 0
        for limit, cell in places.requests:
            left = limit - cells[cell]
            if left < fewest_requests or not requests_limit:
                requests_limit, fewest_requests = limit, left
        for limit, cell in places.tokens:
            left = limit - cells[cell]
            if left < fewest_tokens or not tokens_limit:
                tokens_limit, fewest_tokens = limit, left
        for row, budgets in places.money:
            needed = table.reserved(row) + (nano_usd or 1)
            for limit, cell in budgets:
                if cells[cell] + needed > limit:
                    is_tight = True
        if fewest_requests < 1 <= requests_limit or (tokens_limit and fewest_tokens < (tokens or 1)):
            is_tight = True
        reset = (self._slot + RING) * SLOT - self._now
        return Standing(requests_limit, fewest_requests, tokens_limit, fewest_tokens, reset), is_tight

    def _refusals(self, places: Places, want: Want) -> tuple[list[Refusal], list[Refusal]]:
        """All that stands against it, and soft budgets that it passes.

        Who wants more tokens than the limit itself waits until all of it is free, and is not refused for ever.
        """
        against: list[Refusal] = []
        over: list[Refusal] = []
        table, cells, now = self._table, self._table.cells, self._now
        for bound, row in zip(places.bounds, places.rows, strict=True):
            limits = bound.rate
            if limits.requests_per_minute and limits.requests_per_minute - cells[row + REQUESTS] < 1:
                against.append(rate.no_request(cells, row, bound, now))
            if limits.tokens_per_minute > limits.tokens_per_minute - cells[row + TOKENS] < (want.tokens or 1):
                against.append(rate.no_tokens(cells, row, bound, want.tokens, now))
            if want.is_stream and limits.streams and table.streams(row) >= limits.streams:
                against.append(Refusal(bound.subject, "streams", limits.streams, _STREAM_SECONDS))
            needed = table.reserved(row) + (want.nano_usd or 1)
            for one in bound.budgets:
                if cells[row + SPENT[one.period]] + needed > one.nano_usd:
                    wait = self._calendar.ends[one.period] - self._today()
                    refusal = Refusal(bound.subject, "budget", one.nano_usd, wait, one.period)
                    (against if one.hard else over).append(refusal)
        return against, over

    def _book(self, places: Places, want: Want) -> None:
        cells, (tokens, nano_usd, is_stream) = self._table.cells, want
        for _, cell in places.requests:
            cells[cell] += 1
        for _, cell in places.tokens:
            cells[cell] += tokens
        if is_stream:
            for cell in places.streams:
                cells[cell] += 1
        for cell in places.held:
            cells[cell] += nano_usd

    def _give_back(self, ticket: Ticket, bounds: tuple[Bound, ...], tokens: int, nano_usd: int) -> None:
        """Money is booked before it is given back, for a process may be killed in between."""
        places = self._places_of(bounds)
        cells, (reserved_tokens, reserved, is_stream) = self._table.cells, ticket.want
        by = tokens - reserved_tokens
        if by < 0 and ticket.at < self._slot:
            for _, cell in places.tokens:
                window.take_off(cells, cell, self._slot, ticket.at, -by)
        else:  # more counts from now on
            for _, cell in places.tokens:
                cells[cell] += by
        if is_stream:
            for cell in places.streams:
                cells[cell] -= 1
        if nano_usd:
            for cell in places.spent:
                cells[cell] += nano_usd
        for cell in places.held:
            cells[cell] -= reserved

    def _lift(self, bounds: tuple[Bound, ...], rows: Sequence[int]) -> None:
        """Take over what was learnt of these subjects."""
        cells = self._table.cells
        for bound, row in zip(bounds, rows, strict=True):
            for period, number, amount in self._news.pop(bound.subject, ()):
                if number == self._calendar.numbers[period]:
                    cells[row + SPENT[period]] = max(cells[row + SPENT[period]], amount)
