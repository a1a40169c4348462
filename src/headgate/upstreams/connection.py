"""One HTTP/1.1 connection to a provider, serving one call at a time: the answer's bytes, and its deadlines.

Parsing is llhttp's, through httptools. Knows no pool, no proxy and no TLS; see `http` for those.
"""

import asyncio
import socket
from collections.abc import Iterable
from typing import cast

import httptools

from headgate.core.errors import UpstreamBroke, UpstreamError, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from headgate.core.events import Room, Sink
from headgate.upstreams.types import TimeoutSettings

_MOST_BUFFERED = 512 << 10
_LARGEST_HEAD = 128 << 10


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._arrived: list[bytes] = []
        self._read: dict[bytes, bytes] = {}
        # The parser's words that need no thought of ours go where they belong without a call of Python.
        self.on_body = self._arrived.append
        self.on_header = self._read.__setitem__
        self._parser = httptools.HttpResponseParser(self)
        self._buffered = 0
        self._paused = False
        self._failure: UpstreamError | None = None
        self._sink: Sink | None = None
        self._full = False
        self._heard = False
        self._unsent = 0
        self._stalled_at = 0.0
        self._keeps_alive = False
        self._is_tainted = False
        self._timeouts = TimeoutSettings()
        self._began = 0.0
        self._heard_at = 0.0
        self._head_bytes = 0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.head_complete = False
        self.complete = False
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.lost = False
        self.idle_until = 0.0

    # --- the caller's side

    async def call(self, request: Iterable[bytes], timeouts: TimeoutSettings) -> None:
        """Send a request and wait for the answer's headers."""
        self._began = self._heard_at = self._loop.time()
        self._timeouts = timeouts
        self._head_bytes = 0
        self.head_complete = self.complete = False
        self.transport.writelines(request)
        while not self.head_complete:
            if self._failure is not None:
                raise self._failure
            await self._change()

    async def piece(self) -> bytes:
        """The next bytes of the body; empty at its end."""
        while not self._arrived:
            if self.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._change()
        data = self.take()
        if self._paused:
            self._resume()
        return data

    async def pour(self, sink: Sink, room: Room) -> None:
        """Give each further piece to `sink` as it arrives, without waking a task for it.

        Returns when the body has ended or broken off; `piece` then tells which. `sink` says whether it can take more
        at once; if not, the provider is not read until `room` returns.
        """
        self._sink = sink
        try:
            if self._arrived:
                self._full = not sink(self.take())
            while self._sink is not None:
                if self._full:
                    self._pause()
                    await room()
                    self._full = False
                    self._resume()
                elif self.complete or self._failure:
                    return
                else:
                    await self._change()
        finally:
            self._sink = None

    def stop_pouring(self) -> None:
        """What arrives from now on waits to be taken by `piece`."""
        self._sink = None
        self._wake()

    def take(self) -> bytes:
        """What has arrived and was not taken yet."""
        data = b"".join(self._arrived)
        self._arrived.clear()
        self._buffered = 0
        return data

    def _pause(self) -> None:
        if not (self._paused or self.transport.is_closing()):
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        self._heard = True  # the silence was ours
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def _change(self) -> "asyncio.Future[None]":
        """Done when something has come, ended or failed."""
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def fail(self, error: UpstreamError) -> None:
        """End the call with an error; what has arrived of the body can still be read."""
        if self._failure is None:
            self._failure = error
        self._wake()
        self.transport.abort()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def drained(self) -> bool:
        """Whether the whole body came and was taken."""
        return self.complete and not self._arrived

    @property
    def reusable(self) -> bool:
        return (
            self.complete
            and self._keeps_alive
            and not (self.lost or self._arrived or self._failure or self._is_tainted)
            and not self.transport.get_write_buffer_size()  # answered before it had read the whole request
        )

    def check_deadlines(self, now: float) -> None:
        """End the call when one of its deadlines has passed."""
        if self.complete:
            return
        if self._heard:
            self._heard = False
            self._heard_at = now
        if now >= self._began + self._timeouts.total:
            self.fail(UpstreamTimeout("The call took longer than its total time."))
        elif self._unsent:
            left = self.transport.get_write_buffer_size()
            if left < self._unsent:
                self._unsent, self._stalled_at = left, now + self._timeouts.write
            elif now >= self._stalled_at:
                self.fail(UpstreamTimeout("The provider stopped reading the request."))
        elif now >= self._heard_at + self._timeouts.read and not self._paused:
            began = (
                "fell silent in the middle of its answer" if self.head_complete else "did not begin to answer in time"
            )
            self.fail(UpstreamTimeout(f"The provider {began}."))

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self.lost = True  # nobody asked: the next call must not take this for its answer
            self.transport.abort()
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            self.fail(_not_read(fault))
            return
        sink, arrived = self._sink, self._arrived
        if sink is not None:
            if arrived:
                piece = b"".join(arrived)
                arrived.clear()
                if not sink(piece):
                    self._full = True
            if self._full or self.complete:
                self._wake()
        elif self.head_complete:
            self._buffered += len(data)
            if self._buffered > _MOST_BUFFERED:
                self._pause()
            self._wake()
        else:
            self._head_bytes += len(data)
            if self._head_bytes > _LARGEST_HEAD:
                self.fail(UpstreamGarbled("The provider's headers do not end."))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.complete:
            return
        if self.head_complete and exc is None and self._failure is None and self._ends_with_connection:
            self.complete = True
        elif self._failure is None:
            self._failure = (
                UpstreamBroke("The provider broke off in the middle of its answer.")
                if self.head_complete
                else UpstreamUnreachable("The provider closed the connection without an answer.")
            )
        self._wake()

    def pause_writing(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._stalled_at = self._loop.time() + self._timeouts.write

    def resume_writing(self) -> None:
        self._unsent = 0
        self._heard = True

    # --- the parser's side

    def on_message_begin(self) -> None:
        if self.complete and not self._is_tainted:
            self._is_tainted = True  # a second answer to one request: it goes where nobody looks
            self._arrived = self._arrived.copy()
        self._read.clear()

    def on_headers_complete(self) -> None:
        if not self._is_tainted:
            read = self._read
            self.headers = dict(zip(map(bytes.lower, read), read.values(), strict=True))
            self.status = self._parser.get_status_code()
            self.head_complete = self.status >= 200

    def on_message_complete(self) -> None:
        if not self.head_complete:
            return  # 100 Continue and its kind; the real answer follows
        self.complete = True
        self._keeps_alive = self._parser.should_keep_alive()

    @property
    def _ends_with_connection(self) -> bool:
        """Without a length and without chunks, the end of the connection is the end of the body."""
        return b"content-length" not in self.headers and b"chunked" not in self.headers.get(b"transfer-encoding", b"")


def _not_read(fault: Exception) -> UpstreamGarbled:
    if isinstance(fault, httptools.HttpParserUpgrade):
        return UpstreamGarbled("The provider switched to another protocol.")
    return UpstreamGarbled("The provider's answer is not HTTP.")
