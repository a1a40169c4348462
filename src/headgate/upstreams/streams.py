"""The two kinds of answers that come in pieces: server-sent events, and anything else."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

from headgate.core.errors import UpstreamBroke, UpstreamError
from headgate.core.events import Room, Sink
from headgate.core.run import Attempt, now
from headgate.upstreams.http import Response

_TRAILER_SECONDS = 0.5


class Relay(Protocol):
    """What a provider's events become on their way to the caller; see FrameRelay."""

    failure: UpstreamError | None
    done: bool

    @property
    def began(self) -> bool: ...

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class EventStream:
    """Server-sent events, relayed frame by frame."""

    content_type = b"text/event-stream; charset=utf-8"
    events = True

    def __init__(self, response: Response, relay: Relay) -> None:
        self.before_end: Callable[[], None] | None = None
        self.broken: Callable[[int, Mapping[str, Any]], bytes] | None = getattr(relay, "broken", None)
        """The last events if it breaks off, where the relay knows better than the dialect what to say."""
        self._response = response
        self._relay = relay
        self._first = b""
        self._ended = False

    async def begin(self) -> Self:
        """Wait for the first event, so that a stream that begins with an error can still be tried elsewhere.

        Comments before it are kept until then.
        """
        first = b""
        while not self._relay.began and (frames := await self.next()):
            first += frames
        if not self._relay.began:
            raise UpstreamBroke("The provider's stream ended before its first event.")
        self._first = first
        return self

    async def next(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        relay = self._relay
        while not (relay.done or relay.failure) and (piece := await self._response.piece()):
            if frames := relay.feed(piece):
                if self._relay.done:
                    self._finish()
                return frames
        if self._ended:
            return b""
        self._ended = True
        if relay.done and not self._response.ended:
            await self._read_trailer()
        rest = relay.end()
        if rest:
            self._finish()
        return rest

    async def pour(self, sink: Sink, room: Room) -> None:
        relay, response = self._relay, self._response

        def pass_on(piece: bytes) -> bool:
            try:
                frames = relay.feed(piece)
            except UpstreamError as fault:
                relay.failure = fault
                frames = b""
            if relay.done or relay.failure:
                response.stop_pouring()
                if relay.done:
                    self._finish()
            return sink(frames) if frames else True

        if not sink(await self.next()):
            await room()
        if not (relay.done or relay.failure):
            await response.pour(pass_on, room)

    def _finish(self) -> None:
        if self.before_end is not None:
            self.before_end()

    async def _read_trailer(self) -> None:
        """After the last frame the connection gets a moment to end, so that it can serve again; not more."""
        try:
            async with asyncio.timeout(_TRAILER_SECONDS):
                while await self._response.piece():
                    pass
        except (TimeoutError, UpstreamError):
            return

    def close(self) -> None:
        self._response.close()


class PieceStream:
    """Bytes of any other kind, such as speech, passed on as they come."""

    events = False

    def __init__(self, response: Response, attempt: Attempt) -> None:
        self.before_end: Callable[[], None] | None = None
        self._response = response
        self._attempt = attempt
        self._first = b""
        self.content_type = response.content_type or b"application/octet-stream"

    async def begin(self) -> Self:
        self._first = await self._response.piece()
        self._attempt.first_token = now()
        return self

    async def next(self) -> bytes:
        self._attempt.chunks += 1
        if self._first:
            first, self._first = self._first, b""
            return first
        return await self._response.piece()

    async def pour(self, sink: Sink, room: Room) -> None:
        def pass_on(piece: bytes) -> bool:
            self._attempt.chunks += 1
            return sink(piece)

        if not sink(await self.next()):
            await room()
        await self._response.pour(pass_on, room)

    def close(self) -> None:
        self._response.close()
