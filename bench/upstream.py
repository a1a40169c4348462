"""A zero-delay OpenAI-compatible stub upstream: raw asyncio protocol on uvloop, no framework.

It answers chat completions as JSON or as paced SSE, one HTTP chunk and one write per frame, and counts what it sees.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import re
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import uvloop

CREATED = 1_750_000_000
COMPLETION_ID = "chatcmpl-bench0123456789abcdefghij"
STREAM = re.compile(rb'"stream"\s*:\s*true')
INCLUDE_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
MODEL = re.compile(rb'"model"\s*:\s*"([^"]{1,80})"')
MODEL_SHAPE = re.compile(rb"bench-(\d+)-(\d+)")
BODY_CHUNKS = re.compile(rb'"bench_chunks"\s*:\s*(\d+)')
BODY_GAP = re.compile(rb'"bench_gap_ms"\s*:\s*(\d+)')
USAGE = {"prompt_tokens": 120, "completion_tokens": 100, "total_tokens": 220}


@dataclass
class Shape:
    """How many chunks a stream has when the request does not say, and how far apart they are."""

    chunks: int = 100
    gap_ms: int = 20


@dataclass
class Stats:
    """What the stub has seen since it started; GET /bench/stats returns it."""

    requests: int = 0
    connections: int = 0
    connections_open: int = 0
    streams_open: int = 0
    streams_aborted: int = 0


class Ticker:
    """One loop timer per millisecond in which anything is due, however many streams are due in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, list[Callable[[], None]]] = {}

    def now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def at(self, due_ms: int, callback: Callable[[], None]) -> None:
        waiting = self._due.get(due_ms)
        if waiting is None:
            self._due[due_ms] = [callback]
            self._loop.call_at(due_ms / 1000, self._fire, due_ms)
        else:
            waiting.append(callback)

    def _fire(self, due_ms: int) -> None:
        for callback in self._due.pop(due_ms):
            callback()


def _encode(payload: object) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _sse(payload: object) -> bytes:
    return _http_chunk(b"data: " + _encode(payload) + b"\n\n")


def _chunk(model: str, choices: list[object], **more: object) -> dict[str, object]:
    return {
        "id": COMPLETION_ID,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "system_fingerprint": "fp_bench",
        "choices": choices,
        **more,
    }


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> object:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


@functools.lru_cache(maxsize=64)
def stream_frames(model: str, chunks: int, include_usage: bool) -> tuple[bytes, ...]:
    """The HTTP chunks of one stream: role, text, finish; then the usage chunk if asked for, and [DONE]."""
    role = _chunk(model, [_choice({"role": "assistant", "content": ""})])
    text = [_chunk(model, [_choice({"content": f" token{n}"})]) for n in range(max(chunks - 2, 0))]
    finish = _chunk(model, [_choice({}, "stop")])
    usage = [_chunk(model, [], usage=USAGE)] if include_usage else []
    done = _http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return (*(_sse(frame) for frame in (role, *text, finish, *usage)), done)


def _response(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


@functools.lru_cache(maxsize=64)
def json_response(model: str) -> bytes:
    message = {"role": "assistant", "content": "The quick brown fox jumps over the lazy dog. " * 3, "refusal": None}
    completion = {
        "id": COMPLETION_ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        "system_fingerprint": "fp_bench",
    }
    return _response(_encode(completion))


MODELS = _response(_encode({"object": "list", "data": [{"id": "bench-upstream", "object": "model", "owned_by": "b"}]}))
HEALTH = _response(b'{"status":"ok"}')
NOT_FOUND = _response(b'{"error":{"message":"not found","type":"invalid_request_error"}}', b"404 Not Found")
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _number(pattern: re.Pattern[bytes], body: bytes, default: int) -> int:
    found = pattern.search(body)
    return int(found[1]) if found else default


class Stream:
    """One running SSE answer, paced on the shared ticker against its start so that delays do not add up."""

    def __init__(self, connection: Connection, frames: tuple[bytes, ...], paced: int, gap_ms: int) -> None:
        self._connection = connection
        self._frames = frames
        self._paced = paced
        self._gap_ms = gap_ms
        self._start = connection.stub.ticker.now_ms()
        self._sent = 0
        self.closed = False
        self.send_next(STREAM_HEAD)

    def send_next(self, before: bytes = b"") -> None:
        if self.closed:
            return
        self._connection.transport.write(before + self._frames[self._sent])
        self._sent += 1
        if self._sent == len(self._frames):
            self._connection.stream_ended()
        elif self._gap_ms == 0 or self._sent >= self._paced:
            self._connection.stub.loop.call_soon(self.send_next)
        else:
            self._connection.stub.ticker.at(self._start + self._sent * self._gap_ms, self.send_next)


class Stub:
    """What all connections share: the loop, the ticker, the default stream shape and the counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shape: Shape) -> None:
        self.loop = loop
        self.ticker = Ticker(loop)
        self.shape = shape
        self.stats = Stats()

    def plan(self, body: bytes) -> tuple[int, int]:
        """Chunks and gap of a stream: from the body's own fields, else from the model name, else the default."""
        found = MODEL_SHAPE.search(body)
        chunks, gap_ms = (int(found[1]), int(found[2])) if found else (self.shape.chunks, self.shape.gap_ms)
        return _number(BODY_CHUNKS, body, chunks), _number(BODY_GAP, body, gap_ms)


class Connection(asyncio.Protocol):
    """One client connection: requests one after the other, kept alive."""

    transport: asyncio.Transport

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []
        self._stream: Stream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stub.stats.connections += 1
        self.stub.stats.connections_open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.stub.stats.connections_open -= 1
        if self._stream is not None:
            self._stream.closed = True
            self.stub.stats.streams_aborted += 1
            self.stub.stats.streams_open -= 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        path, body = self._path, b"".join(self._body)
        self._path, self._body = b"", []
        if path.endswith(b"/chat/completions"):
            self.stub.stats.requests += 1
            self._complete(body)
        elif path.endswith(b"/models"):
            self.transport.write(MODELS)
        elif path in (b"/health", b"/get_server_info", b"/get_model_info", b"/v1/traces"):
            self.transport.write(HEALTH)
        elif path == b"/bench/stats":
            self.transport.write(_response(_encode(asdict(self.stub.stats))))
        elif path == b"/bench/shape":
            self.stub.shape = Shape(**json.loads(body))
            self.transport.write(_response(body))
        else:
            self.transport.write(NOT_FOUND)

    def _complete(self, body: bytes) -> None:
        found = MODEL.search(body)
        model = found[1].decode() if found else "bench-upstream"
        if not STREAM.search(body):
            self.transport.write(json_response(model))
            return
        chunks, gap_ms = self.stub.plan(body)
        frames = stream_frames(model, chunks, INCLUDE_USAGE.search(body) is not None)
        self.stub.stats.streams_open += 1
        self._stream = Stream(self, frames, chunks, gap_ms)

    def stream_ended(self) -> None:
        self._stream = None
        self.stub.stats.streams_open -= 1


async def serve(host: str, port: int, shape: Shape) -> None:
    loop = asyncio.get_running_loop()
    stub = Stub(loop, shape)
    server = await loop.create_server(lambda: Connection(stub), host, port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--chunks", type=int, default=100, help="chunks per stream, unless the request says")
    parser.add_argument("--gap-ms", type=int, default=20, help="milliseconds between chunks, unless the request says")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(options.host, options.port, Shape(options.chunks, options.gap_ms)))


if __name__ == "__main__":
    main()
