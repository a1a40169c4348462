"""Events to HTTP: one JSON body, or a stream with keep-alive comments. Never changes what the events carry."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from headgate.api.cycle import cycle_of
from headgate.api.decisions import decision_headers
from headgate.api.errors import broken_off, error_response
from headgate.api.gate import Send
from headgate.api.limits import Headers
from headgate.core import sse
from headgate.core.chat import ChatEvent, Ended
from headgate.core.errors import HeadgateError, UpstreamBroke
from headgate.core.events import Event, Opened, Whole
from headgate.core.run import Run
from headgate.dialects.table import CALLERS
from headgate.dialects.types import EVENT_STREAM, Writer
from headgate.idempotency.types import Answer, Started
from headgate.pipeline.translate import writer_for

_OF_THE_MOMENT = b"x-ratelimit-"
"""Headers that are not true any more when an answer is repeated."""


class Reply:
    """The answer to one request. `pings`: seconds of silence after which a stream gets a comment; 0 for never."""

    started = False
    _writer: Writer | None = None
    _timer: asyncio.TimerHandle | None = None
    _pinging: "asyncio.Task[None] | None" = None
    _pings = 0.0
    _last = 0.0
    """When something was sent last, but for what a sink sent."""
    _opened = False
    _events = False

    def __init__(self, send: Send, run: Run, litellm: bool = False) -> None:
        self._send = send
        self.cycle = cycle_of(send)
        self._run = run
        self._litellm = litellm

    async def deliver(self, events: AsyncGenerator[Event | ChatEvent], pings: float) -> None:
        """Send all that comes. Raises what the events raise; `fail` then tells the caller."""
        if pings:
            self._pings = pings
            self._last = monotonic()
            self._timer = asyncio.get_running_loop().call_later(pings, self._ping_if_silent)
        try:
            async for event in events:
                if isinstance(event, Whole):
                    await self._whole(event)
                elif isinstance(event, bytes):
                    await self._piece(event)
                elif isinstance(event, Opened):
                    if not self.started:
                        await self._open(event.content_type, event.events)
                    if self.cycle is not None:
                        await event.pour(self.cycle.sink(self._run), self.cycle.flow.drain)
                else:
                    await self._say(event)
        finally:
            self._stop_pings()
            await events.aclose()
        if self._opened:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _say(self, event: ChatEvent) -> None:
        """One event of a run that the gateway steers, in the caller's words."""
        if self._writer is None:
            run = self._run
            self._writer = writer_for(run.dialect, run.asked or {}, run, usage=run.wants_usage)
            run.breaks_off = self._writer.broken
        if piece := self._writer.feed(event):
            if not self.started:
                await self._open(self._stream_type, events=True)
            await self._piece(piece)
        if type(event) is Ended and (body := self._writer.end()):
            await self._whole(Whole(body))  # before the run is settled, so that its status and size are known

    async def replay(self, answer: Answer, *, again: bool) -> None:
        """Send a recorded answer, and follow one that is still being made. `again`: the caller is not its first.

        Raises MakerGone, or UpstreamBroke for an answer that was broken off.
        """
        async with aclosing(answer.events()) as events:
            async for event in events:
                if type(event) is bytes:
                    await self._piece(event)
                elif type(event) is Started:
                    await self._begin_again(event, again=again)
        if answer.ended is None or not answer.ended.is_whole or not self.started:
            raise UpstreamBroke("The recorded answer ends before it is complete.")
        self._run.outcome = answer.ended.outcome
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin_again(self, answer: Started, *, again: bool) -> None:
        headers = answer.headers
        if again:
            headers = [header for header in headers if not header[0].startswith(_OF_THE_MOMENT)]
            headers.append((b"idempotent-replayed", b"true"))
            self._run.label = answer.label
        self._events = any(name == b"content-type" and kind.startswith(b"text/event-") for name, kind in headers)
        await self._start(answer.status, headers)

    async def fail(self, error: HeadgateError) -> None:
        """Tell the caller of an error: as a status while nothing was sent, else as the stream's last event.

        An answer of another kind cannot say that it is not complete; its connection is cut.
        """
        self._stop_pings()
        if not self.started:
            run = self._run
            status, headers, body = error_response(error, run.id, litellm=self._litellm, dialect=run.dialect)
            headers += decision_headers(run, litellm=self._litellm)
            await self._start(status, headers)
        elif self._events:
            body = broken_off(error, self._run, litellm=self._litellm)
        else:
            if self.cycle is not None:
                self.cycle.cut()
            return
        self._run.bytes_out += len(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    @property
    def _stream_type(self) -> bytes:
        dialect = self._run.dialect
        return CALLERS[dialect].content_type if dialect else EVENT_STREAM

    @property
    def caller_left(self) -> bool:
        return self.cycle is not None and self.cycle.disconnected

    async def _whole(self, answer: Whole) -> None:
        body, content_type = answer
        cycle, run = self.cycle, self._run
        headers = self._headers(content_type)
        headers.append((b"content-length", b"%d" % len(body)))
        run.bytes_out = len(body)
        if cycle is None:
            await self._start(200, headers)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
            return
        self.started = True
        run.status = 200
        if cycle.flow.write_paused:
            await cycle.flow.drain()
        cycle.whole(200, headers, body)

    async def _open(self, content_type: bytes, events: bool, *, answered: bool = True) -> None:
        """Begin a stream. Before anyone answered, nobody can be named as the target."""
        headers = self._headers(content_type, answered=answered)
        if events:
            headers += ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
        self._opened = True
        self._events = events
        await self._start(200, headers)

    async def _piece(self, piece: bytes) -> None:
        self._last = monotonic()
        self._run.bytes_out += len(piece)
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _start(self, status: int, headers: Headers) -> None:
        self.started = True
        self._run.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _headers(self, content_type: bytes, *, answered: bool = True) -> Headers:
        headers = [(b"content-type", content_type), (b"x-request-id", self._run.id.encode())]
        if self._run.dialect == "messages":
            headers.append((b"request-id", self._run.id.encode()))
        if answered:
            headers += decision_headers(self._run, litellm=self._litellm)
        return headers

    def _ping_if_silent(self) -> None:
        """Between two events the stream may stay silent; a comment keeps proxies and clients from giving up."""
        loop = asyncio.get_running_loop()
        last = self._last if self.cycle is None else max(self._last, self.cycle.pushed_at)
        silent = monotonic() - last
        if silent >= self._pings:
            self._last = monotonic()
            self._pinging = loop.create_task(self._ping())
            silent = 0.0
        self._timer = loop.call_later(self._pings - silent, self._ping_if_silent)

    def _stop_pings(self) -> None:
        self._pings = 0.0
        if self._timer is not None:
            self._timer.cancel()

    async def _ping(self) -> None:
        if not self._pings:
            return  # the stream ended before this task had its turn
        if not self.started:
            await self._open(self._stream_type, events=True, answered=False)
        ping = CALLERS[self._run.dialect].ping if self._run.dialect else sse.PING
        await self._send({"type": "http.response.body", "body": ping, "more_body": True})
