"""The drain takes a worker's own entries from memory where it can, and adds many rows with one statement."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.core.errors import DatabaseUnavailable
from headgate.core.principal import Principal
from headgate.core.tokens import Tokens
from headgate.core.wishes import Wishes
from headgate.usage import journal as journal_file
from headgate.usage.entries import entries_of
from headgate.usage.journal import Journal, Leftover, files
from headgate.usage.ledger import Ledger
from headgate.usage.store import AttemptStore
from headgate.usage.types import ANY, EVER, Entry
from tests.requirements import covers
from tests.usage.databases import ledger_database
from tests.usage.runs import SETTLED_AT, attempt, price_of, run_of

pytestmark = covers("152")


def entry(number: int, user: str = "ann", tags: frozenset[str] = frozenset()) -> Entry:
    run = run_of([attempt(tokens=Tokens(number))], who=Principal("k1", user=user), wishes=Wishes(tags=tags))
    return entries_of(run, SETTLED_AT, price_of)[0]


async def stored(store: AttemptStore) -> list[Entry]:
    return sorted(await store.newest(EVER, ANY, 10_000), key=lambda one: one.prompt)


def reading_counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read, as they are."""
    read: list[Path] = []
    entries = Leftover.entries

    def counted(left: Leftover) -> Iterator[Entry]:
        read.append(left.path)
        return entries(left)

    monkeypatch.setattr(Leftover, "entries", counted)
    return read


async def test_what_a_worker_wrote_itself_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reading_counted(monkeypatch)
    async with ledger_database(tmp_path) as (_, store):
        journal = Journal(tmp_path / "journal", largest=1000)
        entries = [entry(number) for number in range(10)]
        for one in entries:
            journal.append([one])
        assert len(files(tmp_path / "journal")) == 3
        assert await Ledger(tmp_path / "journal", journal, store).drain() == 10
        assert (await stored(store), read, files(tmp_path / "journal")) == (entries, [], [])


async def test_what_failed_once_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reading_counted(monkeypatch)
    async with ledger_database(tmp_path) as (_, store):
        journal = Journal(tmp_path / "journal")
        ledger = Ledger(tmp_path / "journal", journal, store)
        journal.append([entry(1)])
        with monkeypatch.context() as broken:
            broken.setattr(store, "add", refusing)
            await ledger.drain()
        journal.append([entry(2)])
        await ledger.drain()
        assert [one.prompt for one in await stored(store)] == [1, 2]
        assert len(read) == 1


async def refusing(_: object) -> None:
    raise DatabaseUnavailable("The database is locked.")


async def test_of_many_files_those_beyond_the_bound_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reading_counted(monkeypatch)
    monkeypatch.setattr(journal_file, "_MOST_REMEMBERED", 2)
    async with ledger_database(tmp_path) as (_, store):
        journal = Journal(tmp_path / "journal", largest=1)
        for number in range(5):
            journal.append([entry(number)])
        await Ledger(tmp_path / "journal", journal, store).drain()
        assert [one.prompt for one in await stored(store)] == [0, 1, 2, 3, 4]
        assert len(read) == 3


async def test_bytes_that_no_database_takes_are_replaced_as_from_a_file(tmp_path: Path) -> None:
    async with ledger_database(tmp_path) as (_, store):
        journal = Journal(tmp_path / "journal")
        for one in (entry(1, user="a\0b"), entry(2)):
            journal.append([one])
        await Ledger(tmp_path / "journal", journal, store).drain()
        assert [one.user for one in await stored(store)] == ["a?b", "ann"]


async def test_what_waited_for_room_on_the_disk_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(file: int, data: bytes) -> int:
        if os.path.realpath(f"/proc/self/fd/{file}").startswith(str(tmp_path)):
            raise OSError(28, "No space left on device")
        return write(file, data)

    async with ledger_database(tmp_path) as (_, store):
        journal = Journal(tmp_path / "journal")
        ledger = Ledger(tmp_path / "journal", journal, store)
        journal.append([entry(1)])
        with monkeypatch.context() as broken:
            broken.setattr("headgate.usage.journal.os.write", full)
            journal.append([entry(2)])
            await ledger.drain()
            await ledger.drain()
        journal.append([entry(3)])
        await ledger.drain()
        journal.append([entry(4)])
        await ledger.drain()
        assert [one.prompt for one in await stored(store)] == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [99, 249, 250, 251, 600])
async def test_any_number_of_rows_is_added_once_with_their_tags(tmp_path: Path, count: int) -> None:
    async with ledger_database(tmp_path) as (_, store):
        entries = [entry(number, tags=frozenset({"x"}) if number % 2 else frozenset()) for number in range(count)]
        entries[::7] = [one._replace(price_image_output=5) for one in entries[::7]]
        await store.add(entries[40:60])
        await store.add(entries)
        await store.add(entries)
        assert await stored(store) == entries
        assert [(one.name, one.attempts) for one in await store.totals("tag")] == [("x", count // 2)]


async def test_one_row_that_cannot_be_added_keeps_out_all(tmp_path: Path) -> None:
    async with ledger_database(tmp_path) as (_, store):
        entries = [entry(number) for number in range(250)]
        entries[170] = entries[170]._replace(outcome=None)  # type: ignore[arg-type]
        with pytest.raises(DatabaseUnavailable) as refused:
            await store.add(entries)
        assert isinstance(refused.value.__cause__, sqlite3.IntegrityError)
        assert await stored(store) == []
        await store.add(entries[:170])
        assert len(await stored(store)) == 170
