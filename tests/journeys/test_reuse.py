"""Connections to a provider: used again when that is safe, and only then; many at once, large bodies both ways."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from headgate.upstreams.http import Origin, Wire
from headgate.upstreams.types import TimeoutSettings
from tests.conftest import settings_for
from tests.harness.events import ends_well
from tests.harness.gateway import KEY, Gateway, raw_exchange, running_gateway
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat, chunk, stream, stream_pieces, usual
from tests.requirements import covers

pytestmark = covers("13")
BODY = chat().body
KEPT = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(BODY)


def connections(stub: Stub) -> list[int]:
    return [call.connection for call in stub.calls]


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_calls_in_turn_use_one_connection(gateway: Gateway, stub: Stub, framing: str) -> None:
    stub.answer(Answer(body=BODY, framing=framing), stream(framing=framing), Answer(status=400, framing=framing))
    for streamed in (False, True, False, True):
        await gateway.chat(stream=streamed)
    assert connections(stub) == [1, 1, 1, 1]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        Answer(body=BODY, cut_after=9),
        Answer(raw=b"garbage"),
        Answer(body=BODY, framing="close"),
        Answer(body=BODY, headers={"connection": "close"}),
        stream(hang=True),
        stream([chunk(error={"message": "no"})], hang=True),
        Answer(raw=KEPT + b"\r\n" + BODY + b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", hang=True),
        Answer(status=413, body=b"{}", cut_after=1, framing="chunked"),
        Answer(body=b"\x0b", headers={"content-encoding": "br"}),
    ],
    ids=["cut", "garbage", "close", "said close", "held", "error held", "two answers", "cut refusal", "unread"],
)
async def test_a_connection_is_not_used_again_behind_a_fault(
    gateway: Gateway, stub: Stub, fault: Answer, streamed: bool
) -> None:
    stub.answer(fault)
    await gateway.chat(stream=streamed)
    for _ in range(2):
        assert (await gateway.chat()).json()["choices"][0]["message"]["content"] == "Hello there."
    assert connections(stub) == [1, 2, 2]


async def test_an_idle_connection_that_the_provider_closed_is_not_used(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(raw=KEPT + b"\r\n" + BODY))
    assert (await gateway.chat()).status_code == 200
    await asyncio.sleep(0.02)
    assert (await gateway.chat()).status_code == 200
    assert connections(stub) == [1, 2]


@pytest.mark.parametrize(("announced", "expected"), [("1", [1, 2, 3]), ("0", [1, 2, 3]), ("9, max=5", [1, 1, 1])])
async def test_the_announced_idle_time_is_respected(
    gateway: Gateway, stub: Stub, announced: str, expected: list[int]
) -> None:
    stub.otherwise = lambda _: Answer(body=BODY, headers={"keep-alive": f"timeout={announced}"})
    for _ in range(3):
        assert (await gateway.chat()).status_code == 200
    assert connections(stub) == expected


async def test_many_calls_at_once_all_succeed(gateway: Gateway, stub: Stub) -> None:
    release = asyncio.Event()
    stub.otherwise = lambda _: Answer(pieces=[b"", BODY], release=release)
    body = b'{"model":"small","messages":[{"role":"user","content":"Hi"}]}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    for called in (200, 400):
        release.clear()
        calls = asyncio.gather(*(raw_exchange(gateway.port, request) for _ in range(200)))
        await stub.wait_for_calls(called)
        assert gateway.gate.metrics.in_flight == 200
        release.set()
        assert {answer[:12] for answer in await calls} == {b"HTTP/1.1 200"}
    assert stub.connections == 200
    assert gateway.gate.metrics.in_flight == 0


async def test_answers_never_cross(stub: Stub) -> None:
    def echo(request: Recorded) -> Answer:
        answer = chat(request.json["user"])
        answer.delay = int(request.json["user"]) % 5 / 500
        return answer

    stub.otherwise = echo
    async with running_gateway(settings_for(stub)) as gateway:

        async def call(number: int) -> bool:
            answer = await gateway.chat(user=str(number))
            return bool(answer.json()["choices"][0]["message"]["content"] == str(number))

        assert all(await asyncio.gather(*map(call, range(150))))


@pytest.mark.parametrize("streamed", [False, True])
async def test_large_bodies_pass_both_ways(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    text = "é" + "x" * (5 << 20)
    stub.answer(stream([chunk({"content": text}), *stream_pieces()]) if streamed else chat(text))
    response = await gateway.chat(stream=streamed, messages=[{"role": "user", "content": text}])
    assert stub.last.json["messages"][0]["content"] == text
    assert len(response.content) > 5 << 20
    assert b"stub-small" not in response.content
    assert ends_well(response.content) if streamed else response.json()["model"] == "small"


@asynccontextmanager
async def answering_early(stub: Stub, keeps_open: bool) -> AsyncIterator[None]:
    """In the stub's place: answers 413 by the headers alone and reads no body."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        if keeps_open:
            await gone.wait()
        writer.close()

    gone = asyncio.Event()
    await stub.stop()
    async with await asyncio.start_server(accept, "127.0.0.1", stub.port, limit=1024):
        try:
            yield
        finally:
            gone.set()
    await stub.start()


@pytest.mark.parametrize("keeps_open", [True, False])
async def test_an_answer_that_comes_before_the_body_was_read_is_told(
    gateway: Gateway, stub: Stub, keeps_open: bool
) -> None:
    async with answering_early(stub, keeps_open):
        for size in (12 << 20, 1):
            response = await asyncio.wait_for(gateway.chat(messages=[{"role": "user", "content": "x" * size}]), BOUND)
            assert response.status_code == 413
    assert (await gateway.chat()).status_code == 200


async def test_a_provider_that_could_not_send_is_not_called_silent(stub: Stub) -> None:
    """While the caller does not read, the provider has to wait; its time to be silent starts when it can send again."""
    stub.answer(Answer(pieces=[b"RIFF" * 50_000] * 50, framing="chunked", content_type="audio/wav"))
    wire = Wire()
    origin = Origin(stub.url, wire)
    head = b"POST /v1/audio/speech HTTP/1.1\r\nhost: stub\r\n"
    response = await origin.send(head, b"{}", TimeoutSettings(read=0.2))
    connection = response._connection
    async with asyncio.timeout(BOUND):
        while not connection._paused:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.25)
    size = len(await response.piece())
    connection.check_deadlines(wire.loop.time())
    while piece := await response.piece():
        size += len(piece)
    assert size == 200_000 * 50
    response.close()
    origin.close()
    wire.close()


async def test_an_answer_cut_by_its_time_does_not_look_complete(stub: Stub) -> None:
    """Also when it would have ended with its connection, and the caller reads later than it was cut."""
    settings = settings_for(stub)
    settings["upstreams"][0]["timeouts"] = {"total": 0.4}
    stub.answer(Answer(pieces=[b"RIFF" * 50_000] * 300, framing="close", content_type="audio/wav"))
    async with running_gateway(settings) as gateway:
        body = {"model": "small", "input": "Hi", "voice": "a"}
        async with gateway.http.stream("POST", "/v1/audio/speech", json=body) as response:
            await asyncio.wait_for(stub.last.left.wait(), BOUND)
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                [part async for part in response.aiter_raw()]
        [line] = await gateway.wait_for_lines(1)
        assert (line["outcome"], line["error"]) == ("error", "upstream_timeout")


async def test_a_slow_provider_may_take_its_time_between_two_bytes(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["upstreams"][0]["timeouts"] = {"read": 0.4}
    stub.answer(stream(gap=0.2, delay=0.2))
    async with running_gateway(settings) as gateway:
        started = time.monotonic()
        assert ends_well(await gateway.stream())
        assert time.monotonic() - started > 0.8
        stub.otherwise = usual
        assert (await gateway.chat()).status_code == 200
