"""Follows a run and notes what was asked, what was sent, which tools ran, and what came of it. Changes nothing."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

import orjson

from headgate.core.chat import (
    Asking,
    Call,
    ChatEvent,
    Ended,
    Refusal,
    Retrieved,
    Text,
    Thought,
    ToolEnded,
    ToolHeld,
    ToolStarted,
)
from headgate.core.errors import HeadgateError
from headgate.core.events import Event, Opened, Room, Sink, Whole
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.dialects import chat
from headgate.dialects.table import DIALECTS

Note = Callable[[Run, str, Mapping[str, Any]], None]
Story = AsyncGenerator[Event | ChatEvent]
_MOST_KEPT = 4 << 20


async def follow(story: Story, request: ModelRequest, run: Run, note: Note) -> Story:
    """The same events."""
    note(run, "request", {"stage": "as_came", "stream": request.stream, "body": request.fields})
    heard = _Heard(run, note)
    try:
        async with aclosing(story):
            async for event in story:
                yield heard.hear(event)
    except HeadgateError as error:
        heard.fail(error.code, error.message)
        raise
    except BaseException as error:
        heard.fail("disconnected" if run.stopped_by is None else run.stopped_by.code, type(error).__name__)
        raise
    else:
        heard.end(request)


class _Heard:
    """What a run said so far."""

    def __init__(self, run: Run, note: Note) -> None:
        self._run = run
        self._note = note
        self._turn = 0
        self._asking = False
        self._said: dict[str, str] = {}
        self._calls: list[dict[str, Any]] = []
        self._raw = bytearray()
        self._is_stream = False
        self._ended: Ended | None = None

    def hear(self, event: Event | ChatEvent) -> Event | ChatEvent:
        if isinstance(event, bytes):
            self._keep(event)
        elif isinstance(event, Whole):
            self._keep(event.body)
        elif isinstance(event, Opened):
            self._is_stream = event.events
            return event._replace(pour=self._pouring(event))
        elif isinstance(event, Asking):
            self._sent()
            self._turn, self._asking = event.turn, True
        else:
            self._sent()
            self._steered(event)
        return event

    def _steered(self, event: ChatEvent) -> None:
        match event:
            case Text(text):
                self._add("content", text)
            case Thought(text):
                self._add("thought", text)
            case Refusal(text):
                self._add("refusal", text)
            case Call():
                self._calls.append(chat.call_of(event))
            case ToolStarted():
                self._said.clear()  # what was said in a turn that goes on stands in the next request
            case ToolEnded(call, turn, result, failed, seconds):
                told = {**_called(call, turn), "result": result, "failed": failed, "seconds": round(seconds, 6)}
                self._note(self._run, "tool_call", told)
            case ToolHeld(call, turn):
                self._note(self._run, "tool_call", {**_called(call, turn), "held": True})
            case Retrieved(passages, failed):
                told = {"passages": [asdict(one) for one in passages], "failed": dict(failed)}
                self._note(self._run, "retrieval", told)
            case Ended():
                self._ended = event

    def _sent(self) -> None:
        """The request of a turn is known once something came of it."""
        if self._asking:
            self._asking = False
            self._note(self._run, "request", {"stage": "as_sent", "turn": self._turn, "body": self._run.fields or {}})

    def _add(self, name: str, text: str) -> None:
        if len(said := self._said.get(name, "")) < _MOST_KEPT:
            self._said[name] = said + text

    def _keep(self, piece: bytes) -> None:
        if len(self._raw) < _MOST_KEPT:
            self._raw += piece

    def _pouring(self, event: Opened) -> Any:
        async def pour(sink: Sink, room: Room) -> None:
            def keeping(piece: bytes) -> bool:
                self._keep(piece)
                return sink(piece)

            await event.pour(keeping, room)

        return pour

    def fail(self, code: str, message: str) -> None:
        self._sent()
        if self._said or self._raw:
            self._note(self._run, "response", {**self._answer(), "complete": False})
        self._note(self._run, "error", {"code": code, "message": message})

    def end(self, request: ModelRequest) -> None:
        run = self._run
        self._sent()
        if self._ended is None:
            last = run.attempts[-1] if run.attempts else None
            told = {"target": last.target, "left_out": last.dropped, "changed": last.applied} if last else {}
            self._note(run, "request", {"stage": "as_sent", "turn": 1, **told, "body": request.fields})
        is_read = self._ended is None and request.surface.dialect in DIALECTS
        answer = self._read(request.surface.dialect) if is_read else self._answer()
        self._note(run, "response", {**answer, "complete": True})

    def _answer(self) -> dict[str, Any]:
        told: dict[str, Any] = dict(self._said)
        if self._calls:
            told["tool_calls"] = self._calls
        if self._ended is not None:
            told |= {"finish_reason": self._ended.finish, "stop": self._ended.stop or None}
        if self._raw:
            told["raw"] = self._raw.decode(errors="replace")
        return told

    def _read(self, dialect: str) -> dict[str, Any]:
        """A plain model's answer in the same words as an agent's, if it can be read."""
        reader = DIALECTS[dialect].reader(False)
        raw = bytes(self._raw)
        try:
            list(reader.feed(raw) if self._is_stream else reader.whole(raw))
            list(reader.finish())
        except (HeadgateError, orjson.JSONDecodeError, AttributeError, TypeError, KeyError, ValueError):
            return self._answer()
        said = reader.answer
        texts = {"content": said.text, "thought": said.thought, "refusal": said.refusal}
        told: dict[str, Any] = {name: text for name, text in texts.items() if text}
        if said.calls:
            told["tool_calls"] = [chat.call_of(call) for call in said.calls]
        return {**told, "finish_reason": said.finish}


def _called(call: Call, turn: int) -> dict[str, Any]:
    return {"turn": turn, "name": call.name, "arguments": call.arguments}
