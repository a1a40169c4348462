"""Load generator on raw asyncio protocols and uvloop: closed-loop JSON requests, or many streams at once.

Importable (`json_load`, `stream_load`) and a command line; every wait is bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import uvloop

from bench.target import Target


@dataclass
class JsonResult:
    """A closed-loop run; times in milliseconds."""

    requests: int
    errors: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float


@dataclass
class StreamResult:
    """A run of simultaneous streams; times in milliseconds."""

    streams: int
    errors: int
    frames: int
    reads: int
    first_p50_ms: float
    first_p99_ms: float
    gap_p50_ms: float
    gap_p99_ms: float
    gap_max_ms: float


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of a SORTED sequence lies; 0 when there is none."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def _set_nodelay(transport: asyncio.BaseTransport) -> asyncio.Transport:
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return cast(asyncio.Transport, transport)


class _Work:
    """The closed loop's shared countdown and what came of it."""

    def __init__(self, count: int, connections: int, answer: bytes) -> None:
        self.left = count
        self.answer = answer
        self.running = connections
        self.latencies: list[float] = []
        self.good = 0
        self.finished = asyncio.Event()

    def ended(self) -> None:
        self.running -= 1
        if self.running == 0:
            self.finished.set()


class _JsonConnection(asyncio.Protocol):
    """One keep-alive connection that sends its next request as soon as the last answer is complete."""

    def __init__(self, request: bytes, work: _Work) -> None:
        self._request = request
        self._work = work
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = _set_nodelay(transport)
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        if self._work.left == 0:
            self._transport.close()
            return
        self._work.left -= 1
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            assert self._transport is not None
            self._transport.abort()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        self._work.latencies.append(time.perf_counter() - self._sent)
        self._work.good += self._parser.get_status_code() == 200 and self._work.answer in b"".join(self._body)
        self._body = []
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._work.ended()


async def json_load(target: Target, connections: int, count: int, limit_seconds: float = 120) -> JsonResult:
    """`count` requests over `connections` connections, each with one in flight; not answered well is an error."""
    loop = asyncio.get_running_loop()
    work = _Work(count, connections, target.words.answer)
    request = target.request(stream=False)
    start = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _JsonConnection(request, work), target.host, target.port)
    try:
        await asyncio.wait_for(work.finished.wait(), limit_seconds)
    except TimeoutError:
        work.left = 0
    seconds = time.perf_counter() - start
    done = sorted(work.latencies)
    p50, p99 = (percentile(done, share) * 1000 for share in (0.5, 0.99))
    return JsonResult(len(done), count - work.good, seconds, len(done) / seconds, p50, p99)


class _StreamConnection(asyncio.Protocol):
    """One stream from request to its last event: when its first frame came, the gaps between reads, how many frames."""

    def __init__(self, request: bytes, end: bytes, ended: asyncio.Future[None]) -> None:
        self._request = request
        self._end = end
        self._ended = ended
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._tail = b""
        self._last = 0.0
        self._transport: asyncio.Transport | None = None
        self.first: float | None = None
        self.gaps: list[float] = []
        self.frames = 0
        self.complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = _set_nodelay(transport)
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        frames = self.frames
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()
        if self.frames > frames:
            self._stamp()

    def _stamp(self) -> None:
        now = time.perf_counter()
        if self.first is None:
            self.first = now - self._sent
        elif not self.complete:
            self.gaps.append(now - self._last)
        self._last = now

    def on_body(self, data: bytes) -> None:
        text = self._tail + data
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        self.frames += text.count(b"\n\n")
        self.complete = self.complete or self._end in text
        self._tail = text[text.rfind(b"\n\n") + 2 :] if b"\n\n" in text else text

    def on_message_complete(self) -> None:
        self.complete = self.complete and self._parser.get_status_code() == 200
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _same(connection: _StreamConnection) -> _StreamConnection:
    return connection


async def stream_load(target: Target, streams: int, chunks: int, gap_ms: int, ramp_seconds: float = 2) -> StreamResult:
    """`streams` simultaneous streams, begun evenly over `ramp_seconds`; `chunks` and `gap_ms` bound the waiting."""
    loop = asyncio.get_running_loop()
    request = target.request(stream=True)
    connections: list[_StreamConnection] = []
    ends: list[asyncio.Future[None]] = []
    refused = 0
    start = loop.time()
    for number in range(streams):
        await asyncio.sleep(start + ramp_seconds * number / streams - loop.time())
        connection = _StreamConnection(request, target.words.end, ended := loop.create_future())
        try:
            await loop.create_connection(functools.partial(_same, connection), target.host, target.port)
        except OSError:
            refused += 1
        else:
            connections.append(connection)
            ends.append(ended)
    if ends:
        _, late = await asyncio.wait(ends, timeout=30 + 4 * chunks * gap_ms / 1000)
        for connection in connections if late else ():
            connection.abort()
    return _summary(streams, refused, connections)


def _summary(streams: int, refused: int, connections: Sequence[_StreamConnection]) -> StreamResult:
    first = sorted(connection.first for connection in connections if connection.first is not None)
    gaps = sorted(gap for connection in connections for gap in connection.gaps)
    return StreamResult(
        streams=streams,
        errors=refused + sum(not connection.complete for connection in connections),
        frames=sum(connection.frames for connection in connections),
        reads=len(gaps) + len(first),
        first_p50_ms=percentile(first, 0.5) * 1000,
        first_p99_ms=percentile(first, 0.99) * 1000,
        gap_p50_ms=percentile(gaps, 0.5) * 1000,
        gap_p99_ms=percentile(gaps, 0.99) * 1000,
        gap_max_ms=gaps[-1] * 1000 if gaps else 0.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("json", "stream"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="bench")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--gap-ms", type=int, default=20)
    options = parser.parse_args()
    headers = {name.strip(): value.strip() for name, _, value in (text.partition(":") for text in options.header)}
    target = Target(options.port, options.model, headers=headers)
    if options.mode == "json":
        result: JsonResult | StreamResult = uvloop.run(json_load(target, options.connections, options.count))
    else:
        shape = {"bench_chunks": options.chunks, "bench_gap_ms": options.gap_ms}
        target = Target(options.port, options.model, headers=headers, fields=shape)
        result = uvloop.run(stream_load(target, options.streams, options.chunks, options.gap_ms))
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
