"""The stream of a turn, with events that are numbered and kept: a cut one can be gone on with.

Knows nothing of how the turn itself is kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from headgate.conversations.types import Status, StoredEvent, milliseconds, new_id
from headgate.core.chat import Ended
from headgate.core.errors import HeadgateError
from headgate.core.run import Run
from headgate.dialects.table import CALLERS
from headgate.dialects.types import Writer
from headgate.pipeline.claim import Start
from headgate.pipeline.scribe import Scribe
from headgate.pipeline.telling import DONE, Telling, data_in
from headgate.pipeline.translate import writer_for

_LASTS = {"messages": b"event: message_stop"}
"""How the last event begins, by dialect, where it is no end marker."""


class Numbered:
    """One stream, in the caller's words."""

    def __init__(self, run: Run, scribe: Scribe) -> None:
        self._run = run
        self._scribe = scribe
        self._writer: Writer | None = None
        self.dialect = run.dialect or "chat"
        self._telling = Telling(new_id("resp"), self.dialect, scribe)
        self._last = _LASTS.get(self.dialect)
        self.content_type = CALLERS[self.dialect].content_type

    @property
    def id(self) -> str:
        """That of the stored run."""
        return self._telling.run

    def start(self) -> Start:
        """What the stored run begins with."""
        return Start(self.id, self.dialect, "in_progress", {"model": self._run.model})

    def say(self, event: Any) -> bytes:
        """An event of a run that the gateway steers, in the caller's words."""
        run = self._run
        if self._writer is None:
            self._writer = writer_for(run.dialect, run.asked or {}, run, usage=run.wants_usage)
            run.breaks_off = self._writer.broken
        return self._writer.feed(event) + (self._writer.end() if type(event) is Ended else b"")

    def frames(self, piece: bytes) -> tuple[bytes, StoredEvent | None]:
        """A piece of the stream, and its last event if it holds that, which is left to whoever keeps the end."""
        said, last = [], None
        for event, data in data_in(piece):
            if data is None:
                said.append(event)
            elif data == DONE if self._last is None else event.startswith(self._last):
                last = self._telling.next(data)
                said.append(self._telling.frame(last))
            else:
                said.append(self._telling.tell(data))
        return b"".join(said), last

    async def events(self, last: StoredEvent | None = None) -> list[StoredEvent]:
        """Those that were not written yet. The marker of an end is no event."""
        waiting = await self._scribe.take(self.id)
        return waiting if last is None or last.data == DONE else [*waiting, last]

    def wake(self) -> None:
        """Tell those who follow it that there is news."""
        self._scribe.wake(self.id)

    def response(self, status: Status, output: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The turn as a response, so that it can be gone on from at any door."""
        told = {"id": self.id, "object": "response", "created_at": milliseconds() // 1000, "store": True}
        return {**told, "status": status, "model": self._run.model, "output": [dict(one) for one in output]}

    def break_off(self, error: HeadgateError) -> None:
        """Note what tells that the stream broke off; the caller is sent the same."""
        run = self._run
        told = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
        last = (run.breaks_off or CALLERS[self.dialect].broken)(error.status, {**told, "request_id": run.id})
        frames = b"".join(event if data is None else self._telling.tell(data) for event, data in data_in(last))
        run.breaks_off = lambda _status, _error: frames
