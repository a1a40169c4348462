"""From the journals into the database: each entry once, whatever fails in between."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from headgate.core.bounds import Bound, Budget
from headgate.core.errors import DatabaseUnavailable
from headgate.core.tokens import Tokens
from headgate.usage import journal as journal_file
from headgate.usage.entries import entries_of
from headgate.usage.journal import Journal, files
from headgate.usage.ledger import Ledger, Store
from headgate.usage.recorder import Recorder
from headgate.usage.types import Entry
from tests.requirements import covers
from tests.usage.databases import ledger_database
from tests.usage.runs import SETTLED_AT, attempt, price_of, run_of

pytestmark = covers("152")
BUDGETED = (Bound("key:k", budgets=(Budget(1),)),)


def entry(number: int) -> Entry:
    return entries_of(run_of([attempt(tokens=Tokens(number))]), SETTLED_AT, price_of)[0]


class Memory:
    """A store that keeps rows by id, and fails when told to: before it adds, or after it added."""

    def __init__(self) -> None:
        self.rows: dict[str, Entry] = {}
        self.calls = 0
        self.fails_before = 0
        self.fails_after = 0

    async def add(self, entries: Sequence[Entry]) -> None:
        self.calls += 1
        if self.fails_before:
            self.fails_before -= 1
            raise DatabaseUnavailable("The database is locked.")
        for one in entries:
            self.rows.setdefault(one.id, one)
        if self.fails_after:
            self.fails_after -= 1
            raise DatabaseUnavailable("The connection broke.")

    @property
    def prompts(self) -> list[int]:
        return sorted(one.prompt for one in self.rows.values())


def ledger(folder: Path, store: Store, every: float = 0.01) -> tuple[Journal, Ledger]:
    journal = Journal(folder)
    return journal, Ledger(folder, journal, store, every)


async def test_entries_reach_the_store_and_their_file_is_removed(tmp_path: Path) -> None:
    store = Memory()
    journal, one = ledger(tmp_path, store)
    journal.append([entry(1), entry(2)])
    assert one.lag > 0
    assert await one.drain() == 2
    assert (store.prompts, files(tmp_path), one.lag) == ([1, 2], [], 0.0)


async def test_what_dead_workers_left_is_replayed_at_start(tmp_path: Path) -> None:
    for number in (1, 2):
        dead = Journal(tmp_path)
        dead.append([entry(number)])
        dead.seal()
    store = Memory()
    _, one = ledger(tmp_path, store)
    one.end()
    await one.keep_draining()
    assert (store.prompts, files(tmp_path)) == ([1, 2], [])


async def test_while_the_store_fails_nothing_is_lost_and_then_it_resumes(tmp_path: Path) -> None:
    store = Memory()
    journal, one = ledger(tmp_path, store)
    store.fails_before = 2
    for number in (1, 2, 3):
        journal.append([entry(number)])
        await one.drain()
        assert bool(one.trouble) is (number < 3)
    assert (store.prompts, files(tmp_path), one.trouble) == ([1, 2, 3], [], "")


async def test_a_failure_after_the_rows_were_added_counts_none_twice(tmp_path: Path) -> None:
    store = Memory()
    journal, one = ledger(tmp_path, store)
    journal.append([entry(1)])
    store.fails_after = 1
    await one.drain()
    assert len(files(tmp_path)) == 1
    await one.drain()
    assert (store.calls, store.prompts, files(tmp_path)) == (2, [1], [])


async def test_large_journals_are_added_in_batches(tmp_path: Path) -> None:
    store = Memory()
    journal, one = ledger(tmp_path, store)
    for number in range(1500):
        journal.append([entry(number)])
    await one.drain()
    assert (store.calls, len(store.rows)) == (2, 1500)


async def test_one_worker_drains_and_another_takes_over_when_it_ended(tmp_path: Path) -> None:
    first_store, second_store = Memory(), Memory()
    first_journal, first = ledger(tmp_path, first_store)
    second_journal, second = ledger(tmp_path, second_store)
    await first.drain()
    second_journal.append([entry(2)])
    assert await second.drain() == 0
    first_journal.append([entry(1)])
    await first.drain()
    assert (first_store.prompts, second_store.prompts) == ([1, 2], [])
    first.end()
    await first.keep_draining()
    second_journal.append([entry(3)])
    await second.drain()
    assert second_store.prompts == [3]


async def test_it_drains_by_itself_and_once_more_at_the_end(tmp_path: Path) -> None:
    store = Memory()
    journal, one = ledger(tmp_path, store)
    duty = asyncio.get_running_loop().create_task(one.keep_draining())
    journal.append([entry(1)])
    async with asyncio.timeout(5):
        while not store.rows:
            await asyncio.sleep(0.005)
    journal.append([entry(2)])
    one.end()
    await asyncio.wait_for(duty, 5)
    assert (store.prompts, files(tmp_path)) == ([1, 2], [])


async def test_a_fault_in_the_store_does_not_end_the_drain(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Memory):
        async def add(self, entries: Sequence[Entry]) -> None:
            if self.calls == 0:
                self.calls = 1
                raise RuntimeError("a fault")
            await super().add(entries)

    store = Faulty()
    journal, one = ledger(tmp_path, store)
    journal.append([entry(1)])
    duty = asyncio.get_running_loop().create_task(one.keep_draining())
    async with asyncio.timeout(5):
        while not store.rows:
            await asyncio.sleep(0.005)
    one.end()
    await asyncio.wait_for(duty, 5)
    assert store.prompts == [1]
    assert "a fault" in caplog.text


async def test_replaying_a_journal_twice_counts_once(tmp_path: Path) -> None:
    async with ledger_database(tmp_path) as (_, store):
        journal, one = ledger(tmp_path / "journal", store)
        journal.append([entry(1), entry(2)])
        journal.seal()
        (path,) = files(tmp_path / "journal")
        content = path.read_bytes()
        await one.drain()
        path.write_bytes(content)
        assert await one.drain() == 2
        total = await store.total()
        assert (total.attempts, total.prompt) == (2, 3)


async def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    async with ledger_database(tmp_path) as (database, store):
        await database.do(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=1", ()))
        journal, one = ledger(tmp_path / "journal", store)
        journal.append([entry(1)])
        other = sqlite3.connect(tmp_path / "headgate.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await one.drain()
        assert one.trouble
        assert len(files(tmp_path / "journal")) == 1
        other.execute("ROLLBACK")
        other.close()
        await one.drain()
        assert (one.trouble, (await store.total()).attempts) == ("", 1)


async def test_a_database_without_its_tables_is_waited_for(tmp_path: Path) -> None:
    async with ledger_database(tmp_path) as (database, store):
        async with database.writing() as connection:
            await connection.exec_driver_sql("ALTER TABLE attempts RENAME TO elsewhere")
        journal, one = ledger(tmp_path / "journal", store)
        journal.append([entry(1)])
        await one.drain()
        assert one.trouble
        async with database.writing() as connection:
            await connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO attempts")
        await one.drain()
        assert (await store.total()).attempts == 1


def test_the_recorder_writes_before_it_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    told = Recorder(journal, price_of).record(run_of([attempt(tokens=Tokens(4)), attempt(2, tokens=Tokens(5))]))
    (path,) = files(tmp_path)
    assert len(told) == path.read_bytes().count(b"\n") == 2


async def test_a_worker_that_does_not_drain_tells_what_is_wrong_with_the_database(tmp_path: Path) -> None:
    store = Memory()
    journal, draining = ledger(tmp_path, store)
    _, other = ledger(tmp_path, store)
    await draining.drain()
    store.fails_before = 1
    journal.append([entry(1)])
    await draining.drain()
    await other.drain()
    assert draining.trouble == other.trouble == "The database is locked."
    await draining.drain()
    await other.drain()
    assert draining.trouble == other.trouble == ""


async def test_what_takes_the_drain_over_tells_its_own_trouble_only(tmp_path: Path) -> None:
    store = Memory()
    journal, draining = ledger(tmp_path, store)
    _, other = ledger(tmp_path, store)
    journal.append([entry(1)])
    store.fails_before = 2
    await draining.drain()
    draining.end()
    await draining.keep_draining()
    await other.drain()
    assert (other.trouble, store.prompts) == ("", [1])


@covers("153")
async def test_before_an_entry_would_be_lost_every_call_is_refused_unless_all_are_admitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "_MOST_WAITING", 100)
    journal, one = ledger(tmp_path / "none", Memory())
    (tmp_path / "none").rmdir()
    assert one.unwritable("refuse", BUDGETED) == ""
    journal.append([entry(1)])
    assert journal.waiting > 100
    refused = [bool(one.unwritable(how, ())) for how in ("refuse_budgeted", "refuse", "admit")]
    assert refused == [True, True, False]
    (tmp_path / "none").mkdir()
    journal.seal()
    assert (journal.waiting, one.unwritable("refuse", BUDGETED)) == (0, "")
