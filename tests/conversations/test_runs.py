"""Who works on a conversation and on a run, what a run said, and what is left when somebody falls over."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from headgate.conversations.store import Heads, Runs
from headgate.conversations.types import Conversation, Owner, StoredEvent, StoredRun, milliseconds, new_id
from headgate.core.state_errors import ConversationBusy, ResponseNotFound
from headgate.db.engine import Database, open_database
from headgate.db.migrate import migrate
from tests.harness.databases import on_each_database, url_of
from tests.requirements import covers

pytestmark = [covers("79", "155"), on_each_database]
OWNER = Owner("acme", "ann")


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(url_of(tmp_path))
    await migrate(opened)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def head(database: Database) -> Conversation:
    return await Heads(database).create(OWNER)


def run_on(head: Conversation, **more: object) -> StoredRun:
    made = StoredRun(
        new_id("resp"), "req_1", head.id, OWNER, "in_progress", False, milliseconds(), 0, {"model": "small"}
    )
    return replace(made, **more)  # type: ignore[arg-type]


def said(*numbers: int) -> list[StoredEvent]:
    return [StoredEvent(number, b'{"n":%d}' % number) for number in numbers]


async def test_of_many_at_once_one_gets_the_conversation(database: Database, head: Conversation) -> None:
    runs = Runs(database)
    taken = await asyncio.gather(*(runs.hold(head, f"run {n}", 60) for n in range(8)), return_exceptions=True)
    assert [type(one).__name__ for one in taken].count("NoneType") == 1
    assert sum(isinstance(one, ConversationBusy) for one in taken) == 7
    assert await runs.holder(head) == f"run {taken.index(None)}"


async def test_a_lease_is_prolonged_by_its_holder_and_free_once_given_back(
    database: Database, head: Conversation
) -> None:
    runs = Runs(database)
    await runs.hold(head, "one", 60)
    await runs.hold(head, "one", 60)
    await runs.release(head, "another")
    with pytest.raises(ConversationBusy):
        await runs.hold(head, "two", 60)
    await runs.release(head, "one")
    assert await runs.holder(head) == ""
    await runs.hold(head, "two", 60)


async def test_a_lease_whose_holder_is_gone_runs_out(database: Database, head: Conversation) -> None:
    runs = Runs(database)
    await runs.hold(head, "gone", -1)
    assert await runs.holder(head) == ""
    await runs.hold(head, "next", 60)


async def test_events_are_read_behind_any_number_and_none_is_kept_twice(database: Database, head: Conversation) -> None:
    runs, run = Runs(database), run_on(head)
    await runs.begin(run)
    await runs.note(run.id, said(0, 1, 2))
    await runs.note(run.id, said(2, 3))
    assert [one.number for one in await runs.events(run.id)] == [0, 1, 2, 3]
    assert [one.data for one in await runs.events(run.id, after=2)] == [b'{"n":3}']
    assert (await runs.get(run.id, OWNER)).events == 4


async def test_a_run_ends_once(database: Database, head: Conversation) -> None:
    runs, run = Runs(database), run_on(head)
    await runs.begin(run)
    assert await runs.change(run, "completed", response={"status": "completed"}, told=said(0))
    assert not await runs.change(run, "cancelled", told=said(1))
    found = await runs.get(run.id, OWNER)
    assert (found.status, found.response, found.events) == ("completed", {"status": "completed"}, 1)
    assert found.ended


async def test_somebody_elses_run_is_not_there(database: Database, head: Conversation) -> None:
    runs, run = Runs(database), run_on(head)
    await runs.begin(run)
    for other in (Owner("acme", "bob"), Owner("other", "ann"), Owner("acme")):
        with pytest.raises(ResponseNotFound):
            await runs.get(run.id, other)


async def test_a_run_that_nobody_works_on_is_found_and_taken_by_one(database: Database, head: Conversation) -> None:
    runs, run = Runs(database), run_on(head, background=True, holder="gone", held_until=milliseconds() - 1)
    held = run_on(head, holder="alive", held_until=milliseconds() + 60_000)
    waiting = run_on(head, status="requires_action")
    for one in (run, held, waiting):
        await runs.begin(one)
    assert [one.id for one in await runs.orphans()] == [run.id]
    taken = await asyncio.gather(*(runs.take(run.id, f"worker {n}", 60) for n in range(4)))
    assert sorted(taken) == [False, False, False, True]
    assert await runs.orphans() == []


async def test_with_a_conversation_go_its_runs_and_their_events(database: Database, head: Conversation) -> None:
    runs, run = Runs(database), run_on(head)
    await runs.begin(run)
    await runs.note(run.id, said(0))
    await Heads(database).delete(head)
    with pytest.raises(ResponseNotFound):
        await runs.get(run.id, OWNER)
    assert await runs.events(run.id) == []


async def test_a_run_that_is_given_back_is_taken_by_the_next_one_at_once(
    database: Database, head: Conversation
) -> None:
    runs, run = Runs(database), run_on(head, background=True)
    await runs.begin(run)
    assert await runs.take(run.id, "one", 60)
    await runs.give_back(run.id, "another")
    assert not await runs.take(run.id, "two", 60)
    await runs.give_back(run.id, "one")
    assert await runs.take(run.id, "two", 60)


async def test_events_of_several_runs_are_noted_together(database: Database, head: Conversation) -> None:
    runs, first, second = Runs(database), run_on(head), run_on(head)
    for run in (first, second):
        await runs.begin(run)
    await runs.note_all({first.id: said(0, 1), second.id: said(0)})
    await runs.note_all({first.id: said(1, 2)})
    assert [one.number for one in await runs.events(first.id)] == [0, 1, 2]
    assert await runs.events(second.id) == said(0)


async def test_events_of_old_runs_are_taken_away_and_no_others(database: Database, head: Conversation) -> None:
    runs, ended, open_ = Runs(database), run_on(head), run_on(head)
    for run in (ended, open_):
        await runs.begin(run)
        await runs.note(run.id, said(0, 1))
    await runs.change(ended, "completed", response={"output": []})
    assert await runs.forget_events(milliseconds() - 60_000) == 0
    assert await runs.forget_events(milliseconds() + 60_000) == 1
    assert await runs.events(ended.id) == []
    assert (await runs.get(ended.id, OWNER)).response == {"output": []}
    assert len(await runs.events(open_.id)) == 2


async def test_events_of_a_run_that_went_on_for_long_are_taken_away_once_it_ended(
    database: Database, head: Conversation
) -> None:
    runs, (slow, quick) = Runs(database), (run_on(head), run_on(head))
    for run in (slow, quick):
        await runs.begin(run)
        await runs.note(run.id, said(0))
    await runs.change(quick, "completed")
    later = milliseconds() + 60_000
    assert [await runs.forget_events(later) for _ in range(3)] == [1, 0, 0]
    await runs.change(slow, "completed")
    assert [await runs.forget_events(later) for _ in range(2)] == [1, 0]
    assert await runs.events(slow.id) == []


async def test_old_events_are_taken_away_a_few_runs_at_a_time(database: Database, head: Conversation) -> None:
    runs, many = Runs(database), [run_on(head) for _ in range(5)]
    for run in many:
        await runs.begin(run)
        await runs.note(run.id, said(0))
        await runs.change(run, "completed")
    later = milliseconds() + 60_000
    assert [await runs.forget_events(later, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert [await runs.events(run.id) for run in many] == [[]] * 5


async def test_a_run_that_was_deleted_gets_no_further_events(database: Database, head: Conversation) -> None:
    runs, run = Runs(database), run_on(head)
    await runs.begin(run)
    await runs.note(run.id, said(0))
    await runs.delete(run)
    await runs.note(run.id, said(1))
    assert await runs.events(run.id) == []
