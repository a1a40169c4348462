"""A caller that leaves takes the upstream call along, within a second, and nothing is left behind."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.events import ends_well
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("12")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelname != "INFO"] == []


@pytest_asyncio.fixture
async def gateway(stub: Stub) -> AsyncIterator[Gateway]:
    """Here with one retry for which it waits a while."""
    settings = settings_for(stub)
    settings["models"][0]["retries"] = 1
    async with running_gateway(settings) as running:
        yield running


_callers: list[asyncio.StreamWriter] = []


@pytest_asyncio.fixture(autouse=True)
async def _all_hang_up() -> AsyncIterator[None]:
    yield
    while _callers:
        _callers.pop().close()


@dataclass
class Caller:
    """A connection to the gateway on which one can leave in any way."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def leave(self, how: str = "close") -> None:
        if how == "half":
            self.writer.write_eof()
        elif how == "reset":
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.writer.transport.abort()
        else:
            self.writer.close()


def request(streamed: bool, text: str = "Hi") -> bytes:
    fields: dict[str, Any] = {"model": "small", "stream": streamed, "messages": [{"role": "user", "content": text}]}
    body = json.dumps(fields).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def call(gateway: Gateway, sent: bytes) -> Caller:
    caller = Caller(*await asyncio.open_connection("127.0.0.1", gateway.port))
    _callers.append(caller.writer)
    caller.writer.write(sent)
    return caller


async def is_clean(gateway: Gateway, stub: Stub, calls: int = 1, attempts: int = 1) -> None:
    """The upstream call ended within a second, the log line says why, nothing is in flight, and it goes on."""
    await asyncio.wait_for(stub.calls[calls - 1].left.wait(), 1)
    [line] = await gateway.wait_for_lines(1)
    assert (line["outcome"], line["error"], len(line["attempts"])) == ("disconnected", None, attempts)
    async with asyncio.timeout(BOUND):
        while gateway.gate.active:
            await asyncio.sleep(0.005)
    assert gateway.gate.metrics.in_flight == 0
    stub.script.clear()
    assert ends_well(await gateway.stream())
    assert len(stub.calls) == calls + 1
    assert (await gateway.wait_for_lines(2))[1]["outcome"] == "ok"


@both_ways
@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_before_the_upstreams_headers(gateway: Gateway, stub: Stub, how: str, streamed: bool) -> None:
    stub.answer(Answer(raw=b"", hang=True))
    caller = await call(gateway, request(streamed))
    await stub.wait_for_calls(1)
    caller.leave(how)
    await is_clean(gateway, stub)


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_in_the_middle_of_a_stream(gateway: Gateway, stub: Stub, how: str) -> None:
    stub.answer(stream(stream_pieces()[:2], hang=True))
    caller = await call(gateway, request(streamed=True))
    await asyncio.wait_for(caller.reader.readuntil(b"Hello"), BOUND)
    caller.leave(how)
    await is_clean(gateway, stub)


async def test_while_a_whole_answers_body_is_awaited(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(pieces=[b'{"choices":', b"[]}"], cut_after=5, hang=True))
    caller = await call(gateway, request(streamed=False))
    await stub.wait_for_calls(1)
    caller.leave()
    await is_clean(gateway, stub)


async def test_while_the_first_event_is_awaited(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([b": wait\n\n"], hang=True))
    caller = await call(gateway, request(streamed=True))
    await stub.wait_for_calls(1)
    caller.leave()
    await is_clean(gateway, stub)


@both_ways
@pytest.mark.parametrize("size", [70_000, 300_000, 5 << 20])
async def test_behind_a_large_body(gateway: Gateway, stub: Stub, size: int, streamed: bool) -> None:
    stub.answer(Answer(raw=b"", hang=True))
    sent = request(streamed, "x" * size)
    caller = await call(gateway, sent[:60_000])
    await caller.writer.drain()
    caller.writer.write(sent[60_000:])
    await stub.wait_for_calls(1)
    caller.leave()
    await is_clean(gateway, stub)


@both_ways
async def test_during_the_pause_before_a_retry(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    stub.answer(Answer(status=429, headers={"retry-after": "4"}))
    caller = await call(gateway, request(streamed))
    await stub.wait_for_calls(1)
    while not gateway.gate.active:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    caller.leave()
    [line] = await asyncio.wait_for(gateway.wait_for_lines(1), 1)
    assert (line["outcome"], len(line["attempts"])) == ("disconnected", 1)
    assert len(stub.calls) == 1
    assert gateway.gate.metrics.in_flight == 0


async def test_during_a_retry(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(status=503, headers={"retry-after-ms": "1"}), Answer(raw=b"", hang=True))
    caller = await call(gateway, request(streamed=False))
    await stub.wait_for_calls(2)
    caller.leave()
    await is_clean(gateway, stub, calls=2, attempts=2)


async def test_while_the_connection_to_the_upstream_is_made(stub: Stub) -> None:
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        first.connect(listening.getsockname())
        settings = settings_for(stub)
        settings["upstreams"][0]["base_url"] = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with running_gateway(settings) as gateway:
            caller = await call(gateway, request(streamed=False))
            while not gateway.gate.active:
                await asyncio.sleep(0.001)
            caller.leave()
            [line] = await asyncio.wait_for(gateway.wait_for_lines(1), 1)
            assert (line["status"], line["outcome"]) == (0, "disconnected")


async def test_before_the_body_has_come(gateway: Gateway, stub: Stub) -> None:
    caller = await call(gateway, request(streamed=False)[:-5])
    while not gateway.gate.active:
        await asyncio.sleep(0.001)
    caller.leave()
    [line] = await gateway.wait_for_lines(1)
    assert (line["outcome"], line["attempts"]) == ("disconnected", [])
    assert stub.calls == []


async def test_while_he_does_not_read(gateway: Gateway, stub: Stub) -> None:
    """The gateway takes no more from the provider than a caller who does not read leaves room for."""
    piece = stream_pieces(["x" * 60_000])[1]
    stub.answer(stream([stream_pieces()[0], *[piece] * 1000]))
    caller = await call(gateway, request(streamed=True))
    await asyncio.wait_for(caller.reader.readuntil(b"xx"), BOUND)
    caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(BOUND):
        while not any(one.flow.write_paused for one in gateway.server.server_state.connections):  # type: ignore[union-attr]
            await asyncio.sleep(0.005)
    caller.leave("reset")
    await is_clean(gateway, stub)


async def test_with_further_requests_waiting(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([stream_pieces()[1]] * 400, gap=0.01))
    caller = await call(gateway, request(streamed=True) * 3)
    await asyncio.wait_for(caller.reader.readuntil(b"Hello"), BOUND)
    caller.leave("reset")
    await is_clean(gateway, stub)


async def test_requests_sent_at_once_are_answered_in_order(gateway: Gateway, stub: Stub) -> None:
    for text in ("one", "two", "three"):
        stub.answer(chat(text))
    caller = await call(gateway, request(streamed=False) * 3)
    async with asyncio.timeout(BOUND):
        for answer in (b'"one"', b'"two"', b'"three"'):
            assert b"HTTP/1.1 200" in await caller.reader.readuntil(answer)
    caller.leave()
    assert [line["outcome"] for line in await gateway.wait_for_lines(3)] == ["ok"] * 3
