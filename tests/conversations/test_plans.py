"""No question about conversations makes SQLite read a whole table."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.conversations.store import State, state_of
from headgate.conversations.types import ActionQuery, Conversation, New, Owner, Query, StoredRun, milliseconds, new_id
from headgate.db import engine as engine_file
from headgate.db.engine import FILE, default_url, open_database
from headgate.db.migrate import migrate
from tests.requirements import covers

pytestmark = covers("scale-state")
OWNER = Owner("acme", "ann")
TABLES = ("conversations", "segments", "items", "stored_runs", "actions", "memories", "events")


@pytest_asyncio.fixture
async def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[State, list[str]]]:
    """What is kept of conversations, and every statement that is carried out."""
    statements: list[str] = []
    prepare = engine_file._prepare

    def tracing(connection: Any, record: object) -> None:
        prepare(connection, record)
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(statements.append)
        else:
            connection.driver_connection._conn.set_trace_callback(statements.append)

    monkeypatch.setattr(engine_file, "_prepare", tracing)
    database = open_database(default_url(tmp_path))
    await migrate(database)
    yield state_of(database), statements
    await database.close()


async def talk(state: State) -> tuple[Conversation, str]:
    """A conversation with items, and the id of one."""
    head, id_ = await state.heads.create(OWNER), new_id("msg")
    said = [New({"id": id_, "type": "message", "role": "user", "content": "x"})]
    return (await state.heads.append(head, said))[0], id_


async def ask_everything(state: State) -> None:
    head, id_ = await talk(state)
    heads, runs, place = state.heads, state.runs, (milliseconds(), head.id)
    for query in (Query(), Query(after=place), Query(agent="a"), Query(text="about"), Query(20, place, "a", "x", 40)):
        await heads.page(OWNER, query)
    await heads.told(await heads.get(head.id, OWNER))
    await heads.items(head)
    await heads.latest(head)
    await heads.item(head, id_)
    await heads.find(OWNER, [id_])
    await heads.lineage(head)
    await heads.children(head.id)
    run = StoredRun(new_id("resp"), "req_1", head.id, OWNER, "in_progress", False, milliseconds(), 0, {})
    await runs.begin(run)
    await runs.get(run.id, OWNER)
    await runs.of(head)
    await runs.events(run.id)
    await runs.orphans()
    await runs.forget_events(milliseconds())
    for wanted in (ActionQuery(), ActionQuery(conversation=head.id), ActionQuery(run="req_1", waiting=True)):
        await state.actions.page(OWNER, wanted)
        await state.actions.count(OWNER, wanted)
    await state.actions.waiting_in(["req_1"])
    await state.memories.page(OWNER, 20)
    await state.memories.search(OWNER, "x", 20)
    await heads.delete(head)


async def test_no_question_reads_a_whole_table(asked: tuple[State, list[str]], tmp_path: Path) -> None:
    state, statements = asked
    statements.clear()
    await ask_everything(state)
    questions = [one for one in dict.fromkeys(statements) if one.startswith(("SELECT", "WITH", "UPDATE", "DELETE"))]
    assert len(questions) > 30
    connection = sqlite3.connect(tmp_path / FILE)
    for question in questions:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}")]
        scans = [line for line in plan if line.startswith(tuple(f"SCAN {table}" for table in TABLES))]
        assert not [line for line in scans if "CONSTANT ROW" not in line], f"{question}\n{plan}"
    connection.close()


async def test_an_item_is_found_by_its_id_however_long_the_conversation(
    asked: tuple[State, list[str]], tmp_path: Path
) -> None:
    state, statements = asked
    head, id_ = await talk(state)
    statements.clear()
    assert (await state.heads.item(head, id_)).position == 1
    question = next(one for one in statements if "items.id = " in one)
    connection = sqlite3.connect(tmp_path / FILE)
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}"))
    connection.close()
    assert "SEARCH items USING INDEX ix_items_id (id=?)" in plan
