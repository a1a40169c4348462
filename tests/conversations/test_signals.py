"""What workers tell each other of stored runs, whose turn a duty is, and how long events stay."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from sqlalchemy import update

from headgate.conversations.store import Duties, RunSignals, State
from headgate.conversations.store.signals import Signals, duties
from headgate.conversations.store.tables import events, stored_runs
from headgate.conversations.types import milliseconds
from headgate.db.engine import Database, open_database
from headgate.db.migrate import migrate
from tests.conftest import settings_for
from tests.harness.cutting import CHAT, Part, cut, rest
from tests.harness.databases import on_each_database, url_of
from tests.harness.gateway import running_gateway
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

pytestmark = [covers("155"), on_each_database]


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(url_of(tmp_path))
    await migrate(opened)
    yield opened
    await opened.close()


async def test_what_one_tells_of_a_run_leaves_what_others_told(database: Database) -> None:
    signals = RunSignals(database)
    assert await signals.look(["a", "b"]) == {}
    await signals.linger("a", 1000)
    await signals.follow("a", 2000)
    await signals.want("a", "stop")
    await signals.follow("a", 3000)
    await signals.follow("b", 500)
    assert await signals.look(["a", "b", "c"]) == {"a": Signals(1000, 3000, "stop"), "b": Signals(0, 500)}
    await signals.forget(["a"])
    assert await signals.look(["a", "b"]) == {"b": Signals(0, 500)}


async def test_what_is_forgotten_by_nobody_is_swept(database: Database) -> None:
    signals = RunSignals(database)
    await signals.want("a", "dismiss")
    await signals.sweep(milliseconds() - 1000)
    assert (await signals.look(["a"]))["a"].wish == "dismiss"
    await signals.sweep(milliseconds() + 1000)
    assert await signals.look(["a"]) == {}


async def test_of_many_at_once_one_has_a_duty_until_its_time_is_over(database: Database) -> None:
    whose = Duties(database)
    taken = await asyncio.gather(*(whose.take("sweep", f"worker {n}", 60) for n in range(8)))
    assert taken.count(True) == 1
    holder = f"worker {taken.index(True)}"
    assert await whose.take("sweep", holder, 60)
    assert not await whose.take("sweep", "another", 60)
    assert await whose.take("something else", "another", 60)
    assert await whose.take("sweep", holder, -1)
    assert await whose.take("sweep", "another", 60)


async def aged(state: State, part: Part, age: int) -> Part:
    """The same run as if it had been made and had ended so many milliseconds ago, which its id tells, too."""
    ended = milliseconds() - age
    id_ = f"resp_{ended:012x}{part.run[-20:]}"
    async with state.runs._database.writing() as connection:
        r, e = stored_runs.c, events.c
        await connection.execute(update(stored_runs).where(r.id == part.run).values(id=id_, ended=ended))
        await connection.execute(update(events).where(e.run == part.run).values(run=id_))
    return part._replace(run=id_)


async def test_events_stay_for_as_long_as_is_set_and_results_for_longer(stub: Stub, tmp_path: Path) -> None:
    settings = settings_for(stub, conversations={"events_kept_seconds": 3600})
    async with running_gateway(settings, tmp_path) as gateway:
        parts = [await cut(gateway, CHAT, until=b"[DONE]") for _ in range(2)]
        state = gateway.gate.deps.state
        assert state is not None
        parts = [await aged(state, *one) for one in zip(parts, (3_700_000, 3_500_000), strict=True)]
        assert not await state.duties.take("events of stored runs", "another", 1)
        async with state.runs._database.writing() as connection:
            await connection.execute(update(duties).values(held_until=0))  # as if its holder had ended long ago
    async with running_gateway(settings, tmp_path) as gateway:
        async with asyncio.timeout(BOUND):
            old, young = (f"/v1/runs/{part.run}/events" for part in parts)
            while (answer := await gateway.http.get(old)).status_code == 200:
                await asyncio.sleep(0.01)
        assert answer.json()["error"]["code"] == "events_not_kept"
        assert (await gateway.http.get(young)).status_code == 200
        assert await rest(gateway, CHAT, parts[1]) == b""
        page = (await gateway.http.get("/c1/conversations")).json()["items"]
        assert [one["message_count"] for one in page] == [2, 2]
