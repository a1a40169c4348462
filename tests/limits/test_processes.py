"""Several processes on one table: limits hold over all of them, and one that is killed harms no other."""

import asyncio
import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.core.bounds import Period, Want
from headgate.core.errors import LimitReached, StartupError
from headgate.limits import rate
from headgate.limits.counters import REQUESTS, TOKENS, TableCounters
from headgate.limits.limiter import Limiter
from headgate.limits.shared import SharedTable
from headgate.limits.window import SLOT
from tests.limits.worker import COSTS_100, MONEY, hammer
from tests.requirements import covers

pytestmark = covers("150", "153")
BOUND_SECONDS = 20
NUMBERS: dict[Period, int] = {"day": 1, "week": 1, "month": 1, "total": 1}


class Worker:
    """One process; it waits for `go`."""

    def __init__(self, table: Path, what: str, times: int) -> None:
        command = [sys.executable, "-m", "tests.limits.worker", str(table), what, str(times)]
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "limits"


def kill_all(running: list[Worker]) -> None:
    for one in running:
        one.process.kill()


@contextlib.contextmanager
def workers(path: Path, what: str, times: int, count: int = 2) -> Iterator[list[Worker]]:
    running = [Worker(path, what, times) for _ in range(count)]
    watch = threading.Timer(BOUND_SECONDS, kill_all, (running,))
    watch.start()
    try:
        assert [one.hear() for one in running] == ["ready"] * count
        yield running
    finally:
        watch.cancel()
        for one in running:
            one.kill()


def opened(path: Path) -> SharedTable:
    return SharedTable(path, subjects=1000, processes=4)


async def comes_back(limiter: Limiter, want: Want, times: int) -> int:
    """How many get in once the dead were noticed, within a bound."""
    for _ in range(100):
        if count := await hammer_with(limiter, want, times):
            return count
        await asyncio.sleep(0.05)
    return 0


async def hammer_with(limiter: Limiter, want: Want, times: int) -> int:
    count = 0
    with contextlib.suppress(LimitReached):
        for _ in range(times):
            await limiter.admit(MONEY, want)
            count += 1
    return count


@covers("115")
def test_1000_calls_of_two_workers_against_100_per_minute_let_100_in(path: Path) -> None:
    with workers(path, "calls", 500) as running:
        for one in running:
            one.go()
        counts = [int(one.hear()) for one in running]
    assert sum(counts) == 100


def test_200_calls_of_two_workers_on_a_budget_for_10_let_10_in(path: Path) -> None:
    with workers(path, "money", 100) as running:
        for one in running:
            one.go()
        assert sum(int(one.hear()) for one in running) == 10


def test_nothing_that_two_workers_count_at_once_is_lost(path: Path) -> None:
    times = 20_000
    with workers(path, "counted", times) as running, contextlib.closing(opened(path)) as table:
        for one in running:
            one.go()
        assert [one.hear() for one in running] == [str(times)] * 2
        slot = int(time.monotonic() // SLOT)
        keys, tenants = (table.find(subject, slot, NUMBERS) for subject in ("key:k", "tenant:t"))
        for row in (keys, tenants):
            rate.turn_to(table.cells, row, slot)
        assert table.cells[keys + REQUESTS] == 2 * times
        assert table.cells[tenants + TOKENS] == 2 * times * COSTS_100.tokens


def test_who_takes_the_place_of_a_killed_worker_holds_nothing_of_it(path: Path) -> None:
    with workers(path, "money", 10) as (first, second):
        first.go()
        assert first.hear() == "10"
        first.kill()
        with contextlib.closing(opened(path)) as table:
            assert table.reserved(table.find("key:k", 1, NUMBERS)) == 0
            assert second.process.poll() is None


async def test_what_a_killed_worker_held_comes_back_and_only_that(path: Path) -> None:
    with workers(path, "money", 6) as (first, second), contextlib.closing(opened(path)) as table:
        limiter = Limiter(TableCounters(table))
        first.go()
        assert first.hear() == "6"
        assert await hammer(limiter, MONEY, 10) == 4
        second.go()
        assert second.hear() == "0"
        first.kill()
        assert await comes_back(limiter, COSTS_100, 100) == 6


async def test_workers_killed_at_any_moment_leave_no_lock_and_nothing_held(path: Path) -> None:
    pick = random.Random(7)
    with contextlib.closing(opened(path)) as table:
        counters = TableCounters(table)
        for _ in range(8):
            with workers(path, "churn", 0) as running:
                for one in running:
                    one.go()
                assert [one.hear() for one in running] == ["churning"] * 2
                for _ in range(pick.randrange(200)):
                    counters.settle(await Limiter(counters).admit(MONEY, COSTS_100._replace(nano_usd=1)), 0, 0)
        assert await comes_back(Limiter(counters), COSTS_100, 100) == 10
        row = table.find("key:k", 10**9, {})
        assert (table.streams(row), table.reserved(row)) == (10, 1000)


def test_who_comes_first_starts_anew_and_who_comes_later_does_not(path: Path) -> None:
    with contextlib.closing(opened(path)) as first:
        first.cells[first.find("key:k", 200, NUMBERS)] = 42
        with contextlib.closing(SharedTable(path, subjects=10, processes=1)) as second:
            assert second.cells[second.find("key:k", 200, NUMBERS)] == 42
    with contextlib.closing(opened(path)) as third:
        assert third.cells[third.find("key:k", 200, NUMBERS)] == 0


def test_more_processes_than_there_is_room_for_are_told(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(contextlib.closing(opened(path)))
        with pytest.raises(StartupError, match="4 processes already"):
            opened(path)


def test_the_table_is_its_owners_alone(path: Path) -> None:
    with contextlib.closing(opened(path)):
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
        assert path.parent.stat().st_mode & 0o777 == 0o700
