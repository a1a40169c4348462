"""An answer while it is made: every listener gets all of it, and a large one is not piled up in memory."""

import asyncio
from pathlib import Path

import pytest

from headgate.idempotency.folder import Folder
from headgate.idempotency.recording import Recording
from headgate.idempotency.types import Ended, Head, Started
from tests.harness.stub import BOUND
from tests.requirements import covers

pytestmark = covers("154")
STARTED = Started(200, [(b"content-type", b"text/plain")], "small")
MIB = 1 << 20


def opened(folder: Path, largest: int) -> Recording:
    recording = Recording(Folder(folder), "name", Head("req_1", "ab"), largest)
    assert recording.open(replaces=False)
    return recording


async def heard(recording: Recording) -> list[Started | bytes]:
    return [event async for event in recording.events()]


async def test_listeners_that_come_at_any_time_get_all_of_it(tmp_path: Path) -> None:
    recording = opened(tmp_path, 1000)
    listeners = [asyncio.create_task(heard(recording))]
    recording.start(STARTED)
    for number in range(20):
        await recording.piece(b"%d " % number)
        if number % 3 == 0:
            listeners.append(asyncio.create_task(heard(recording)))
        if number % 2:
            await asyncio.sleep(0)
    recording.end(Ended("kept"))
    for events in [*(await asyncio.gather(*listeners)), await heard(recording)]:
        assert events[0] == STARTED
        assert b"".join(part for part in events if type(part) is bytes) == b"".join(b"%d " % one for one in range(20))


async def test_a_large_answer_waits_for_who_listens_slowly_and_is_let_go_once_he_has_it(tmp_path: Path) -> None:
    recording = opened(tmp_path, 1000)
    events = recording.events()
    recording.start(STARTED)
    assert await anext(events) == STARTED
    for _ in range(2):
        making = asyncio.create_task(recording.piece(b"x" * MIB))
        await asyncio.wait([making], timeout=0.05)
    assert not making.done()
    assert len(recording._pieces) == 2
    taken = await anext(events)
    await asyncio.wait([making], timeout=0.05)
    assert not making.done()
    following = asyncio.ensure_future(anext(events))
    await asyncio.wait_for(making, BOUND)
    assert isinstance(taken, bytes)
    assert len(taken) == 2 * MIB
    assert recording._pieces == []
    await recording.piece(b"end")
    assert await following == b"end"
    recording.end(Ended("kept"))
    assert [event async for event in events] == []
    assert recording.ended == Ended("too_large")


async def test_the_maker_of_a_large_answer_is_ended_when_the_last_listener_leaves(tmp_path: Path) -> None:
    recording = opened(tmp_path, 1000)
    events = recording.events()
    recording.start(STARTED)
    await anext(events)

    async def make() -> None:
        while True:
            await recording.piece(b"x" * MIB)

    recording.maker = asyncio.create_task(make())
    await asyncio.wait([recording.maker], timeout=0.05)
    assert not recording.maker.done()
    await events.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(recording.maker, BOUND)
    assert recording.is_unheard
    recording.end(Ended("dropped"))
    assert recording._folder.open("name") is None
