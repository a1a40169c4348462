"""HTTP/1.1 as uvicorn speaks it, with what it leaves out: bounded headers, a deadline for a request to arrive whole,
errors in our envelope, and an end to work whose caller has left.
"""

import asyncio
import sys
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from headgate.api.errors import error_response
from headgate.api.limits import Headers
from headgate.core.errors import BodyTimeout, HeadersTooLarge, HeadgateError, InvalidHttp
from headgate.core.ids import new_run_id

_LINGER_SECONDS = 2.0
_FRAMING = (b"content-length", b"transfer-encoding")


class GateProtocol(HttpToolsProtocol):
    """One connection. The bounds are set on a subclass; see `bounded`."""

    header_limit: ClassVar[int] = 64 << 10
    arrival_seconds: ClassVar[float] = 300.0
    sockets: ClassVar[frozenset[bytes]] = frozenset()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._in_head = True
        self._arriving = False
        self._deadline: asyncio.TimerHandle | None = None
        self._work: tuple[RequestResponseCycle, asyncio.Task[None]] | None = None
        self._refusal: HeadgateError | None = None
        self._refused = False
        self._data = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arriving = True
        self._deadline = self.loop.call_later(self.arrival_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._disarm()
        self._abandon()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        self._data = data
        super().data_received(data)
        self._data = b""
        if self._in_head and self._head_bytes > self.header_limit:
            self._refuse(HeadersTooLarge(f"The headers have more than {self.header_limit} bytes."))
        elif not self._arriving:
            self._disarm()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.arrival_seconds, self._too_slow)

    def _unsupported_upgrade_warning(self) -> None:
        """Serve a request that offers another protocol as what it also is.

        The parser takes all that follows such a head for the other protocol; another reads it as the body.
        """
        fault = sys.exception()
        rest = self._data[fault.args[0] :] if fault is not None else b""
        framing = {name: value for name, value in self.headers if name in _FRAMING}
        self.parser = httptools.HttpRequestParser(self)
        if framing:
            self._in_head, self._arriving, self.cycle.more_body = False, True, True
            self.parser = _BodyParser(self, framing)  # type: ignore[assignment]
        self.data_received(rest)

    def _should_upgrade(self) -> bool:
        """To a WebSocket, at the paths that have such a form; everywhere else the offer is passed over."""
        path = self.url.partition(b"?")[0]
        return path in self.sockets and self.scope["method"] == "GET" and self._get_upgrade() == b"websocket"

    def handle_websocket_upgrade(self) -> None:
        from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol  # noqa: PLC0415 - slow, and few need it

        self._arriving = False
        self.ws_protocol_class = WebSocketsSansIOProtocol
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arriving = True

    def on_headers_complete(self) -> None:
        if self._head_bytes > self.header_limit:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.header_limit:
                self._refusal = HeadersTooLarge(f"The headers have more than {self.header_limit} bytes.")
                raise self._refusal
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0
        self._arriving = False
        if not self.pipeline:
            self.flow.resume_reading()  # paused by a large body, we would not notice that the caller leaves

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or InvalidHttp("The bytes are not an HTTP/1.1 request."))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._work = cycle, task

    def _abandon(self) -> None:
        """End the work for a caller who has left, also when further requests of his wait behind it."""
        if self._work is None or self._work[0].response_complete:
            return
        cycle, task = self._work
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.scope.get("cancel_on_disconnect"):
            task.cancel()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head and not self._head_bytes:
            self.transport.close()
        else:
            self._refuse(BodyTimeout(f"The request did not arrive whole within {self.arrival_seconds:g} seconds."))

    @property
    def _answering(self) -> bool:
        """Whether the request that arrives, or the one before it, has its answer or a part of it."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.response_started and not (cycle.response_complete and self._in_head)

    def _refuse(self, error: HeadgateError) -> None:
        """Answer and hang up, unless an answer is already on its way."""
        if self._refused or self.transport.is_closing():
            return
        if self._answering:
            self.transport.close()
            return
        status, headers, body = error_response(error, self._told_at_work(error) or new_run_id())
        lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers)]
        self.transport.write(b"".join([*lines, b"connection: close\r\n\r\n", body]))
        self._linger()

    def _told_at_work(self, error: HeadgateError) -> str | None:
        """Leave the error for whoever waits for the body, so that it is logged; returns the id of that run."""
        if self._in_head:
            return None
        scope: Any = self.cycle.scope
        scope["refusal"] = error
        run_id: str | None = scope.get("run_id")
        return run_id

    def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes resets the connection, and our last words could be lost."""
        self._refused = True
        self._disarm()
        self._abandon()
        self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.close)


class _BodyParser:
    """Stands in for the parser until one body, whose head was read already, has been read."""

    def __init__(self, protocol: GateProtocol, framing: Mapping[bytes, bytes]) -> None:
        self._protocol = protocol
        length = framing.get(b"content-length")
        self._left = int(length) if length is not None else None
        if length is None:
            self._chunks = httptools.HttpRequestParser(self)
            self._chunks.feed_data(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")

    def feed_data(self, data: bytes) -> None:
        if self._left is None:
            self._chunks.feed_data(data)
            return
        body, rest = data[: self._left], data[self._left :]
        self._left -= len(body)
        self._protocol.on_body(body)
        if not self._left:
            self.on_message_complete()
            if rest:
                self._protocol.data_received(rest)

    def should_upgrade(self) -> bool:
        return False

    def on_body(self, body: bytes) -> None:
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        self._protocol.parser = httptools.HttpRequestParser(self._protocol)
        self._protocol.on_message_complete()


class Outlet:
    """The way to the caller past ASGI's messages, for the bytes of the hot path; everything else is uvicorn's.

    Two messages for a short answer, each with its checks of headers that are our own, cost more than the key check and
    the log line together.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer at once. The headers must be valid and hold no `connection`."""
        cycle = self._cycle
        if cycle.flow.write_paused:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        lines = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            lines += (name, b": ", value, b"\r\n")
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", body)
        cycle.transport.write(b"".join(lines))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def push(self, piece: bytes) -> bool:
        """Send a piece of an answer that was started with chunked encoding; says whether there is room for more."""
        cycle = self._cycle
        if not cycle.disconnected:
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return not cycle.flow.write_paused

    async def room(self) -> None:
        """Until the caller has taken enough of what was sent."""
        await self._cycle.flow.drain()

    @property
    def caller_left(self) -> bool:
        return bool(self._cycle.disconnected)

    def cut(self) -> None:
        """Close the connection without the end of the answer, once what was sent is out."""
        self._cycle.disconnected = True
        self._cycle.transport.close()


def body_at_hand(receive: Any) -> bytes | None:
    """The request's body when all of it came with its head, as is usual; None when it has to be waited for."""
    cycle = getattr(receive, "__self__", None)
    if type(cycle) is not RequestResponseCycle or cycle.more_body or cycle.disconnected:
        return None
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


def outlet_of(send: Any) -> Outlet | None:
    """The outlet behind an ASGI `send`; None when it is not this server's own."""
    cycle = getattr(send, "__self__", None)
    return Outlet(cycle) if type(cycle) is RequestResponseCycle else None


def bounded(header_limit: int, arrival_seconds: float, sockets: Iterable[str] = ()) -> type[GateProtocol]:
    """The protocol with these bounds: bytes of request line and headers, seconds for a request to arrive.

    `sockets`: paths that have a WebSocket form.
    """
    paths = frozenset(path.encode() for path in sockets)
    bounds = {"header_limit": header_limit, "arrival_seconds": arrival_seconds, "sockets": paths}
    return type("BoundedGateProtocol", (GateProtocol,), bounds)
