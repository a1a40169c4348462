"""Comments while a model thinks: only in streams, only between complete events, never behind the end."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from typing import Any

import pytest_asyncio

from headgate.api.stream import Reply
from headgate.core.errors import HeadgateError, UpstreamBroke
from headgate.core.events import Event, Opened, Room, Sink
from headgate.core.ids import child_of
from headgate.core.run import Run
from tests.conftest import settings_for
from tests.harness.events import ends_well, last_error, read_events
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, chunk, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("keep-alive")
PING = b": ping\n\n"
BODY = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@pytest_asyncio.fixture
async def lively(stub: Stub) -> AsyncIterator[Gateway]:
    """A gateway that sends a comment after 50 ms of silence."""
    settings = settings_for(stub, server={"ping_seconds": 0.05})
    async with running_gateway(settings) as running:
        yield running


def as_seen(pieces: list[bytes]) -> bytes:
    return b"".join(pieces).replace(b"stub-small", b"small")


async def collect(pieces: AsyncIterator[bytes], until: bytes) -> bytes:
    """What comes until these bytes are among it; bounded."""
    got = b""
    async with asyncio.timeout(BOUND):
        while until not in got:
            got += await anext(pieces)
    return got


async def test_comments_come_before_the_first_byte_with_status_and_headers(lively: Gateway, stub: Stub) -> None:
    stub.answer(stream(delay=0.25))
    async with lively.http.stream("POST", "/v1/chat/completions", json=BODY) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        first = await anext(pieces := response.aiter_raw())
        assert first.startswith(PING)
        content = first + b"".join([piece async for piece in pieces])
    assert ends_well(content)
    assert content.startswith(PING * 2)
    assert content.replace(PING, b"") == as_seen(stream_pieces())


async def test_comments_come_in_the_middle_and_never_inside_an_event(lively: Gateway, stub: Stub) -> None:
    whole = b"".join(stream_pieces())
    cut = whole.index(b"Hello")
    release = asyncio.Event()
    stub.answer(stream([whole[:cut], whole[cut:]], release=release))
    async with lively.http.stream("POST", "/v1/chat/completions", json=BODY) as response:
        pieces = response.aiter_raw()
        content = await collect(pieces, PING * 2)
        assert b"Hello" not in content
        release.set()
        content += b"".join([piece async for piece in pieces])
    assert ends_well(content)
    assert [event.comments for event in read_events(content) if event.comments] == [["ping"]] * content.count(b"ping")
    assert content.replace(PING, b"") == as_seen(stream_pieces())


async def test_an_error_behind_a_comment_is_an_event(lively: Gateway, stub: Stub) -> None:
    stub.answer(Answer(status=400, body=b'{"error":{"message":"no"}}', delay=0.15), Answer(raw=b"", delay=0.15))
    for message in ("no", "The provider closed the connection without an answer."):
        response = await lively.chat(stream=True)
        assert response.status_code == 200
        assert response.content.startswith(PING)
        assert last_error(response.content)["message"] == message
    lines = await lively.wait_for_lines(2)
    assert [(line["status"], line["outcome"]) for line in lines] == [(200, "error")] * 2


async def test_the_second_target_may_still_answer_behind_a_comment(stub: Stub) -> None:
    settings = settings_for(stub, server={"ping_seconds": 0.05})
    settings["models"][0]["targets"] *= 2
    stub.answer(Answer(status=503, delay=0.15))
    async with running_gateway(settings) as gateway:
        content = await gateway.stream()
        assert content.startswith(PING)
        assert ends_well(content)
        assert len(stub.calls) == 2


async def test_a_whole_answer_gets_no_comments(lively: Gateway, stub: Stub) -> None:
    late = chat()
    late.delay = 0.2
    stub.answer(late)
    response = await lively.chat()
    assert b"ping" not in response.content
    assert response.json()["model"] == "small"


async def test_a_busy_stream_gets_no_comments(stub: Stub) -> None:
    async with running_gateway(settings_for(stub, server={"ping_seconds": 0.3})) as gateway:
        stub.answer(stream(stream_pieces(["a"] * 40), gap=0.01))
        assert await gateway.stream() == as_seen(stream_pieces(["a"] * 40))


async def test_no_comments_where_they_are_turned_off(stub: Stub) -> None:
    async with running_gateway(settings_for(stub, server={"ping_seconds": 0})) as gateway:
        stub.answer(stream(delay=0.1, gap=0.02))
        assert await gateway.stream() == as_seen(stream_pieces())


async def test_the_providers_own_comments_may_stand_beside_ours(lively: Gateway, stub: Stub) -> None:
    stub.answer(stream([b": thinking\n\n", *stream_pieces(["a"])], gap=0.08))
    content = await lively.stream()
    assert ends_well(content)
    assert {comment for event in read_events(content) for comment in event.comments} == {"ping", "thinking"}


class Wire:
    """Notes the ASGI messages of a reply."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)


async def push_nothing(sink: Sink, room: Room) -> None:
    """A stream whose pieces have to be pulled."""


async def deliver_with_a_comment_due_at_the_end(fault: HeadgateError | None) -> list[MutableMapping[str, Any]]:
    """The last event comes in the same turn of the loop in which a comment falls due."""
    loop = asyncio.get_running_loop()
    wire, run = Wire(), Run("r", child_of(None), "chat")
    reply = Reply(wire.send, run)

    async def events() -> AsyncGenerator[Event]:
        yield Opened(b"text/event-stream", True, push_nothing)
        yield chunk({"content": "a"})
        last = loop.create_future()
        loop.call_later(0.01, last.set_result, None)
        loop.call_soon(time.sleep, 0.06)
        await last
        if fault:
            raise fault

    try:
        await reply.deliver(events(), 0.03)
    except HeadgateError as error:
        await reply.fail(error)
    await asyncio.sleep(0.02)
    return wire.sent


async def test_nothing_follows_the_end_though_a_comment_was_due() -> None:
    for fault in (None, UpstreamBroke("It broke.")):
        sent = await deliver_with_a_comment_due_at_the_end(fault)
        assert [message.get("more_body") for message in sent] == [None, True, False]
