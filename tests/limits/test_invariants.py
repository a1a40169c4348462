"""Whatever is asked, in whatever order: nothing is left held at rest, nothing is negative, no bound is passed."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from headgate.core.bounds import Bound, Budget, Period, Rate, Refusal, Ticket, Want
from headgate.limits import rate
from headgate.limits.counters import REQUESTS, TOKENS, Table, TableCounters
from headgate.limits.local import LocalTable
from headgate.limits.shared import SharedTable
from tests.limits.conftest import Clock
from tests.requirements import covers

pytestmark = covers("114", "115", "153")
BOUNDS = (
    Bound("key:a", Rate(requests_per_minute=6, streams=2), (Budget(400, "day"),)),
    Bound("key:b", Rate(tokens_per_minute=100), (Budget(300, "total"), Budget(150, "day", hard=False))),
    Bound("tenant:t", Rate(8, 150, 3), (Budget(500, "day"), Budget(900, "week"))),
)
WANTS = st.builds(Want, st.integers(0, 120), st.integers(0, 200), st.booleans())
NUMBERS: dict[Period, int] = {"day": 1, "week": 1, "month": 1, "total": 1}
CHOICES = st.sets(st.sampled_from(range(3)), max_size=3)


class Requests(RuleBasedStateMachine):
    """One or two processes serve requests. `open` and `spent` are what they should have kept in mind."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.open: set[Ticket] = set()
        self.spent = dict.fromkeys((one.subject for one in BOUNDS), 0)
        self.tables = self.make()
        clocks = (lambda: self.clock.monotonic), (lambda: self.clock.epoch)
        self.counters = [TableCounters(one, *clocks) for one in self.tables]

    def make(self) -> list[Table]:
        return [LocalTable()]

    @rule(target=tickets, chosen=CHOICES, want=WANTS, which=st.integers(0, 1))
    def ask(self, chosen: set[int], want: Want, which: int) -> object:
        counters = self.counters[which % len(self.counters)]
        bounds = tuple(BOUNDS[one] for one in sorted(chosen))
        before = [self.used(one) for one in BOUNDS]
        answer = asyncio.run(counters.take(bounds, want))
        if isinstance(answer, Refusal):
            assert answer.wait > 0
            assert [self.used(one) for one in BOUNDS] == before
            return multiple()
        self.open.add(answer)
        return counters, answer

    @rule(ticket=consumes(tickets), tokens=st.integers(0, 120), share=st.floats(0, 1), times=st.integers(1, 2))
    def settle(self, ticket: tuple[TableCounters, Ticket], tokens: int, share: float, times: int) -> None:
        counters, held = ticket
        cost = int(held.want.nano_usd * share)
        for _ in range(times):
            counters.settle(held, tokens, cost)
        self.open.discard(held)
        for bound in held.bounds:
            self.spent[bound.subject] += cost

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    def used(self, bound: Bound) -> tuple[int, ...]:
        """Requests and tokens of the last minute, streams, money reserved."""
        table, now = self.tables[0], int(self.clock.monotonic // 5)
        row = table.find(bound.subject, now, NUMBERS)
        rate.turn_to(table.cells, row, now)
        return table.cells[row + REQUESTS], table.cells[row + TOKENS], table.streams(row), table.reserved(row)

    @invariant()
    def what_is_held_is_that_of_the_open_tickets(self) -> None:
        for bound in BOUNDS:
            held = [one.want for one in self.open if bound in one.bounds]
            *counts, streams, reserved = self.used(bound)
            assert min(counts) >= 0
            assert streams == (sum(one.is_stream for one in held) if bound.rate.streams else 0)
            assert reserved == sum(one.nano_usd for one in held)

    @invariant()
    def no_hard_budget_is_passed(self) -> None:
        for bound in BOUNDS:
            hard = [one.nano_usd for one in bound.budgets if one.hard and one.period != "day"]
            total = self.spent[bound.subject] + self.used(bound)[-1]
            assert all(total <= one for one in hard)

    def teardown(self) -> None:
        for table in self.tables:
            table.close()


class SharedRequests(Requests):
    def make(self) -> list[Table]:
        self.folder = Path(tempfile.mkdtemp())
        return [SharedTable(self.folder / "limits", subjects=1000, processes=2) for _ in range(2)]

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestLocal = Requests.TestCase
TestLocal.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestShared = SharedRequests.TestCase
TestShared.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
