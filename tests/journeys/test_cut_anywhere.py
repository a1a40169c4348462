"""A stream of 500 events that is cut behind any of them, or within one: the parts are together what was never cut."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from headgate.conversations.types import Owner
from headgate.pipeline.following import followed
from tests.harness.cutting import BACKGROUND, DOORS, Door, Part, boundaries, cut, is_whole, rest, taken, text_of
from tests.harness.databases import on_each_database
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Stub, stream, stream_pieces
from tests.journeys.test_agents import settings as agents
from tests.requirements import covers

pytestmark = [covers("155"), on_each_database]
WORDS = [f"word-{number} " for number in range(500)]
each_door = pytest.mark.parametrize("door", DOORS, ids=[door.name for door in DOORS])
BEGIN = Part("", b"", -1)


@pytest_asyncio.fixture
async def workers(stub: Stub, tmp_path: Path) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Two gateways on one database."""
    async with running_gateway(agents(stub), tmp_path) as one, running_gateway(agents(stub), tmp_path) as other:
        yield one, other


@each_door
async def test_behind_every_event_comes_what_came_behind_it_before(
    workers: tuple[Gateway, Gateway], stub: Stub, door: Door
) -> None:
    maker, other = workers
    stub.answer(stream(stream_pieces(WORDS)))
    made = await (await door.ready(maker.http)).whole(maker.http)
    deps, chance = other.gate.deps, random.Random(7)
    assert deps.state is not None
    run = await deps.state.runs.get(made.run, Owner("default", ""))
    assert text_of(made.whole) == "".join(WORDS)
    assert is_whole(made.whole, door)
    places = [0, *boundaries(made.whole)]
    assert len(places) > len(WORDS)
    for number, (place, following) in enumerate(zip(places, [*places[1:], places[-1]], strict=True)):
        part = taken(made.run, made.whole[: chance.randint(place, max(place, following - 1))], door)
        assert (part.whole, part.last) == (made.whole[:place], number - 1)
        told = b"".join([frames async for frames in followed(run, number - 1, deps)])
        assert told == made.whole[place:], f"behind event {number - 1}"


@each_door
async def test_a_socket_cut_while_it_is_made_goes_on_at_another_worker(
    workers: tuple[Gateway, Gateway], stub: Stub, door: Door
) -> None:
    chance = random.Random(11)
    for way in range(4):
        door = await door.ready(workers[0].http)
        going, pieces, told = asyncio.Event(), stream_pieces(WORDS), chance.randrange(20, 480)
        stub.answer(stream([b"".join(pieces[:told]), *pieces[told:]], release=going))
        part = await cut(workers[way % 2], door, most=chance.randrange(1, 80 * told))
        following = asyncio.create_task(rest(workers[1 - way % 2], door, part, way // 2))
        going.set()
        whole = part.whole + await following
        assert text_of(whole) == "".join(WORDS)
        assert is_whole(whole, door)
        assert whole == await rest(workers[0], door, BEGIN._replace(run=part.run))
    assert len(stub.calls) == way + 1


async def test_a_run_in_the_background_that_is_cut_with_its_process_goes_on_behind_the_same_event(
    stub: Stub, tmp_path: Path
) -> None:
    pieces = stream_pieces(WORDS)
    stub.answer(stream([b"".join(pieces[:200]), *pieces[200:]], release=asyncio.Event()))
    async with running_gateway(agents(stub), tmp_path) as gateway:
        part = await cut(gateway, BACKGROUND, until=b"word-100 ")
    stub.answer(stream(pieces))
    async with running_gateway(agents(stub), tmp_path) as gateway, asyncio.timeout(BOUND):
        behind = await rest(gateway, BACKGROUND, part)
        whole = part.whole + behind
        assert whole == await rest(gateway, BACKGROUND, BEGIN._replace(run=part.run))
        assert taken(part.run, whole, BACKGROUND).last == len(boundaries(whole)) - 1
        assert text_of(behind).endswith("".join(WORDS))
        assert is_whole(whole, BACKGROUND)
