"""Settled runs are told soon, several together, each once, and as they were when they ended."""

import asyncio
from itertools import count

import pytest

from headgate.core.errors import Draining
from headgate.core.ids import child_of
from headgate.core.run import Run
from headgate.pipeline import observers
from headgate.pipeline.observers import Observers
from tests.harness.stub import BOUND
from tests.requirements import covers

pytestmark = covers("137")
NUMBERS = count(1)


def run() -> Run:
    return Run(f"req_{next(NUMBERS)}", child_of(None), "chat")


async def test_a_run_is_told_soon_and_only_once() -> None:
    told: list[Run] = []
    many, one = Observers(told.append), run()
    many.tell(one)
    assert told == []
    async with asyncio.timeout(BOUND):
        while not told:
            await asyncio.sleep(0.002)
    many.flush()
    assert told == [one]


async def test_what_must_be_known_at_once_is_told_at_once() -> None:
    told: list[Run] = []
    many, one = Observers(), run()
    many.at_once.append(told.append)
    many.tell(one)
    assert told == [one]
    many.flush()
    assert told == [one]


async def test_a_crowd_does_not_wait_for_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "_SOON", 60.0)
    told: list[Run] = []
    many = Observers(told.append)
    runs = [run() for _ in range(observers._MOST_WAITING + 3)]
    for one in runs:
        many.tell(one)
    await asyncio.sleep(0)
    assert told == runs
    for one in runs[: observers._MOST_WAITING]:  # a second crowd, while the first one's clock still runs
        many.tell(one)
    await asyncio.sleep(0)
    assert told == runs + runs[: observers._MOST_WAITING]


async def test_a_fault_of_one_keeps_nobody_else_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Run] = []

    def fails(one: Run) -> None:
        raise ValueError(one.id)

    many, runs = Observers(fails, told.append), [run(), run()]
    for one in runs:
        many.tell(one)
    many.flush()
    assert told == runs
    assert [record.message.split()[0] for record in caplog.records] == [one.id for one in runs]


def test_what_comes_after_the_end_changes_nothing_that_is_told() -> None:
    one = run()
    one.is_settled = True
    one.fail(Draining("Too late."))
    one.cut_off()
    assert (one.outcome, one.error, one.status) == ("ok", None, 0)
