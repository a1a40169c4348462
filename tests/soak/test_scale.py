"""Many conversations and long ones, on one worker: what it takes to open, to add to, to list and to search them."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import pytest_asyncio

from headgate.conversations.store import State, state_of
from headgate.conversations.types import New, Owner, Query, new_id
from headgate.db.engine import FILE, Database, default_url, open_database
from headgate.db.migrate import migrate
from tests.conftest import Amount
from tests.requirements import covers

pytestmark = [covers("scale-state"), pytest.mark.timeout(600)]
OWNER = Owner("acme", "ann")
ITEMS = 20
LONG = 10_000
_TEXT = "word " * 30
_CONTENT = '"content":[{"type":"input_text","text":"' + _TEXT + '"}]'
_ITEM = '{"type":"message","role":"user","id":"\' || %s || \'",' + _CONTENT + "}"


def fill(file: Path, conversations: int) -> None:
    """Conversations with ITEMS items each, and one with LONG, made in the database itself."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-200000")
    number = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {conversations})"
    connection.execute(
        f"""INSERT INTO conversations {number} SELECT printf('conv_%032x', i), 'acme', 'ann', '', 'small',
        'Talk ' || i || ' about ' || (i % 977), i, i, printf('seg_%032x', i), {ITEMS}, 1, '{{}}', '', 0 FROM n"""
    )
    connection.execute(
        f"""INSERT INTO segments {number} SELECT printf('seg_%032x', i), printf('conv_%032x', i), '', 0, 'root', i,
        NULL, NULL, '[]', '{{}}' FROM n"""
    )
    each = f", p(j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM p WHERE j < {ITEMS})"
    id_ = "printf('msg_%026x%06x', i, j)"
    connection.execute(
        f"""INSERT INTO items {number}{each} SELECT printf('seg_%032x', i), j, {id_}, '', i, '{_ITEM % id_}'
        FROM n CROSS JOIN p"""
    )
    connection.commit()
    connection.close()


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(default_url(tmp_path))
    await migrate(opened)
    yield opened
    await opened.close()


def said(text: str = _TEXT) -> New:
    id_ = new_id("msg")
    return New({"type": "message", "role": "user", "id": id_, "content": [{"type": "input_text", "text": text}]})


async def long_one(state: State, items: int) -> str:
    head = await state.heads.create(OWNER)
    for start in range(0, items, 500):
        head, _ = await state.heads.append(head, [said() for _ in range(min(500, items - start))])
    return head.id


async def timed(times: int, act: Callable[[], Awaitable[Any]]) -> list[float]:
    """Milliseconds of each, sorted."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await act()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def at(share: float, sorted_: Sequence[float]) -> float:
    return sorted_[min(len(sorted_) - 1, int(share * len(sorted_)))]


async def test_many_conversations_stay_quick(database: Database, tmp_path: Path, amount: Amount) -> None:
    many = amount(2_000, 100_000)
    await asyncio.to_thread(fill, tmp_path / FILE, many)
    state = state_of(database)
    long, short = [await long_one(state, size) for size in (LONG, 10)]

    async def add(id_: str) -> None:
        await state.heads.append(await state.heads.get(id_, OWNER), [said(), said()])

    async def open_(id_: str) -> None:
        head = await state.heads.get(id_, OWNER)
        await state.heads.latest(head, limit=20)

    async def turn(id_: str) -> None:
        await open_(id_)
        await add(id_)

    rest = amount(100, 1000)
    figures = {
        "tell a model, 10 items": await timed(20, lambda: told(state, short)),
        "tell a model, 10,000 items": await timed(5, lambda: told(state, long)),
        "add": await timed(rest, lambda: add(f"conv_{many // 2:032x}")),
        "open and add, 10 items": await timed(rest, lambda: turn(short)),
        "open and add, 10,000 items": await timed(rest, lambda: turn(long)),
        "list": await timed(50, lambda: state.heads.page(OWNER, Query(20))),
        "list from the middle": await timed(50, lambda: middle(state, many)),
        "list an agent's, none there": await timed(20, lambda: state.heads.page(OWNER, Query(20, agent="nobody"))),
        "search, found": await timed(50, lambda: state.heads.page(OWNER, Query(20, text="about 500"))),
        "search, rare": await timed(20, lambda: state.heads.page(OWNER, Query(20, text=f"talk {many // 3} about"))),
        "search, nothing there": await timed(20, lambda: state.heads.page(OWNER, Query(20, text="nowhere"))),
    }
    for name, taken in figures.items():
        print(f"\n{name}: median {median(taken):.2f} ms, p99 {at(0.99, taken):.2f} ms", end="")
    print()
    assert median(figures["open and add, 10,000 items"]) < 10 * median(figures["open and add, 10 items"])
    assert at(0.99 if many == 100_000 else 0.5, figures["add"]) < 10
    assert not [name for name, taken in figures.items() if name.startswith(("list", "search")) and median(taken) > 50]


async def told(state: State, id_: str) -> None:
    await state.heads.told(await state.heads.get(id_, OWNER))


async def middle(state: State, many: int) -> None:
    await state.heads.page(OWNER, Query(20, after=(many // 2, f"conv_{many // 2:032x}")))
