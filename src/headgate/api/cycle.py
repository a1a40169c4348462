"""One request and its answer over HTTP/1.1: ASGI's messages, and a shorter way past them for the bytes of the hot path.

Two messages for a short answer, each with its checks of headers that are our own, cost more than the key check and the
log line together.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, MutableMapping
from time import monotonic
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from headgate.api.limits import Headers
from headgate.core.events import Sink
from headgate.core.run import Run

_STATUS = {status: line.removesuffix(b"\r\n") for status, line in STATUS_LINE.items()}
_BAD_NAME = re.compile(b'[\x00-\x20\x7f()<>@,;:\\[\\]={}\\\\"]')
_BAD_VALUE = re.compile(b"[\x00-\x08\x0a-\x1f\x7f]")
_BODILESS = (204, 304)
_CLOSE = (b"connection", b"close")
_as_line = b": ".join


class Cycle:
    """A request from the end of its headers on, and what was answered so far.

    `answered` is called once, with the answer's last byte.
    """

    task: "asyncio.Task[None]"
    pushed_at = 0.0
    """When a piece was sent by a sink last."""

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        transport: asyncio.Transport,
        flow: FlowControl,
        server: ServerState,
        answered: Callable[[], None],
        keep_alive: bool,
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.flow = flow
        self.parts: list[bytes] = []
        self.held = 0
        """Bytes of the body that came in pieces and were not taken yet, about."""
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False
        self._transport = transport
        self._server = server
        self._answered = answered
        self._news: asyncio.Event | None = None
        self._has_news = self._gave_leave = self._chunked = False
        self._left = 0
        """Bytes of the answer's body that are still to come where its length was told."""

    def wake(self) -> None:
        """More of the body has come, or nothing more will."""
        self._has_news = True
        if self._news is not None:
            self._news.set()

    # --- ASGI

    async def receive(self) -> dict[str, Any]:
        if not (self._gave_leave or self.response_started):
            self._gave_leave = True
            if _waits_for_leave(self.scope["headers"]) and not self._transport.is_closing():
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not (self.disconnected or self.response_complete):
            self.flow.resume_reading()
            if not self._has_news:
                self._news = self._news or asyncio.Event()
                self._news.clear()
                await self._news.wait()
            self._has_news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._take(), "more_body": self.more_body}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        expected = "http.response.body" if self.response_started else "http.response.start"
        if self.response_complete or message["type"] != expected:
            raise RuntimeError(f"The application sent '{message['type']}' where '{expected}' belongs.")
        if not self.response_started:
            self._start(message["status"], list(message.get("headers", ())))
            return
        self._transport.write(self._piece(message.get("body", b""), message.get("more_body", False)))
        if not message.get("more_body", False):
            self._end()

    def _start(self, status: int, headers: Headers) -> None:
        headers = [(name.lower(), value) for name, value in headers]
        if _BAD_NAME.search(b"".join([name for name, _ in headers])):
            raise RuntimeError("The name of a header holds what it may not.")
        if _BAD_VALUE.search(b"".join([value for _, value in headers])):
            raise RuntimeError("The value of a header holds a control character.")
        told = dict(headers)
        if b"close" in map(bytes.strip, told.get(b"connection", b"").lower().split(b",")):
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(_CLOSE)
        if b"content-length" in told:
            self._left = int(told[b"content-length"])
        elif told.get(b"transfer-encoding", b"").lower() == b"chunked":
            self._chunked = True
        elif self.scope["method"] != "HEAD" and status not in _BODILESS:
            self._chunked = True
            headers.append((b"transfer-encoding", b"chunked"))
        self.response_started = True
        self._transport.write(self._head(status, headers))

    def _piece(self, body: bytes, more: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            self._left = 0
            return b""
        if self._chunked:
            return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        self._left -= len(body)
        if self._left < 0 or (self._left and not more):
            raise RuntimeError("The answer is not as long as its headers say.")
        return body

    # --- the shorter way

    def body(self) -> bytes | None:
        """The request's body when all of it came with its head, as is usual; None when it has to be waited for."""
        return None if self.more_body or self.disconnected else self._take()

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer at once. The headers must be valid, with the length and no `connection`."""
        if not self.disconnected:
            self.response_started = True
            if not self.keep_alive:
                headers = [*headers, _CLOSE]
            self._transport.write(self._head(status, headers, body))
            self._end()

    def sink(self, run: Run) -> Sink:
        """Sends the pieces of an answer that was started with chunked encoding, and counts their bytes for its run.

        That is all that is done for most frames of a stream, so it is one call.
        """
        write, flow = self._transport.write, self.flow

        def push(piece: bytes) -> bool:
            size = len(piece)
            run.bytes_out += size
            self.pushed_at = monotonic()
            if not self.disconnected:
                write(b"%x\r\n%b\r\n" % (size, piece))
            return not flow.write_paused

        return push

    def cut(self) -> None:
        """Close the connection without the end of the answer, once what was sent is out."""
        self.disconnected = True
        self._transport.close()

    def _take(self) -> bytes:
        parts, self.parts, self.held = self.parts, [], 0
        return b"".join(parts)

    def _head(self, status: int, headers: Headers, body: bytes = b"") -> bytes:
        always = self._server.default_headers
        return b"\r\n".join([_STATUS[status], *map(_as_line, always), *map(_as_line, headers), b"", body])

    def _end(self) -> None:
        self.response_complete = True
        if self._news is not None:
            self._news.set()
        if not self.keep_alive:
            self._transport.close()
        self._answered()


def _waits_for_leave(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return dict(headers).get(b"expect", b"").lower() == b"100-continue"


def goes_on(scope: MutableMapping[str, Any], task: "asyncio.Task[None]") -> bool:
    """Whether the work for a caller who left goes on for a while, for it may come back for the rest."""
    lingers = scope.get("lingers")
    return lingers is not None and bool(lingers(task))


def cycle_of(way: Any) -> Cycle | None:
    """The cycle behind an ASGI `receive` or `send`; None when it is not this server's own."""
    try:
        cycle = way.__self__
    except AttributeError:
        return None
    return cycle if type(cycle) is Cycle else None
