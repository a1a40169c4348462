"""Sockets cut at every event and at random bytes of a 500-event stream, before two workers on each database, and with
the process itself: what a client puts together is what was never cut.
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from headgate.conversations.store.tables import conversations, stored_runs
from headgate.db.engine import open_database
from tests.conftest import Amount
from tests.harness.cutting import BACKGROUND, DOORS, Door, Part, boundaries, cut, is_whole, rest, taken, text_of
from tests.harness.databases import on_each_database, url_of
from tests.harness.gateway import KEY
from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Answer, Recorded, Stub, stream, stream_pieces
from tests.journeys.test_agents import settings as agents
from tests.requirements import covers

pytestmark = [covers("155"), on_each_database, pytest.mark.timeout(1800)]
WORDS = [f"word-{number} " for number in range(500)]
PIECES = stream_pieces(WORDS)
AT_ONCE = 4
HELD_SECONDS = 1.0


@dataclass
class Workers:
    """Processes behind one port; each request comes over a connection of its own."""

    port: int
    http: httpx.AsyncClient


@asynccontextmanager
async def before(process: Process) -> AsyncIterator[Workers]:
    alone = httpx.Limits(max_keepalive_connections=0)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=BOUND, limits=alone) as http:
        yield Workers(int(process.url.rpartition(":")[2]), http)


def config(stub: Stub, folder: Path) -> str:
    file = folder / "headgate.yaml"
    file.write_text(json.dumps({**agents(stub), "database": {"url": url_of(folder / "data")}}))
    return str(file)


class Held:
    """Answers that wait behind so many events, as the question says, until their event is set."""

    def __init__(self) -> None:
        self.going: dict[str, asyncio.Event] = {}

    def __call__(self, request: Recorded) -> Answer:
        text = str(request.json["messages"][-1]["content"])
        if text not in self.going:
            return stream(PIECES)
        told = int(text.split()[1])
        return stream([b"".join(PIECES[:told]), *PIECES[told:]], release=self.going[text])


def asking(door: Door, text: str) -> Door:
    return door._replace(body=json.loads(json.dumps(door.body).replace('"Hi"', json.dumps(text))))


async def cut_once(workers: Workers, door: Door, held: Held, place: int, number: int, way: int) -> None:
    """Cut a stream behind so many bytes, of which that many events are needed, and put it together again."""
    text = f"at {min(number + 2, len(PIECES))} {place} {way}"
    going = held.going[text] = asyncio.Event()
    door = await asking(door, text).ready(workers.http)
    cutting = asyncio.create_task(cut(workers, door, most=place))
    await asyncio.wait([cutting], timeout=HELD_SECONDS)  # the last events come only with the end of the answer
    if not cutting.done():
        going.set()
    part = await cutting
    following = asyncio.create_task(rest(workers, door, part, way))
    going.set()
    whole = part.whole + await following
    assert text_of(whole) == "".join(WORDS), f"cut behind {place} bytes"
    assert is_whole(whole, door)
    assert whole == await rest(workers, door, Part(part.run, b"", -1))
    assert taken(part.run, whole, door).last == len(boundaries(whole)) - 1
    del held.going[text]


@pytest.mark.parametrize("door", DOORS, ids=[door.name for door in DOORS])
async def test_a_stream_cut_anywhere_is_put_together_whole(
    stub: Stub, processes: Processes, tmp_path: Path, amount: Amount, door: Door
) -> None:
    process = await asyncio.to_thread(
        processes.serve, "--config", config(stub, tmp_path), "--workers", "2", HEADGATE_MASTER_KEY=KEY
    )
    stub.otherwise = held = Held()
    chance = random.Random(3)
    async with before(process) as workers:
        uncut = (await (await door.ready(workers.http)).whole(workers.http)).whole
        ends = boundaries(uncut)
        places = list(enumerate(ends))[:: amount(125, 1)]
        for _ in range(amount(2, 150)):
            byte = chance.randrange(1, len(uncut))
            places.append((sum(end <= byte for end in ends), byte))
        bound, room = [], asyncio.Semaphore(AT_ONCE)

        async def one(way: int, number: int, place: int) -> None:
            async with room:
                await cut_once(workers, door, held, place, number, way)
                stub.requests.clear()

        async with asyncio.TaskGroup() as group:
            bound = [group.create_task(one(way, *place)) for way, place in enumerate(places)]
    print(f"\n{door.name}: {len(bound)} cuts of {len(ends)} events")


async def test_a_background_run_that_is_killed_with_its_process_is_followed_to_its_end(
    stub: Stub, processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    stub.otherwise = held = Held()
    chance, file = random.Random(5), config(stub, tmp_path)
    for kill in range(amount(1, 20)):
        process = await asyncio.to_thread(processes.serve, "--config", file, HEADGATE_MASTER_KEY=KEY)
        text = f"at {chance.randrange(50, 450)} {kill}"
        held.going[text] = asyncio.Event()
        async with before(process) as workers:
            part = await cut(workers, asking(BACKGROUND, text), most=chance.randrange(1000, 8000))
        os.kill(process.popen.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        await leases_run_out(tmp_path)
        del held.going[text]
        process = await asyncio.to_thread(processes.serve, "--config", file, HEADGATE_MASTER_KEY=KEY)
        async with before(process) as workers:
            behind = await rest(workers, BACKGROUND, part)
            whole = part.whole + behind
            assert whole == await rest(workers, BACKGROUND, Part(part.run, b"", -1))
        assert is_whole(whole, BACKGROUND)
        assert text_of(behind).endswith("".join(WORDS))
        assert taken(part.run, whole, BACKGROUND).last == len(boundaries(whole)) - 1
        os.kill(process.popen.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)


async def leases_run_out(folder: Path) -> None:
    database = open_database(url_of(folder / "data"))
    async with database.writing() as connection:
        for table in (conversations, stored_runs):
            await connection.execute(update(table).where(table.c.holder != "").values(held_until=1))
    await database.close()
