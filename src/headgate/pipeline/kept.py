"""A stream whose beginning is kept while it passes, for traces that tell the answer. Changes nothing of it."""

from collections.abc import Callable

from headgate.core.events import Room, Sink
from headgate.core.ports import Stream
from headgate.core.run import Attempt


class KeptStream:
    """A stream around another; `most` bytes of it are put into the attempt's `answer`."""

    def __init__(self, stream: Stream, attempt: Attempt, most: int) -> None:
        self._stream = stream
        self._kept = attempt.answer = bytearray()
        self._most = most
        self.content_type = stream.content_type
        self.events = stream.events

    @property
    def before_end(self) -> Callable[[], None] | None:
        return self._stream.before_end

    @before_end.setter
    def before_end(self, call: Callable[[], None] | None) -> None:
        self._stream.before_end = call

    async def next(self) -> bytes:
        piece = await self._stream.next()
        self._keep(piece)
        return piece

    async def pour(self, sink: Sink, room: Room) -> None:
        def keep_and_push(piece: bytes) -> bool:
            self._keep(piece)
            return sink(piece)

        await self._stream.pour(keep_and_push, room)

    def close(self) -> None:
        self._stream.close()

    def _keep(self, piece: bytes) -> None:
        if len(self._kept) < self._most:
            self._kept += piece[: self._most - len(self._kept)]
