"""A stored stream goes on for a while after its caller left: who comes back misses nothing, and else it ends whole."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headgate.conversations.types import Owner
from tests.harness.cutting import CHAT, DOORS, HELPER, RESPONSES, Door, Part, cut, rest, text_of
from tests.harness.databases import on_each_database
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Stub, chat, stream, stream_pieces
from tests.journeys.test_agents import calling
from tests.journeys.test_agents import settings as agents
from tests.journeys.test_money import PRICE, rows
from tests.journeys.test_responses_socket import socket, told
from tests.requirements import covers

pytestmark = covers("155")
OWNER = Owner("default", "")
SHORT = 0.3
FOREGROUND = [door for door in DOORS if door.name != "background"]
each_door = pytest.mark.parametrize("door", FOREGROUND, ids=[door.name for door in FOREGROUND])


@asynccontextmanager
async def serving(stub: Stub, folder: Path, **conversations: Any) -> AsyncIterator[Gateway]:
    settings = agents(stub)
    settings["conversations"] = conversations
    settings["models"][0]["price"] = PRICE
    async with running_gateway(settings, folder) as running:
        yield running


def begins(stub: Stub) -> asyncio.Event:
    """The next answer says `Hel`, and the rest of it after the event."""
    going, pieces = asyncio.Event(), stream_pieces(["Hel", "lo", " there", "."])
    stub.answer(stream([b"".join(pieces[:2]), *pieces[2:]], release=going))
    return going


async def left(gateway: Gateway, stub: Stub, door: Door) -> tuple[Door, Part, asyncio.Event]:
    """A stream whose caller left after its first word."""
    door, going = await door.ready(gateway.http), begins(stub)
    return door, await cut(gateway, door, until=b'"Hel"'), going


async def items(gateway: Gateway, part: Part, count: int = 2) -> list[tuple[str, str]]:
    """The texts that are kept, with their status, once there are so many; bounded."""
    state = gateway.gate.deps.state
    assert state is not None
    run = await state.runs.get(part.run, OWNER)
    async with asyncio.timeout(BOUND):
        while True:
            page = (await gateway.http.get(f"/c1/conversations/{run.conversation}/items")).json()["data"]
            if len(page) >= count:
                return [("".join(one["text"] for one in item["content"]), item["status"]) for item in page]
            await asyncio.sleep(0.005)


async def until_signalled(gateway: Gateway, part: Part, what: str) -> None:
    """Until all workers can read that a run lingers, or is followed."""
    state = gateway.gate.deps.state
    assert state is not None
    async with asyncio.timeout(BOUND):
        while not getattr((await state.signals.look([part.run])).get(part.run), what, 0):
            await asyncio.sleep(0.005)


async def settled(gateway: Gateway, count: int) -> list[str]:
    return [line["outcome"] for line in await gateway.wait_for_lines(count) if line["attempts"]]


@on_each_database
@each_door
async def test_who_comes_back_at_another_worker_gets_the_rest_as_it_is_made(
    stub: Stub, tmp_path: Path, door: Door
) -> None:
    async with serving(stub, tmp_path) as first, serving(stub, tmp_path) as second:
        door, part, going = await left(first, stub, door)
        following = asyncio.create_task(rest(second, door, part))
        await until_signalled(first, part, "followed_until")
        assert not following.done()
        going.set()
        whole = part.whole + await following
        assert whole == await rest(second, door, Part(part.run, b"", -1))
        assert text_of(whole) == "Hello there."
        assert await settled(first, 1) == ["ok"]
        assert len(await rows(first, 1)) == 1
        assert len(stub.calls) == 1


@each_door
async def test_where_nobody_comes_back_it_ends_with_what_was_said_and_is_paid_for_once(
    stub: Stub, tmp_path: Path, door: Door
) -> None:
    async with serving(stub, tmp_path, grace_seconds=SHORT) as gateway:
        _, part, _ = await left(gateway, stub, door)
        assert not stub.last.left.is_set()
        await asyncio.wait_for(stub.last.left.wait(), BOUND)
        assert await settled(gateway, 1) == ["disconnected"]
        ended = await rest(gateway, door, part)
        assert b"[DONE]" not in ended
        assert b"message_stop" not in ended
        assert await items(gateway, part) == [("Hi", "completed"), ("Hel", "incomplete")]
        (entry,) = await rows(gateway, 1)
        assert entry["measure"] == "estimated"
        assert gateway.gate.metrics.in_flight == 0


@each_door
async def test_without_a_time_of_grace_it_ends_at_once(stub: Stub, tmp_path: Path, door: Door) -> None:
    async with serving(stub, tmp_path, grace_seconds=0) as gateway:
        _, part, _ = await left(gateway, stub, door)
        await asyncio.wait_for(stub.last.left.wait(), 1)
        told_first = await rest(gateway, door, Part(part.run, b"", -1))
        assert told_first.startswith(part.whole)
        assert b"[DONE]" not in told_first
        assert await items(gateway, part) == [("Hi", "completed"), ("Hel", "incomplete")]


@covers("12")
@pytest.mark.parametrize("door", [CHAT._replace(headers={}), RESPONSES], ids=["chat", "responses"])
async def test_a_stream_that_is_not_stored_ends_as_soon_as_its_caller_leaves(
    stub: Stub, tmp_path: Path, door: Door
) -> None:
    async with serving(stub, tmp_path) as gateway:
        begins(stub)
        body = {**door.body, "stream": True, **({"store": False} if door.inside else {})}
        async with gateway.http.stream("POST", door.path, json=body) as answer:
            assert "x-headgate-run" not in answer.headers
            async for line in answer.aiter_lines():
                if '"Hel"' in line:
                    break
        await asyncio.wait_for(stub.last.left.wait(), 1)
        assert await settled(gateway, 1) == ["disconnected"]


@pytest.mark.parametrize("model", ["small", HELPER])
async def test_an_answer_in_one_piece_ends_as_soon_as_its_caller_leaves(stub: Stub, tmp_path: Path, model: str) -> None:
    async with serving(stub, tmp_path) as gateway:
        if model == HELPER:
            stub.answer(calling(("calculator", {"expression": "6*7"})))
        begins(stub)
        leaving = asyncio.create_task(gateway.http.post(RESPONSES.path, json={"model": model, "input": "Hi"}))
        await stub.wait_for_calls(2 if model == HELPER else 1)
        leaving.cancel()
        await asyncio.wait_for(stub.last.left.wait(), 1)


@on_each_database
async def test_it_goes_on_for_as_long_as_somebody_follows_it(stub: Stub, tmp_path: Path) -> None:
    async with (
        serving(stub, tmp_path, grace_seconds=SHORT) as first,
        serving(stub, tmp_path, grace_seconds=SHORT) as second,
    ):
        door, part, _ = await left(first, stub, CHAT)
        following = asyncio.create_task(rest(second, door, part))
        await asyncio.wait([following, asyncio.create_task(stub.last.left.wait())], timeout=SHORT * 4)
        assert not stub.last.left.is_set()
        following.cancel()
        await asyncio.wait_for(stub.last.left.wait(), BOUND)
        assert await settled(first, 1) == ["disconnected"]


@on_each_database
@pytest.mark.parametrize("where", ["same worker", "another worker"])
@pytest.mark.parametrize("door", [CHAT, RESPONSES], ids=["chat", "responses"])
async def test_the_next_turn_does_not_wait_for_one_that_nobody_waits_for(
    stub: Stub, tmp_path: Path, where: str, door: Door
) -> None:
    async with serving(stub, tmp_path) as first, serving(stub, tmp_path) as second:
        asked = first if where == "same worker" else second
        door, part, _ = await left(first, stub, door)
        await until_signalled(first, part, "lingers_until")
        state = first.gate.deps.state
        assert state is not None
        conversation = (await state.runs.get(part.run, OWNER)).conversation
        stub.answer(chat("At once."))
        next_turn = {"model": "small", "message": "Now", "conversation_id": conversation}
        answer = await asked.http.post("/c1/chat", json=next_turn)
        assert answer.status_code == 200, answer.text
        assert [one["content"] for one in stub.last.json["messages"]] == ["Hi", "Hel", "Now"]
        texts = [text for text, _ in await items(first, part)]
        assert texts == ["Hi", "Hel", "Now", "At once."]


async def test_a_turn_that_somebody_came_back_for_is_not_cut_short_by_the_next(stub: Stub, tmp_path: Path) -> None:
    async with serving(stub, tmp_path) as gateway:
        door, part, going = await left(gateway, stub, CHAT)
        following = asyncio.create_task(rest(gateway, door, part))
        await until_signalled(gateway, part, "followed_until")
        state = gateway.gate.deps.state
        assert state is not None
        conversation = (await state.runs.get(part.run, OWNER)).conversation
        next_turn = {"model": "small", "message": "Now", "conversation_id": conversation}
        assert (await gateway.http.post("/c1/chat", json=next_turn)).status_code == 409
        going.set()
        assert text_of(part.whole + await following) == "Hello there."


async def test_a_response_that_was_left_can_be_gone_on_from_at_once(stub: Stub, tmp_path: Path) -> None:
    async with serving(stub, tmp_path) as gateway:
        _, part, _ = await left(gateway, stub, RESPONSES)
        await until_signalled(gateway, part, "lingers_until")
        stub.answer(chat("Again."))
        body = {"model": "small", "input": "And?", "previous_response_id": part.run}
        assert (await gateway.http.post("/v1/responses", json=body)).status_code == 200
        assert [one["content"] for one in stub.last.json["messages"]] == ["Hi", "Hel", "And?"]


@on_each_database
@pytest.mark.parametrize("how", ["run", "response", "delete"])
async def test_it_is_ended_at_once_by_whoever_says_so(stub: Stub, tmp_path: Path, how: str) -> None:
    async with serving(stub, tmp_path) as first, serving(stub, tmp_path) as second:
        _, part, _ = await left(first, stub, RESPONSES)
        await until_signalled(first, part, "lingers_until")
        state = first.gate.deps.state
        assert state is not None
        stored = await state.runs.get(part.run, OWNER)
        response = f"/v1/responses/{part.run}"
        method = "DELETE" if how == "delete" else "POST"
        path = {"run": f"/v1/runs/{stored.request_id}/cancel", "response": f"{response}/cancel", "delete": response}
        answer = await second.http.request(method, path[how])
        assert answer.status_code == 200, answer.text
        await asyncio.wait_for(stub.last.left.wait(), 1)
        assert await settled(first, 1) == ["cancelled"]
        if how != "delete":
            assert (await second.http.get(f"/v1/responses/{part.run}")).json()["status"] == "cancelled"
            assert await items(second, part) == [("Hi", "completed"), ("Hel", "incomplete")]


@covers("156")
async def test_one_asked_for_over_a_websocket_goes_on_over_http(stub: Stub, tmp_path: Path) -> None:
    async with serving(stub, tmp_path) as gateway:
        going = begins(stub)
        async with socket(gateway) as opened:
            await opened.send(json.dumps({"type": "response.create", "model": "small", "input": "Hi"}))
            first = await told(opened)
            opened.transport.abort()
        part = Part(first["response"]["id"], b"", -1)
        await until_signalled(gateway, part, "lingers_until")
        following = asyncio.create_task(rest(gateway, RESPONSES, part))
        going.set()
        assert text_of(await following) == "Hello there."


async def test_a_process_that_ends_waits_for_nobody(stub: Stub, tmp_path: Path) -> None:
    async with serving(stub, tmp_path) as gateway:
        _, part, _ = await left(gateway, stub, CHAT)
        await until_signalled(gateway, part, "lingers_until")
    await asyncio.wait_for(stub.last.left.wait(), 1)
    async with serving(stub, tmp_path) as gateway:
        assert await items(gateway, part) == [("Hi", "completed"), ("Hel", "incomplete")]


async def test_who_leaves_a_process_that_is_about_to_end_is_not_waited_for(stub: Stub, tmp_path: Path) -> None:
    async with serving(stub, tmp_path) as gateway:
        begins(stub)
        cutting = asyncio.create_task(cut(gateway, CHAT, until=b"there"))
        async with asyncio.timeout(BOUND):
            while not any(run.resumable for run in gateway.gate.active.values()):
                await asyncio.sleep(0.005)
        gateway.gate.draining = True
        cutting.cancel()
        await asyncio.wait_for(stub.last.left.wait(), 1)


async def test_who_follows_a_silent_stream_gets_comments(stub: Stub, tmp_path: Path) -> None:
    settings = agents(stub)
    settings["server"] = {"ping_seconds": 0.1}
    async with running_gateway(settings, tmp_path) as gateway:
        _, part, _ = await left(gateway, stub, CHAT)
        path, headers = f"/v1/runs/{part.run}/events", {"last-event-id": f"{part.run}:{part.last}"}
        async with gateway.http.stream("GET", path, headers=headers) as answer:
            assert await anext(answer.aiter_lines()) == ": ping"
