"""Our own HTTP/1.1 says byte for byte what uvicorn's would, and keeps to the same rules of connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from headgate.api.protocol import bounded
from tests.harness.stub import BOUND
from tests.requirements import covers

pytestmark = covers("bounds")

Application = Callable[[Any, Any, Any], Awaitable[None]]
GET = b"GET /a%20b?c=d HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
LARGE = b"x" * 300_000


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def saying(*messages: dict[str, Any]) -> Application:
    """An application that reads the body and answers with these messages."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            continue
        for message in messages:
            await send(message)

    return answer


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Tells the request, and then the body as it comes."""
    told = {name: scope[name] for name in ("method", "path", "raw_path", "query_string", "http_version", "scheme")}
    await send(start(200, (b"X-Seen", b"yes")))
    await send(piece(repr((told, list(scope["headers"]))).encode(), more=True))
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send(piece(message["body"], more=more))


async def early(scope: Any, receive: Any, send: Any) -> None:
    """Answers without a look at the body."""
    await send(start(413, (b"content-length", b"2")))
    await send(piece(b"no"))


async def faulty(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a fault")


async def faulty_later(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send(piece(b"half", more=True))
    raise ValueError("a fault")


@asynccontextmanager
async def serving(kind: Any, app: Application, idle: float = 30) -> AsyncIterator[tuple[int, ServerState]]:
    """(port, state) of a server whose connections speak through a protocol of this kind."""
    config = uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None, ws="none", access_log=False)
    config.timeout_keep_alive = idle  # type: ignore[assignment]
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(config, state, {}, loop), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], state
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)


def ours() -> Any:
    return bounded(64 << 10, 30)


async def exchange(kind: Any, app: Application, *pieces: bytes) -> bytes:
    """All that comes back for some bytes until the connection, idle, is closed."""
    async with asyncio.timeout(BOUND), serving(kind, app, idle=0.05) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in pieces:
            writer.write(part)
            await writer.drain()
        try:
            return await reader.read()
        except ConnectionResetError:
            return b"reset"
        finally:
            writer.close()


REQUESTS = {
    "a GET": [GET],
    "a HEAD": [GET.replace(b"GET", b"HEAD")],
    "a POST": [POST],
    "one in HTTP/1.0": [POST.replace(b"1.1", b"1.0")],
    "one in HTTP/1.0 that would stay": [
        GET.replace(b"1.1", b"1.0").replace(b"host", b"connection: keep-alive\r\nhost")
    ],
    "one that ends the connection": [GET.replace(b"host", b"connection: close\r\nhost"), GET],
    "three in a row": [POST + GET + POST],
    "one byte by byte": [bytes([byte]) for byte in POST + POST],
    "chunks with a trailer": [
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nx: y\r\n\r\n"
    ],
    "leave that is waited for": [POST.replace(b"host", b"Expect: 100-Continue\r\nhost")],
    "the same header twice": [GET.replace(b"host", b"X-A: 1\r\nx-a: 2\r\nhost")],
    "the whole address": [GET.replace(b"/a", b"http://else.where/a")],
    "a large body": [POST.replace(b"5", b"%d" % len(LARGE)).removesuffix(b"hello") + LARGE],
}
ANSWERS: dict[str, Application] = {
    "an echo": echo,
    "a length": saying(start(200, (b"content-length", b"2")), piece(b"ok")),
    "no length": saying(start(), piece(b"a", more=True), piece(b"", more=True), piece(b"b" * 20)),
    "its own chunks": saying(
        start(200, (b"transfer-encoding", b"chunked")),
        piece(b"a"),
    ),
    "nothing": saying(start(204), piece(b"")),
    "an unknown status": saying(start(599), piece(b"?")),
    "nothing at all": saying(),
    "a fault": faulty,
    "a body without a start": saying(piece(b"a")),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("request_", REQUESTS)
async def test_what_goes_out_is_what_uvicorns_own_protocol_sends(request_: str, answer: str) -> None:
    pieces, app = REQUESTS[request_], ANSWERS[answer]
    expected, seen = await asyncio.gather(exchange(HttpToolsProtocol, app, *pieces), exchange(ours(), app, *pieces))
    assert expected == seen
    assert expected


@pytest.mark.parametrize(
    "app",
    [
        faulty_later,
        saying(start(), piece(b"half", more=True)),
        saying(start(200, (b"content-length", b"2")), piece(b"more")),
        saying(start(200, (b"content-length", b"9")), piece(b"less")),
        saying(start(), start()),
    ],
)
async def test_an_answer_that_breaks_its_word_is_cut_off(app: Application) -> None:
    seen = await exchange(ours(), app, GET, GET)
    assert seen.startswith(b"HTTP/1.1 200 OK\r\n")
    assert seen.count(b"HTTP/1.1") == 1
    assert not seen.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x y", b"a"), (b"x:", b"a"), (b"", b"\0")])
async def test_a_header_that_is_none_is_never_sent(header: tuple[bytes, bytes]) -> None:
    seen = await exchange(ours(), saying(start(200, header), piece(b"a")), GET)
    assert seen.startswith(b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain")
    assert b"200 OK" not in seen


async def test_a_connection_is_kept_while_requests_come_and_closed_when_none_does() -> None:
    async with asyncio.timeout(BOUND), serving(ours(), ANSWERS["a length"], idle=0.3) as (port, state):
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):
            writer.write(GET)
            await reader.readuntil(b"ok")
            last = loop.time()
            await asyncio.sleep(0.15)
        assert await reader.read() == b""
        assert loop.time() - last >= 0.29
        assert not state.connections
        writer.close()


async def test_a_body_that_nobody_wants_does_not_stop_the_connection() -> None:
    """Answered early, the rest of the body is passed over, and the next request is served."""
    head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (20 * len(LARGE))
    seen = await exchange(ours(), early, head, *[LARGE] * 20, POST)
    assert seen.count(b"HTTP/1.1 413") == 2


async def test_a_body_waits_in_the_socket_while_nobody_reads_it() -> None:
    asked, held = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await held.wait()
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message["more_body"]
        await send(start())
        await send(piece(b"%d bytes" % size))

    async with asyncio.timeout(BOUND), serving(ours(), slow) as (port, state):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (40 * len(LARGE)))
        await asked.wait()
        for _ in range(40):
            writer.write(LARGE)
        (connection,) = state.connections
        while not connection.flow.read_paused:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        held.set()
        await reader.readuntil(b"%d bytes" % (40 * len(LARGE)))
        writer.close()


async def test_all_who_wait_are_told_that_the_caller_left() -> None:
    told: list[str] = []
    ended, waiting = asyncio.Event(), asyncio.Event()

    async def watch(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        watchers = [asyncio.ensure_future(receive()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting.set()
        told.extend([(await watcher)["type"] for watcher in watchers])
        ended.set()

    async with asyncio.timeout(BOUND), serving(ours(), watch) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await waiting.wait()
        writer.close()
        await ended.wait()
    assert told == ["http.disconnect"] * 2


async def test_a_server_that_ends_closes_idle_connections_and_lets_the_others_finish() -> None:
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        at_work.set()
        await go_on.wait()
        await send(start(200, (b"content-length", b"2")))
        await send(piece(b"ok"))

    async with asyncio.timeout(BOUND), serving(ours(), slow) as (port, state):
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        busy, busy_writer = await asyncio.open_connection("127.0.0.1", port)
        busy_writer.write(GET)
        await at_work.wait()
        for connection in list(state.connections):
            connection.shutdown()
        assert await idle.read() == b""
        go_on.set()
        assert b"connection: close\r\n" in await busy.read()
        idle_writer.close()
        busy_writer.close()
