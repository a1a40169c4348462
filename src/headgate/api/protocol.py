"""One connection of a caller, HTTP/1.1: requests out of bytes, bounded headers, a deadline for each to arrive whole,
errors in our envelope, and an end to work whose caller has left.

uvicorn's server runs it in the place of its own protocol; parsing is llhttp's, through httptools.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from headgate.api.cycle import Cycle, goes_on
from headgate.api.errors import error_response
from headgate.core.errors import BodyTimeout, HeadersTooLarge, HeadgateError, InvalidHttp
from headgate.core.ids import new_run_id

log = logging.getLogger(__name__)
_LINGER_SECONDS = 2.0
_FRAMING = (b"content-length", b"transfer-encoding")
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_FAULT = b"Internal Server Error"
_OF_A_FAULT = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(_FAULT))]


class GateProtocol(asyncio.Protocol):
    """One connection. The bounds are set on a subclass; see `bounded`."""

    header_limit: ClassVar[int] = 64 << 10
    arrival_seconds: ClassVar[float] = 300.0
    sockets: ClassVar[frozenset[bytes]] = frozenset()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.loop = _loop or asyncio.get_event_loop()
        self._config = config
        self._app: Any = config.loaded_app
        self._idle_seconds = config.timeout_keep_alive
        self._server = server_state
        self.parser = httptools.HttpRequestParser(self)
        # What follows an answered request that ends the connection is not looked at.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.flow: FlowControl = cast(FlowControl, None)
        self._place: dict[str, Any] = {}
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._cycle: Cycle | None = None
        """The request whose bytes came last; those before it may still wait for their answers."""
        self._at_work: Cycle | None = None
        self._waiting: deque[Cycle] = deque()
        self._head_bytes = 0
        self._in_head = True
        self._arriving = False
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._idle_look: asyncio.TimerHandle | None = None
        self._refusal: HeadgateError | None = None
        self._refused = False

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.flow = FlowControl(self.transport)
        self._server.connections.add(self)  # type: ignore[arg-type]
        self._place = {
            "type": "http",
            "asgi": _ASGI,
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "scheme": "https" if is_ssl(self.transport) else "http",
            "root_path": "",
        }
        self._arriving = True
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if exc is None:
            self.transport.close()
        self._disarm()
        if self._idle_look is not None:
            self._idle_look.cancel()
        if self._cycle is not None:
            self._cycle.disconnected = not self._cycle.response_complete
            self._cycle.wake()
        self._abandon()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]
        self._cycle = self._at_work = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            (self._hand_over if self._wants_socket() else self._pass_over)(data[offer.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidHttp("The bytes are not an HTTP/1.1 request."))
            return
        if not self._arriving:
            if self._deadline is not None:
                self._disarm()
        else:
            self._wait_for_more(len(data))

    def _wait_for_more(self, fresh: int) -> None:
        """Something of a request came, but not all."""
        if self._in_head and self._head_bytes > self.header_limit:
            self._refuse(HeadersTooLarge(f"The headers have more than {self.header_limit} bytes."))
            return
        cycle = self._cycle
        if cycle is not None and not (self._in_head or cycle.response_complete):
            cycle.held += fresh
            if cycle.held > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.wake()
        if self._deadline is None:
            self._arm()

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    def shutdown(self) -> None:
        """The server ends: no further request after this one."""
        if self._cycle is None or self._cycle.response_complete:
            self.transport.close()
        else:
            self._cycle.keep_alive = False

    def _pass_over(self, rest: bytes) -> None:
        """Serve a request that offers another protocol as what it also is.

        The parser takes all that follows such a head for the other protocol; another reads it as the body.
        """
        framing = {name: value for name, value in self.headers if name in _FRAMING}
        self.parser = httptools.HttpRequestParser(self)
        if framing and self._cycle is not None:
            self._in_head, self._arriving, self._cycle.more_body = False, True, True
            self.parser = _BodyParser(self, framing)  # type: ignore[assignment]
        self.data_received(rest)

    def _wants_socket(self) -> bool:
        """A WebSocket, at the paths that have such a form; everywhere else the offer is passed over."""
        if self.url.partition(b"?")[0] not in self.sockets or self.parser.get_method() != b"GET":
            return False
        headers = dict(self.headers)
        offers = headers.get(b"connection", b"").lower().replace(b" ", b"").split(b",")
        is_free = self._cycle is None or self._cycle.response_complete
        return is_free and b"upgrade" in offers and headers.get(b"upgrade", b"").lower() == b"websocket"

    def _hand_over(self, rest: bytes) -> None:
        """The connection goes on as a WebSocket's; `rest` is what came behind the request."""
        from uvicorn.protocols.websockets.websockets_sansio_impl import (  # noqa: PLC0415 - slow, and few need it
            WebSocketsSansIOProtocol,
        )

        self._arriving = False
        self._disarm()
        if self._idle_look is not None:
            self._idle_look.cancel()
        self._server.connections.discard(self)
        lines = [b"GET %b HTTP/1.1" % self.url, *(b"%b: %b" % header for header in self.headers), b"", rest]
        protocol = WebSocketsSansIOProtocol(self._config, self._server, {})
        protocol.connection_made(self.transport)
        protocol.data_received(b"\r\n".join(lines))
        self.transport.set_protocol(protocol)

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._arriving = True
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._head_bytes > self.header_limit:
            self._check_size()
        parser = self.parser
        if self.sockets and parser.should_upgrade() and self._wants_socket():
            return
        path, raw_path, query = _target(self.url)
        version = parser.get_http_version()
        before = self._cycle
        self._cycle = cycle = Cycle(
            {
                **self._place,
                "http_version": version,
                "method": parser.get_method().decode(),
                "path": path,
                "raw_path": raw_path,
                "query_string": query,
                "headers": self.headers,
            },
            self.transport,
            self.flow,
            self._server,
            self._next,
            version != "1.0" and parser.should_keep_alive(),
        )
        self._in_head = False
        if before is None or before.response_complete:
            self._begin(cycle)
        else:
            self.flow.pause_reading()
            self._waiting.append(cycle)

    def _check_size(self) -> None:
        """Of a request that came at once, the body was counted with its head."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.header_limit:
            self._refusal = HeadersTooLarge(f"The headers have more than {self.header_limit} bytes.")
            raise self._refusal

    def on_body(self, body: bytes) -> None:
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete:
            cycle.parts.append(body)

    def on_message_complete(self) -> None:
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete:
            cycle.more_body = False
            cycle.wake()
        self._in_head = True
        self._head_bytes = 0
        self._arriving = False
        if self.flow.read_paused and not self._waiting:
            self.flow.resume_reading()  # paused by a large body, we would not notice that the caller leaves

    # --- work

    def _begin(self, cycle: Cycle) -> None:
        self._at_work = cycle
        cycle.task = self.loop.create_task(self._answer(cycle))
        self._server.tasks.add(cycle.task)

    async def _answer(self, cycle: Cycle) -> None:
        try:
            await self._app(cycle.scope, cycle.receive, cycle.send)
            if not (cycle.response_complete or cycle.disconnected):
                raise RuntimeError("The application ended without a complete answer.")
        except BaseException:
            log.exception("the application failed")
            if cycle.response_started:
                self.transport.close()
            else:
                cycle.keep_alive = False
                await cycle.send({"type": "http.response.start", "status": 500, "headers": _OF_A_FAULT})
                await cycle.send({"type": "http.response.body", "body": _FAULT})
        finally:
            self._server.tasks.discard(cycle.task)

    def _next(self) -> None:
        """An answer is complete: go on with the request that waits behind it, if one does."""
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self._waiting:
            self._begin(self._waiting.popleft())
            return
        self._idle_since = self.loop.time()
        if self._idle_look is None:
            self._idle_look = self.loop.call_later(self._idle_seconds, self._look_if_idle)

    def _look_if_idle(self) -> None:
        """Hang up where no request came for long. One timer outlives many requests, for making it costs."""
        self._idle_look = None
        if self._arriving or (self._cycle is not None and not self._cycle.response_complete):
            return
        left = self._idle_since + self._idle_seconds - self.loop.time()
        if left > 0:
            self._idle_look = self.loop.call_later(left, self._look_if_idle)
        else:
            self.transport.close()

    # --- ends

    def _abandon(self) -> None:
        """End the work for a caller who has left, also when further requests of his wait behind it."""
        cycle = self._at_work
        if cycle is None or cycle.response_complete:
            return
        cycle.disconnected = True
        cycle.wake()
        if cycle.scope.get("cancel_on_disconnect") and not goes_on(cycle.scope, cycle.task):
            cycle.task.cancel()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.arrival_seconds, self._too_slow)

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
        cycle = self._cycle
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
        if self._in_head or self._cycle is None:
            return None
        scope = self._cycle.scope
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


@lru_cache(maxsize=256)
def _target(url: bytes) -> tuple[str, bytes, bytes]:
    """(path, path as it came, query) of a request's target; raises HttpParserInvalidURLError."""
    parts = httptools.parse_url(url)
    path = parts.path.decode("ascii")
    return unquote(path) if "%" in path else path, parts.path, parts.query or b""


def bounded(header_limit: int, arrival_seconds: float, sockets: Iterable[str] = ()) -> type[GateProtocol]:
    """The protocol with these bounds: bytes of request line and headers, seconds for a request to arrive.

    `sockets`: paths that have a WebSocket form.
    """
    paths = frozenset(path.encode() for path in sockets)
    bounds = {"header_limit": header_limit, "arrival_seconds": arrival_seconds, "sockets": paths}
    return type("BoundedGateProtocol", (GateProtocol,), bounds)
