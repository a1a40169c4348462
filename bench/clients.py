"""Compares HTTP clients for the way to the upstream: the same bare ASGI relay on uvicorn with each of them.

`self` answers without an upstream and shows what uvicorn and ASGI alone cost. CPU is in µs per request or chunk.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import statistics
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

from bench import server
from bench.load import json_load
from bench.measure import Figures, Load, run
from bench.target import Target
from bench.upstream import json_response, stream_frames

UPSTREAM = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:9100/v1/chat/completions")
SSE_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8")]
Answer = tuple[int, bytes]


class SelfAnswer:
    """No upstream at all: a fixed answer, and streams paced here."""

    async def post(self, body: bytes) -> Answer:
        return 200, json_response("bench").partition(b"\r\n\r\n")[2]

    async def stream(self, body: bytes) -> AsyncIterator[bytes]:
        gap = 0.04 if b'"bench_gap_ms": 40' in body else 0.02
        for frame in stream_frames("bench", 100, True):
            yield frame.partition(b"\r\n")[2][:-2]
            await asyncio.sleep(gap)


class Aiohttp:
    def __init__(self) -> None:
        aiohttp = importlib.import_module("aiohttp")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=300),
            read_bufsize=256 * 1024,
        )
        self._url = importlib.import_module("yarl").URL(UPSTREAM)
        self._headers = {"Content-Type": "application/json", "Authorization": "Bearer bench"}

    async def post(self, body: bytes) -> Answer:
        async with self._session.post(self._url, data=body, headers=self._headers) as response:
            return response.status, await response.read()

    async def stream(self, body: bytes) -> AsyncIterator[bytes]:
        async with self._session.post(self._url, data=body, headers=self._headers) as response:
            read = response.content.readany
            while data := await read():
                yield data


class Pyreqwest:
    def __init__(self) -> None:
        builder = importlib.import_module("pyreqwest.client").ClientBuilder()
        for codec in ("gzip", "brotli", "zstd", "deflate"):
            builder = getattr(builder, codec)(False)
        self._client = builder.follow_redirects(False).referer(False).no_proxy().build()
        self._headers = {"Content-Type": "application/json", "Authorization": "Bearer bench"}

    async def post(self, body: bytes) -> Answer:
        response = await self._client.post(UPSTREAM).headers(self._headers).body_bytes(body).build().send()
        return response.status, bytes(await response.bytes())

    async def stream(self, body: bytes) -> AsyncIterator[bytes]:
        request = self._client.post(UPSTREAM).headers(self._headers).body_bytes(body)
        async with request.streamed_read_buffer_limit(0).build_streamed() as response:
            read = response.body_reader.read_chunk
            while (data := await read()) is not None:
                yield bytes(data)


class _RawConnection(asyncio.Protocol):
    """One upstream connection of the hand-written client: httptools and one future, no pool logic."""

    def __init__(self, idle: deque[_RawConnection]) -> None:
        self._idle = idle
        self.sink: Callable[[bytes], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes, sink: Callable[[bytes], None]) -> asyncio.Future[int]:
        self.sink = sink
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self.done

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        assert self.sink is not None
        self.sink(data)

    def on_message_complete(self) -> None:
        self._idle.append(self)
        self.done.set_result(self._parser.get_status_code())


class Raw:
    """The floor: a client of 40 lines on asyncio.Protocol; a stream wakes a coroutine for every read."""

    def __init__(self) -> None:
        parts = urlsplit(UPSTREAM)
        self._address = (str(parts.hostname), parts.port or 80)
        self._head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        self._idle: deque[_RawConnection] = deque()

    async def open(self) -> _RawConnection:
        if self._idle:
            return self._idle.pop()
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: _RawConnection(self._idle), *self._address))[1]

    def encode(self, body: bytes) -> bytes:
        return f"{self._head}authorization: Bearer bench\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body

    async def post(self, body: bytes) -> Answer:
        parts: list[bytes] = []
        status = await (await self.open()).send(self.encode(body), parts.append)
        return status, b"".join(parts)

    async def stream(self, body: bytes) -> AsyncIterator[bytes]:
        connection = await self.open()
        arrived: deque[bytes] = deque()
        wake = asyncio.Event()

        def sink(data: bytes) -> None:
            arrived.append(data)
            wake.set()

        done = connection.send(self.encode(body), sink)
        done.add_done_callback(lambda _: wake.set())
        while not done.done() or arrived:
            await wake.wait()
            wake.clear()
            while arrived:
                yield arrived.popleft()


CLIENTS = {"self": SelfAnswer, "aiohttp": Aiohttp, "pyreqwest": Pyreqwest, "raw": Raw}


class App:
    """The relay as a bare ASGI application; with `direct`, chunks go to the connection past uvicorn's send()."""

    def __init__(self, name: str) -> None:
        self._client_name, _, self._variant = name.partition("-")
        self._client: Any = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self._client is None:
            self._client = CLIENTS[self._client_name]()
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if b'"stream": true' not in body:
            status, answer = await self._client.post(body)
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": answer})
            return
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        await self._relay(body, receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _relay(self, body: bytes, receive: Any, send: Any) -> None:
        write = receive.__self__.transport.write
        if self._variant == "sink":
            connection = await self._client.open()
            await connection.send(self._client.encode(body), lambda data: write(b"%x\r\n%b\r\n" % (len(data), data)))
        elif self._variant == "direct":
            async for data in self._client.stream(body):
                write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            async for data in self._client.stream(body):
                await send({"type": "http.response.body", "body": data, "more_body": True})


def serve(client: str, port: int) -> None:
    uvicorn = importlib.import_module("uvicorn")
    config = {"http": "httptools", "loop": "uvloop", "ws": "none", "lifespan": "off", "access_log": False}
    quiet = {"log_level": "warning", "proxy_headers": False, "server_header": False, "date_header": False}
    uvicorn.run(App(client), host="127.0.0.1", port=port, backlog=4096, **config, **quiet)


LOADS = (
    Load("json@1", 1, requests=4000),
    Load("json@16", 16, requests=12_000),
    Load("stream@50", 50),
    Load("stream@500", 500),
    Load("stream@1000", 1000, gap_ms=40),
)
HEADINGS = ("client", *(load.name for load in LOADS), "first byte p50", "first byte p99", "gap p99", "RSS MB")


def _start(stack: ExitStack, arguments: list[str], port: int) -> int:
    """Starts a module of this package and returns its process id once something answers on its port."""
    log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headgate-bench-"))) / "log"
    command = [sys.executable, "-m", *arguments, "--port", str(port)]
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    process = stack.enter_context(server.running(command, environment, log))
    target = Target(port)

    async def listens() -> bool:
        return b"200 OK" in await target.raw(target.request(stream=False))

    server.wait_until(listens, process, 20)
    return process.pid


def compare(clients: list[str], rounds: int) -> dict[str, dict[str, Figures]]:
    """Every load on every relay, round-robin; medians over the rounds."""
    runs: dict[str, dict[str, list[Figures]]] = {client: {load.name: [] for load in LOADS} for client in clients}
    with ExitStack() as stack:
        _start(stack, ["bench.upstream"], urlsplit(UPSTREAM).port or 80)
        ports = {client: server.free_port() for client in clients}
        pids = {client: _start(stack, ["bench.clients", "--serve", client], ports[client]) for client in clients}
        for client in clients:
            uvloop.run(json_load(Target(ports[client]), 16, 500))
        for _ in range(rounds):
            for load in LOADS:
                shape = {"bench_chunks": load.chunks, "bench_gap_ms": load.gap_ms}
                for client in clients:
                    figures = run(load, Target(ports[client], fields=shape), pids[client])
                    runs[client][load.name].append(figures)
                    print(client, load.name, figures, file=sys.stderr)
    return {client: {name: _medians(several) for name, several in loads.items()} for client, loads in runs.items()}


def _medians(runs: list[Figures]) -> Figures:
    return {key: statistics.median(figures[key] for figures in runs) for key in runs[0]}


def _line(client: str, figures: dict[str, Figures]) -> str:
    cost = [figures[load.name]["cpu_us"] for load in LOADS]
    few, most = figures["stream@50"], figures["stream@1000"]
    rest = [few["first_p50_ms"], few["first_p99_ms"], most["gap_p99_ms"], most["rss_mb"]]
    return f"{client:18}" + "".join(f"{value:16.1f}" for value in (*cost, *rest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", metavar="CLIENT", help="be one relay: a client, or CLIENT-direct, or raw-sink")
    parser.add_argument("--port", type=int, default=9101)
    parser.add_argument("--clients", default="self,aiohttp,aiohttp-direct,pyreqwest,pyreqwest-direct,raw,raw-sink")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port)
    else:
        server.stop_children_on_sigterm()
        results = compare(options.clients.split(","), options.rounds)
        print(f"{HEADINGS[0]:18}" + "".join(f"{heading:>16}" for heading in HEADINGS[1:]))
        print("\n".join(_line(client, figures) for client, figures in results.items()))


if __name__ == "__main__":
    main()
