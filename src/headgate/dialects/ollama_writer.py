"""Answers in Ollama's words: a stream is one JSON object per line, an answer in one piece is one object.

Pure: knows no socket and no upstream. https://docs.ollama.com/api
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any

import orjson

from headgate.core.chat import (
    NONE,
    Asking,
    Call,
    CallBegun,
    CallPiece,
    ChatEvent,
    Ended,
    Other,
    Refusal,
    Retrieved,
    Step,
    Text,
    Thought,
    ToolEnded,
    ToolHeld,
    ToolStarted,
)
from headgate.dialects.chat import status_of, step_of
from headgate.dialects.types import Occasion

CONTENT_TYPE = b"application/x-ndjson"
_OWN = frozenset(("role", "content", "thinking", "images", "tool_calls", "tool_name"))
_TOLD = ("code", "type", "param", "request_id")
_REASONS = {"length": "length", "content_filter": "content_filter"}
"""Ollama says `stop` also where the model calls tools."""


class StreamWriter:
    """A run as a stream of lines, the last one with what it took."""

    def __init__(self, occasion: Occasion, *, generates: bool = False) -> None:
        self._form = _Form(occasion.model, generates)
        self._watch = _Watch()
        self._calls = _Calls()
        self._extensions = occasion.extensions

    def feed(self, event: ChatEvent) -> bytes:
        self._watch.note(event)
        match event:
            case Text(text, beside):
                return self._form.line({"content": text}, _logprobs(beside))
            case Refusal(text):
                return self._form.line({"content": text})
            case Thought(text):
                return self._form.line({"content": "", "thinking": text})
            case Other(fields):
                return self._form.line({"content": "", **_further(fields)})
            case Call() | CallBegun() | CallPiece():
                return self._called(self._calls.feed(event))
            case Ended():
                return self._called(self._calls.end()) + self._form.line(
                    {"content": ""}, self._form.last(event, self._watch, extensions=self._extensions)
                )
            case Asking() | ToolStarted() | ToolEnded() | ToolHeld() | Step() | Retrieved() if self._extensions:
                return self._form.line({"content": ""}, _told(event))
        return b""

    def end(self) -> bytes:
        return b""

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)

    def _called(self, calls: list[dict[str, Any]]) -> bytes:
        return self._form.line({"content": "", "tool_calls": calls}) if calls else b""


class WholeWriter:
    """A run as one object."""

    def __init__(self, occasion: Occasion, *, generates: bool = False) -> None:
        self._form = _Form(occasion.model, generates)
        self._watch = _Watch()
        self._calls = _Calls()
        self._extensions = occasion.extensions
        self._message: dict[str, Any] = {"content": ""}
        self._called: list[dict[str, Any]] = []
        self._logprobs: list[Any] = []
        self._steps: list[dict[str, Any]] = []
        self._ended: Ended | None = None

    def feed(self, event: ChatEvent) -> bytes:
        self._watch.note(event)
        message = self._message
        match event:
            case Text(text, beside):
                message["content"] += text
                self._logprobs += _logprobs(beside).get("logprobs", ())
            case Refusal(text):
                message["content"] += text
            case Thought(text):
                message["thinking"] = message.get("thinking", "") + text
            case Other(fields):
                message |= _further(fields)
            case Call() | CallBegun() | CallPiece():
                self._called += self._calls.feed(event)
            case Step():
                self._steps.append(step_of(event))
            case Ended():
                self._ended = event
        return b""

    def end(self) -> bytes:
        ended = self._ended
        assert ended is not None
        self._called += self._calls.end()
        if self._called:
            self._message["tool_calls"] = self._called
        more = self._form.last(ended, self._watch, extensions=self._extensions)
        if self._logprobs:
            more["logprobs"] = self._logprobs
        if self._steps and self._extensions:
            more["reasoning_events"] = self._steps
        return self._form.line(self._message, more).rstrip(b"\n")

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)


@dataclass(frozen=True, slots=True)
class _Form:
    """The two kinds of lines: of `/api/chat` with a message, of `/api/generate` with its text at the top."""

    model: str
    generates: bool

    def line(self, message: Mapping[str, Any], more: Mapping[str, Any] = NONE) -> bytes:
        fields: dict[str, Any] = {"model": self.model, "created_at": _now()}
        if self.generates:
            fields |= {"response": message["content"], **{k: v for k, v in message.items() if k != "content"}}
        else:
            fields["message"] = {"role": "assistant", **message}
        return orjson.dumps({**fields, "done": False, **more}, option=orjson.OPT_APPEND_NEWLINE)

    def last(self, ended: Ended, watch: "_Watch", *, extensions: bool) -> dict[str, Any]:
        """What the last line has more than others. Durations are nanoseconds."""
        more: dict[str, Any] = {**_free(ended.beside), "done": True, "done_reason": _REASONS.get(ended.finish, "stop")}
        if ended.stop and extensions:
            more["proxy_status"] = {"type": "stopped", "status": ended.stop}
        total, before, since = watch.durations()
        more |= {"total_duration": total, "load_duration": 0}
        if ended.tokens is not None:
            more |= {"prompt_eval_count": ended.tokens.prompt, "prompt_eval_duration": before}
            more |= {"eval_count": ended.tokens.completion, "eval_duration": since}
        return more


class _Watch:
    """Nanoseconds since the answer was asked for, until its first word, and from then on."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._spoke = 0.0

    def note(self, event: ChatEvent) -> None:
        if not self._spoke and type(event) not in (Asking, Retrieved, Step, ToolStarted, ToolEnded, ToolHeld):
            self._spoke = perf_counter()

    def durations(self) -> tuple[int, int, int]:
        now = perf_counter()
        spoke = self._spoke or now
        return tuple(round(seconds * 1e9) for seconds in (now - self._began, spoke - self._began, now - spoke))  # type: ignore[return-value]


class _Calls:
    """Tool calls, which go out whole: `feed` and `end` give those that are complete."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[str]] = {}
        self._told = 0

    def feed(self, event: Call | CallBegun | CallPiece) -> list[dict[str, Any]]:
        match event:
            case Call(id_, name, arguments):
                return [self._shape(id_, name, arguments)]
            case CallBegun(number, id_, name):
                self._pieces[number] = [id_, name, ""]
            case CallPiece(number, text):
                self._pieces[number][2] += text
        return []

    def end(self) -> list[dict[str, Any]]:
        pieces, self._pieces = self._pieces, {}
        return [self._shape(*pieces[number]) for number in sorted(pieces)]

    def _shape(self, id_: str, name: str, arguments: str) -> dict[str, Any]:
        self._told += 1
        function = {"index": self._told - 1, "name": name, "arguments": _arguments(arguments)}
        return {"id": id_, "function": function}


def _arguments(written: str) -> dict[str, Any]:
    """Clients want an object. What is none is handed over as it was written, under the name `arguments`."""
    try:
        found = orjson.loads(written or "{}")
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"arguments": written}


def _logprobs(beside: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that came with a piece of text; log probabilities are a plain list here."""
    told = beside.get("logprobs")
    more = _free({name: value for name, value in beside.items() if name != "logprobs"})
    listed = told.get("content") if isinstance(told, dict) else None
    return {**more, "logprobs": listed} if listed else more


def _free(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields without those that mean something here."""
    taken = ("model", "created_at", "message", "response", "thinking", "done", "done_reason", "error")
    return {name: value for name, value in fields.items() if name not in taken}


def _further(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a message that only other APIs know; of their pictures, those that are at hand as base64."""
    further = {name: value for name, value in fields.items() if name not in _OWN}
    pictures = [data for one in fields.get("images") or () if (data := _base64_of(one))]
    return {**further, "images": pictures} if pictures else further


def _base64_of(picture: Any) -> str:
    link = picture.get("image_url") if isinstance(picture, dict) else None
    url = link.get("url") if isinstance(link, dict) else picture
    head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    return data if comma and head.startswith("data:") and head.endswith(";base64") else ""


def _told(event: ChatEvent) -> dict[str, Any]:
    return {"reasoning_event": step_of(event)} if isinstance(event, Step) else {"proxy_status": status_of(event)}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def refused(_status: int, error: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer that is an error: its message is a plain text here."""
    return {"error": error.get("message", ""), **{name: error[name] for name in _TOLD if error.get(name) is not None}}


def broken(status: int, error: Mapping[str, Any]) -> bytes:
    """The last line of a stream that breaks off."""
    return orjson.dumps(refused(status, error), option=orjson.OPT_APPEND_NEWLINE)


def loaded(model: str, *, generates: bool, unloads: bool) -> bytes:
    """The answer to a request without a prompt, which asks to load a model or to let it go."""
    more = {"done": True, "done_reason": "unload" if unloads else "load"}
    return _Form(model, generates).line({"content": ""}, more)


def embedded(vectors: list[Any], model: str, tokens: int, nanoseconds: int) -> bytes:
    """The answer of `/api/embed`."""
    took = {"total_duration": nanoseconds, "load_duration": 0, "prompt_eval_count": tokens}
    return orjson.dumps({"model": model, "embeddings": vectors, **took})


chat_streamed = partial(StreamWriter, generates=False)
chat_whole = partial(WholeWriter, generates=False)
generate_streamed = partial(StreamWriter, generates=True)
generate_whole = partial(WholeWriter, generates=True)
CHAT_PING, GENERATE_PING = (
    orjson.dumps({"model": "", "created_at": "1970-01-01T00:00:00Z", **said, "done": False}) + b"\n"
    for said in ({"message": {"role": "assistant", "content": ""}}, {"response": ""})
)
"""Lines that add nothing: the format has no comments."""
