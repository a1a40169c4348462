"""A chat in other words than the caller's: for a provider that does not speak them, and for the engine of agents.

What cannot be said in the other words is told, never dropped silently. Answers come back in the caller's words.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from headgate.core.chat import ChatEvent, Ended
from headgate.core.events import Room, Sink, Whole
from headgate.core.ports import Stream
from headgate.core.request import JsonRequest, ModelRequest, json_request
from headgate.core.run import Attempt, Run
from headgate.core.surfaces import CHAT, MESSAGES, RESPONSES
from headgate.dialects.table import CALLERS, DIALECTS
from headgate.dialects.types import Occasion, Reader, Writer

_SURFACES = {surface.dialect: surface for surface in (CHAT, MESSAGES, RESPONSES)}
_PREFERRED = tuple(_SURFACES)


def in_other_words(
    request: ModelRequest, speaks: Iterable[str], *, usual: int = 0, longest: int = 0
) -> tuple[JsonRequest, tuple[str, ...], tuple[str, ...]]:
    """The request in a dialect out of `speaks`, the paths of what is lost, and notes of what was set.

    Raises InvalidField for what cannot be read.

    `usual`: tokens of an answer that its caller set no bound for; `longest`: those that the model can give, which is
    less than what clients made for another model ask for. 0 for none.
    """
    dialect = min(_SURFACES.keys() & speaks, key=_PREFERRED.index)
    parsed = DIALECTS[request.surface.dialect].parse(request.fields)
    most = parsed.max_tokens or usual
    if longest and most > longest:
        most = longest
    notes: tuple[str, ...] = ()
    if most and most != parsed.max_tokens:
        parsed, notes = replace(parsed, max_tokens=most), (f"max_tokens={most}",)
    rendered = DIALECTS[dialect].render(parsed)
    fields = rendered.fields
    if request.stream and dialect == CHAT.dialect:
        fields.setdefault("stream_options", {"include_usage": True})
    return json_request(_SURFACES[dialect], fields), rendered.lost, notes


def as_chat(request: ModelRequest) -> tuple[ModelRequest, tuple[str, ...]]:
    """The request as the engine of agents takes it, and the paths of what is lost."""
    if request.surface.dialect in ("", CHAT.dialect):
        return request, ()
    return in_other_words(request, (CHAT.dialect,))[:2]


def writer_for(dialect: str, request: Mapping[str, Any], run: Run, *, usage: bool) -> Writer:
    """Who puts a run into the words of a dialect; `request` are the request's fields in them."""
    row = CALLERS[dialect or CHAT.dialect]
    occasion = Occasion(run.stored_as or run.id, run.model or "", int(time.time()), request, usage, run.tells_more)
    return (row.streamed if run.stream else row.whole)(occasion)


def answer_for(
    answer: Whole | Stream, request: ModelRequest, spoken: ModelRequest, run: Run, attempt: Attempt
) -> "Whole | Translated":
    """A provider's answer to `spoken` in the words of `request`."""
    reader = DIALECTS[spoken.surface.dialect].reader(True)
    writer = writer_for(request.surface.dialect, request.fields, run, usage=request.wants_usage)
    if not isinstance(answer, Whole):
        return Translated(answer, reader, writer, attempt)
    for event in (*reader.whole(answer.body), *reader.finish(), _ended(reader, attempt)):
        writer.feed(event)
    return Whole(writer.end())


class Translated:
    """A provider's stream in the caller's words."""

    content_type = b"text/event-stream; charset=utf-8"
    events = True

    def __init__(self, stream: Stream, reader: Reader, writer: Writer, attempt: Attempt) -> None:
        self.before_end: Callable[[], None] | None = None
        self._stream = stream
        self._reader = reader
        self._writer = writer
        self._attempt = attempt
        self._is_over = False
        self._has_ended = False
        stream.before_end = self._note_end

    def _note_end(self) -> None:
        self._is_over = True

    async def next(self) -> bytes:
        while not self._has_ended:
            frames = await self._stream.next()
            said = self._said(self._reader.feed(frames))
            if self._is_over or not frames:
                said += self._end()
            if said:
                return said
        return b""

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        """See Writer."""
        return self._writer.broken(status, error)

    async def pour(self, sink: Sink, room: Room) -> None:
        """Nothing can be pushed: reading may fail, and whoever pushes cannot be told."""

    def _said(self, events: Iterable[ChatEvent]) -> bytes:
        return b"".join(map(self._writer.feed, events))

    def _end(self) -> bytes:
        self._has_ended = True
        if self.before_end is not None:
            self.before_end()
        return self._said((*self._reader.finish(), _ended(self._reader, self._attempt))) + self._writer.end()

    def close(self) -> None:
        self._stream.close()


def _ended(reader: Reader, attempt: Attempt) -> Ended:
    return Ended(reader.answer.finish, "", attempt.tokens, reader.answer.beside)
