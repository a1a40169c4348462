"""The ledger's tables as they are declared, and as the database's steps make them."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from headgate.core.tokens import Tokens
from headgate.core.wishes import Wishes
from headgate.db.engine import Database, open_database
from headgate.db.migrate import migrate
from headgate.usage.entries import entries_of
from headgate.usage.store import _NAMES, AttemptStore, attempt_tags, attempts
from headgate.usage.types import DIMENSIONS, Dimension, Entry, Filter, Span
from tests.harness.databases import on_each_database, url_of
from tests.requirements import covers
from tests.usage.databases import ledger_database
from tests.usage.runs import SETTLED_AT, attempt, price_of, run_of

pytestmark = [covers("152", "113", "postgresql"), on_each_database]
Shape = dict[str, object]


async def shape(database: Database) -> Shape:
    """Columns and indexes of the ledger in a database."""

    def look(connection: Connection) -> Shape:
        seen = inspect(connection)
        return {
            table: (
                [(one["name"], str(one["type"]), one["nullable"]) for one in seen.get_columns(table)],
                seen.get_pk_constraint(table)["constrained_columns"],
                sorted((str(one["name"]), one["column_names"]) for one in seen.get_indexes(table)),
            )
            for table in (attempts.name, attempt_tags.name)
        }

    async with database.reading() as connection:
        return await connection.run_sync(look)


async def test_the_steps_make_the_tables_that_are_declared(tmp_path: Path) -> None:
    migrated = open_database(url_of(tmp_path / "migrated"))
    await migrate(migrated)
    async with ledger_database(tmp_path) as (declared, _):
        assert await shape(migrated) == await shape(declared)
    await migrated.close()


def test_a_row_is_an_entry_field_by_field() -> None:
    assert tuple(column.name for column in attempts.columns) == Entry._fields


def test_the_tables_are_valid_for_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    text = str(CreateTable(attempts).compile(dialect=dialect))
    assert '"user" TEXT NOT NULL' in text
    assert "cost BIGINT," in text


@pytest.mark.parametrize("by", DIMENSIONS)
def test_no_parameter_stands_where_postgresql_would_take_it_for_another(by: Dimension) -> None:
    grouped = select(_NAMES[by]).group_by(_NAMES[by]).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    assert not grouped.params


async def test_entries_come_back_as_they_went_in_the_newest_first_or_in_order(tmp_path: Path) -> None:
    tagged = Wishes(tags=frozenset(("a", "b")))
    entries = [
        entries_of(run_of([attempt(tokens=Tokens(number))], wishes=tagged), SETTLED_AT + number, price_of)[0]
        for number in range(5)
    ]
    async with ledger_database(tmp_path) as (_, store):
        await store.add(entries)
        assert await store.newest(Span(), Filter(), 3) == entries[:1:-1]
        assert await store.page(Span(), Filter(), None, 2) == entries[:2]
        assert await store.page(Span(), Filter(), entries[1], 9) == entries[2:]
        assert await store.page(Span(), Filter(run="nobody's"), None, 9) == []


async def test_adding_again_changes_neither_rows_nor_tags(tmp_path: Path) -> None:
    entries = entries_of(run_of([attempt(tokens=Tokens(7))], wishes=Wishes(tags=frozenset("t"))), SETTLED_AT, price_of)
    async with ledger_database(tmp_path) as (_, store):
        for _ in range(2):
            await store.add(entries)
        assert (await store.total()).attempts == 1
        assert [(row.name, row.attempts) for row in await store.totals("tag")] == [("t", 1)]


async def test_names_are_bound_and_never_part_of_a_statement(tmp_path: Path) -> None:
    evil = "x'; DROP TABLE attempts; --"
    run = run_of([attempt(tokens=Tokens(1))], id=evil, model=evil, wishes=Wishes(tags=frozenset((evil,))))
    async with ledger_database(tmp_path) as (_, store):
        await store.add(entries_of(run, SETTLED_AT, price_of))
        assert (await store.total(where=Filter(run=evil))).attempts == 1
        assert (await store.total(where=Filter(key=evil))).attempts == 0


async def test_sums_larger_than_a_float_can_hold_are_exact(tmp_path: Path) -> None:
    big = 10**15 - 1
    async with ledger_database(tmp_path) as (_, store):
        await store.add(
            [
                entries_of(run_of([attempt(tokens=Tokens(1))]), SETTLED_AT, price_of)[0]._replace(cost=big)
                for _ in range(5000)
            ]
        )
        assert (await store.total()).cost == 5000 * big


def test_the_store_needs_no_connection_to_be_made(tmp_path: Path) -> None:
    AttemptStore(open_database(url_of(tmp_path)))


@pytest.mark.parametrize("last_first", [False, True], ids=["in order", "the other way round"])
@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "in two"])
async def test_an_attempt_that_turns_out_to_be_the_last_is_one_row(
    tmp_path: Path, last_first: bool, at_once: bool
) -> None:
    """Among many, for those are added in another way."""
    run = run_of([attempt(tokens=Tokens(1, 1)) for _ in range(150)])
    run.goes_on = True
    entries = entries_of(run, SETTLED_AT, price_of)
    run.accounted, run.entry, run.goes_on, run.outcome = len(entries), entries[-1], False, "disconnected"
    [closed] = entries_of(run, SETTLED_AT + 999, price_of)
    assert (closed.id, closed.final, closed.outcome) == (entries[-1].id, 1, "disconnected")
    assert closed._replace(final=0, outcome="ok") == entries[-1]
    batches = [[closed], entries] if last_first else [entries, [closed]]
    async with ledger_database(tmp_path) as (_, store):
        for batch in [[*batches[0], *batches[1]]] if at_once else batches:
            await store.add(batch)
        kept = await store.page(Span(), Filter(), None, 999)
        total = await store.total()
    assert len(kept) == len(entries)
    assert [one for one in kept if one.final] == [closed]
    assert (total.requests, total.cost) == (1, sum(one.cost or 0 for one in entries))
