"""Cut streams of stored runs go on where they were cut: no byte is lost, none comes twice, at any door and worker."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness import messages
from tests.harness.databases import on_each_database
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, Stub, stream, stream_pieces, usual
from tests.journeys.test_agents import settings as agents
from tests.requirements import covers

pytestmark = covers("155")
WORDS = [f"word-{number} " for number in range(500)]
CUTS = 60


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings_for(stub), tmp_path) as running:
        yield running


async def chat_stream(gateway: Gateway, stub: Stub) -> bytes:
    """The bytes of a whole stream on a new conversation."""
    stub.answer(stream(stream_pieces(WORDS)))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    return (await gateway.http.post("/v1/chat/completions", json=body, headers={"x-conversation-id": ""})).content


def ids(stream_: bytes) -> list[str]:
    return re.findall(r"^id: (\S+)$", stream_.decode(), re.MULTILINE)


def seen(part: bytes) -> tuple[bytes, str]:
    """The complete events of what came until a cut, as a client takes them, and the id of the last one."""
    whole = part[: part.rfind(b"\n\n") + 2] if b"\n\n" in part else b""
    return whole, (ids(whole) or [""])[-1]


async def test_every_event_of_a_stored_chat_has_an_id_and_its_number(gateway: Gateway, stub: Stub) -> None:
    whole = await chat_stream(gateway, stub)
    run, _, _ = ids(whole)[0].partition(":")
    assert ids(whole) == [f"{run}:{number}" for number in range(whole.count(b"data: "))]
    assert len(ids(whole)) > len(WORDS)
    assert whole.endswith(b"data: [DONE]\n\n")


async def test_a_plain_stream_has_none(gateway: Gateway, stub: Stub) -> None:
    pieces = stream_pieces(["Hel", "lo."])
    stub.answer(stream(pieces))
    assert b"id: " not in await gateway.stream()


async def test_a_chat_cut_anywhere_goes_on_at_that_place(gateway: Gateway, stub: Stub) -> None:
    whole = await chat_stream(gateway, stub)
    run = ids(whole)[0].partition(":")[0]
    path, calls = f"/v1/runs/{run}/events", len(stub.calls)
    assert (await gateway.http.get(path)).content == whole
    boundaries = [match.end() for match in re.finditer(b"\n\n", whole)]
    chance = random.Random(7)
    places = [*chance.sample(boundaries, CUTS), boundaries[0], boundaries[-2], boundaries[-1]]
    for place in [*places, *(chance.randrange(len(whole)) for _ in range(CUTS))]:
        before, last = seen(whole[:place])
        headers = {"last-event-id": last} if last else {}
        assert before + (await gateway.http.get(path, headers=headers)).content == whole, place
    assert len(stub.calls) == calls


async def test_the_same_call_with_last_event_id_goes_on_without_asking_a_model(gateway: Gateway, stub: Stub) -> None:
    whole = await chat_stream(gateway, stub)
    before, last = seen(whole[: len(whole) // 2])
    answer = await gateway.http.post("/v1/chat/completions", json={}, headers={"last-event-id": last})
    assert before + answer.content == whole
    assert answer.headers["x-conversation-id"]
    assert len(stub.calls) == 1


@pytest.mark.parametrize("steered", [False, True], ids=["relayed", "agent"])
async def test_the_doors_of_conversations_and_sessions_go_on_too(stub: Stub, tmp_path: Path, *, steered: bool) -> None:
    async with running_gateway(agents(stub), tmp_path) as gateway:
        stub.answer(stream(stream_pieces(["One ", "two ", "three."])))
        door, body = "/c1/chat", {"model": "small", "message": "Hi", "stream": True}
        if steered:
            sessions = "/a1/agents/augmented/helper/sessions"
            session = (await gateway.http.post(sessions, json={})).json()["id"]
            door, body = f"{sessions}/{session}/messages", {"message": "Hi", "stream": True}
        answer = await gateway.http.post(door, json=body)
        assert answer.status_code == 200, answer.text
        whole = answer.content
        assert whole.endswith(b"data: [DONE]\n\n")
        run = ids(whole)[0].partition(":")[0]
        for place in [match.end() for match in re.finditer(b"\n\n", whole)]:
            before, last = seen(whole[:place])
            for again in (
                await gateway.http.post(door, json={}, headers={"last-event-id": last}),
                await gateway.http.get(f"/v1/runs/{run}/events", headers={"last-event-id": last}),
            ):
                assert before + again.content == whole


@pytest.mark.parametrize("header", ["", "x", "resp_1:2", "resp_" + "0" * 32, "resp_" + "0" * 32 + ":x"])
async def test_a_malformed_place_is_refused(gateway: Gateway, header: str) -> None:
    answer = await gateway.http.post("/v1/chat/completions", json={}, headers={"last-event-id": header})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "last-event-id")


async def test_nobody_goes_on_with_anothers(gateway: Gateway, stub: Stub) -> None:
    last = ids(await chat_stream(gateway, stub))[3]
    headers = {"last-event-id": last, "x-user-id": "somebody else"}
    assert (await gateway.http.post("/v1/chat/completions", json={}, headers=headers)).status_code == 404
    run = last.partition(":")[0]
    assert (await gateway.http.get(f"/v1/runs/{run}/events", headers=headers)).status_code == 404


async def test_a_call_with_an_idempotency_key_goes_on_after_a_cut_and_loses_nothing(
    gateway: Gateway, stub: Stub, tmp_path: Path
) -> None:
    """Its caller comes back to another gateway on the same database."""
    going, pieces = asyncio.Event(), stream_pieces(WORDS)
    stub.answer(stream([b"".join(pieces[:200]), *pieces[200:]], release=going))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    head = json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {KEY}", "x-conversation-id:"]
    lines += ["idempotency-key: one", f"content-length: {len(head)}", "", ""]
    raw = await raw_events(gateway.port, "\r\n".join(lines).encode() + head, 9_000)
    before, last = seen(body_of(raw))
    async with running_gateway(settings_for(stub), tmp_path) as other:
        path = f"/v1/runs/{last.partition(':')[0]}/events"
        following = asyncio.create_task(other.http.get(path, headers={"last-event-id": last}))
        going.set()
        rest = (await following).content
        assert before + rest == (await other.http.get(path)).content
    assert rest.endswith(b"data: [DONE]\n\n")
    assert ids(before + rest) == [f"{last.partition(':')[0]}:{at}" for at in range(len(ids(before + rest)))]
    assert len(stub.calls) == 1


@covers("80")
@pytest.mark.parametrize("speaks", ["chat", "messages"])
async def test_messages_go_on_with_conversations_too(stub: Stub, tmp_path: Path, speaks: str) -> None:
    settings = settings_for(stub)
    settings["upstreams"][0]["speaks"] = [speaks]
    stub.otherwise = messages.native if speaks == "messages" else usual
    body: dict[str, Any] = {"model": "small", "max_tokens": 50, "system": "Be brief.", "stream": True}
    async with running_gateway(settings, tmp_path) as gateway:

        async def say(text: str, conversation: str) -> httpx.Response:
            told = {**body, "messages": [{"role": "user", "content": text}]}
            return await gateway.http.post("/v1/messages", json=told, headers={"x-conversation-id": conversation})

        first = await say("Hi", "")
        second = await say("And now?", first.headers["x-conversation-id"])
        whole = second.content
        assert whole.count(b"event: message_stop") == 1
        run = ids(whole)[0].partition(":")[0]
        for place in [match.end() for match in re.finditer(b"\n\n", whole)]:
            before, last = seen(whole[:place])
            again = await gateway.http.post("/v1/messages", json={}, headers={"last-event-id": last})
            assert before + again.content == whole
        assert (await gateway.http.get(f"/v1/runs/{run}/events")).content == whole
    told = stub.last.json["messages"]
    assert [one["role"] for one in told if one["role"] != "system"] == ["user", "assistant", "user"]
    assert str(stub.last.json).count("Be brief.") == 1


async def raw_events(port: int, head: bytes, most: int) -> bytes:
    """So many bytes of an answer's body, and then the socket is cut without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    got = b""
    try:
        async with asyncio.timeout(BOUND):
            while len(got) < most and (piece := await reader.read(most - len(got))):
                got += piece
    finally:
        writer.transport.abort()
    return got


def body_of(raw: bytes) -> bytes:
    """What came of a chunked body, as far as it came."""
    _, _, rest = raw.partition(b"\r\n\r\n")
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        rest = rest[length + 2 :]
        if not length:
            break
    return body


@on_each_database
class TestResponsesInTheBackground:
    async def test_sockets_cut_at_random_bytes_while_it_runs_lose_nothing(self, stub: Stub, tmp_path: Path) -> None:
        """Two gateways stand on one database: each cut is gone on with at the other one."""
        going = asyncio.Event()
        pieces = stream_pieces(WORDS)
        stub.answer(stream([b"".join(pieces[:200]), *pieces[200:]], release=going))
        chance = random.Random(11)
        async with (
            running_gateway(settings_for(stub), tmp_path) as first,
            running_gateway(settings_for(stub), tmp_path) as second,
        ):
            body = {"model": "small", "input": "Hi", "background": True}
            id_ = (await first.http.post("/v1/responses", json=body)).json()["id"]
            collected, last, cuts = b"", -1, 0
            while b"event: response.completed\n" not in collected:
                door = (first, second)[cuts % 2]
                path = f"/v1/responses/{id_}?stream=true" + (f"&starting_after={last}" if last >= 0 else "")
                head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n".encode()
                head += b"connection: close\r\n\r\n"
                raw = await raw_events(door.port, head, chance.randrange(400, 12_000))
                whole, _ = seen(body_of(raw))
                collected += whole
                numbers = re.findall(rb'"sequence_number":(\d+)', whole)
                last = int(numbers[-1]) if numbers else last
                cuts += 1
                if cuts == 2:  # what is there until then is more than two times as much as is read
                    going.set()
            uncut = (await second.http.get(f"/v1/responses/{id_}?stream=true")).content
        assert collected == uncut
        assert cuts > 5
        assert "".join(WORDS) in uncut.decode()
