"""A run as a stream in the words of Anthropic's Messages API.

Blocks come one after another, each opened once and closed before the next: what belongs to a later one waits while a
call is not complete. What the gateway itself does is told in `ping` events, which clients pass over.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from headgate.core.chat import (
    Call,
    CallBegun,
    CallPiece,
    ChatEvent,
    Ended,
    Other,
    Refusal,
    Sealed,
    Step,
    Text,
    Thought,
)
from headgate.dialects.messages_content import id_for, input_of
from headgate.dialects.messages_words import (
    CARRIED,
    Block,
    blocks_of,
    broken,
    citations_of,
    end_of,
    message_of,
    thought_of,
    told_of,
    usage_of,
)
from headgate.dialects.types import Occasion

_INPUT, _TEXT, _THINKING = "input_json_delta", "text_delta", "thinking_delta"
_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":%b}}\n\n'
)


def _event(name: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))


class _Waiting:
    """A call that began while another was not complete, and its arguments so far."""

    __slots__ = ("arguments", "begun")

    def __init__(self, begun: CallBegun) -> None:
        self.begun = begun
        self.arguments = ""


class StreamWriter:
    """A run as a stream of events."""

    def __init__(self, occasion: Occasion) -> None:
        self._run_id = occasion.run_id
        self._model = occasion.model
        self._extensions = occasion.extensions
        self._began = False
        self._index = -1
        self._kind = ""
        self._called = 0
        self._refused = False
        self._call = -1
        self._arguments = ""
        self._waiting: dict[int, _Waiting] = {}
        self._held: list[ChatEvent] = []

    def feed(self, event: ChatEvent) -> bytes:
        kind = type(event)
        if self._call >= 0 and kind in (Text, Thought, Sealed, Refusal, Other, Call) and not self._complete():
            self._held.append(event)
            return b""
        return self._say(event)

    def end(self) -> bytes:
        return b""

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)

    def _say(self, event: ChatEvent) -> bytes:
        match event:
            case Text(text) | Refusal(text):
                self._refused = self._refused or type(event) is Refusal
                return self._delta("text", _TEXT, "text", text) if text else b""
            case Thought(text):
                return self._delta("thinking", _THINKING, "thinking", text) if text else b""
            case CallPiece(number, text):
                return self._piece(number, text)
            case CallBegun():
                return self._begin_call(event)
            case Call(id_, name, arguments):
                number = max((self._call, *self._waiting), default=-1) + 1
                told = self._close() + self._open_call(CallBegun(number, id_, name))
                return told + self._arguments_of(orjson.dumps(input_of(arguments)).decode()) + self._close()
            case Sealed():
                return self._sealed(event)
            case Other(fields):
                return self._other(fields)
            case Ended():
                return self._end(event)
            case Step() if self._extensions and (thought := thought_of(event)):
                return (
                    self._delta("thinking", _THINKING, "thinking", thought) + self._close() + self._ping(told_of(event))
                )
            case _:
                return self._ping(told_of(event)) if self._extensions else b""

    def _start(self) -> bytes:
        self._began = True
        message = {**message_of(self._run_id, self._model, []), "usage": {**usage_of(None, {}), "output_tokens": 1}}
        return _event("message_start", {"message": message})

    def _ping(self, told: Mapping[str, Any]) -> bytes:
        return (b"" if self._began else self._start()) + _event("ping", told)

    def _delta(self, kind: str, type_: str, member: str, text: str) -> bytes:
        """A piece of a text or a thought, in a block of its kind."""
        opened = b""
        if self._kind != kind:
            empty = {"type": kind, member: ""}
            opened = self._open(empty | {"signature": ""} if kind == "thinking" else empty)
        return opened + _DELTA % (self._index, type_.encode(), member.encode(), orjson.dumps(text))

    def _open(self, block: Block) -> bytes:
        told = (b"" if self._began else self._start()) + self._close()
        self._index += 1
        self._kind = block["type"]
        return told + _event("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> bytes:
        if not self._kind:
            return b""
        self._kind, self._call, self._arguments = "", -1, ""
        return _event("content_block_stop", {"index": self._index})

    def _sealed(self, sealed: Sealed) -> bytes:
        told = b""
        if sealed.signature:
            if self._kind != "thinking":
                told = self._open({"type": "thinking", "thinking": "", "signature": ""})
            delta = {"type": "signature_delta", "signature": sealed.signature}
            told += _event("content_block_delta", {"index": self._index, "delta": delta})
        if self._kind == "thinking":
            told += self._close()
        if sealed.sealed:
            told += self._open({"type": "redacted_thinking", "data": sealed.sealed}) + self._close()
        return told

    def _other(self, fields: Mapping[str, Any]) -> bytes:
        told = b""
        for citation in citations_of(fields):
            if self._kind != "text":
                told += self._open({"type": "text", "text": ""})
            delta = {"type": "citations_delta", "citation": citation}
            told += _event("content_block_delta", {"index": self._index, "delta": delta})
        for block in blocks_of(fields):
            told += self._open(block) + self._close()
        rest = {name: fields[name] for name in fields.keys() - CARRIED}
        return told + self._ping({"delta": rest}) if rest and self._extensions else told

    def _begin_call(self, begun: CallBegun) -> bytes:
        if self._call >= 0 and not self._complete():
            self._waiting[begun.number] = _Waiting(begun)
            return b""
        return self._open_call(begun)

    def _open_call(self, begun: CallBegun) -> bytes:
        id_ = id_for(begun.id) if begun.id else f"toolu_{self._run_id}_{self._called}"
        told = self._open({"type": "tool_use", "id": id_, "name": begun.name, "input": {}})
        self._called, self._call = self._called + 1, begun.number
        return told

    def _piece(self, number: int, text: str) -> bytes:
        """More of a call's arguments, at once if it is its turn."""
        if number == self._call:
            told = self._arguments_of(text)
            return told + self._go_on() if (self._waiting or self._held) and self._complete() else told
        if (waiting := self._waiting.get(number)) is not None:
            waiting.arguments += text
        return b""

    def _arguments_of(self, text: str) -> bytes:
        if not text:
            return b""
        self._arguments += text
        delta = {"type": _INPUT, "partial_json": text}
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _complete(self) -> bool:
        """Whether the arguments of the call that is open are a whole object, to which nothing can be added."""
        if not self._arguments.endswith("}"):
            return False
        try:
            orjson.loads(self._arguments)
        except orjson.JSONDecodeError:
            return False
        return True

    def _go_on(self, *, ending: bool = False) -> bytes:
        """What waited, now that the call is complete that it waited for; at the end all of it."""
        told = b""
        while self._waiting and (ending or self._call < 0 or self._complete()):
            waiting = self._waiting.pop(min(self._waiting))
            told += self._open_call(waiting.begun) + self._arguments_of(waiting.arguments)
        if self._held and (ending or self._complete()):
            held, self._held = self._held, []
            told += b"".join(map(self._say, held))
        return told

    def _end(self, ended: Ended) -> bytes:
        told = self._go_on(ending=True) + (b"" if self._began else self._start()) + self._close()
        end = end_of(ended, called=self._called > 0, refused=self._refused)
        more = {"context_management": end.pop("context_management")} if "context_management" in end else {}
        if ended.stop and self._extensions:
            told += self._ping({"proxy_status": {"type": "stopped", "status": ended.stop}})
        usage = usage_of(ended.tokens, ended.beside)
        usage.pop("service_tier", None)
        told += _event("message_delta", {"delta": end, "usage": usage, **more})
        return told + _event("message_stop", {})
