"""A run as one message of Anthropic's Messages API."""

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
    Retrieved,
    Sealed,
    Step,
    Text,
    Thought,
    ToolHeld,
)
from headgate.dialects import chat
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
    usage_of,
)
from headgate.dialects.types import Occasion


class WholeWriter:
    """A run as one message."""

    def __init__(self, occasion: Occasion) -> None:
        self._run_id = occasion.run_id
        self._model = occasion.model
        self._extensions = occasion.extensions
        self._content: list[Block] = []
        self._calls: dict[int, Block] = {}
        self._arguments: dict[int, str] = {}
        self._told: dict[str, Any] = {}
        self._more: dict[str, Any] = {}
        self._refused = False
        self._ended: Ended | None = None

    def feed(self, event: ChatEvent) -> bytes:
        match event:
            case Text(text) | Refusal(text):
                self._refused = self._refused or type(event) is Refusal
                self._add("text", "text", text)
            case Thought(text):
                self._add("thinking", "thinking", text)
            case Sealed():
                self._seal(event)
            case Call(id_, name, arguments):
                number = len(self._calls)
                self._begin(number, id_, name)
                self._arguments[number] = arguments
            case CallBegun(number, id_, name):
                self._begin(number, id_, name)
            case CallPiece(number, text):
                self._arguments[number] = self._arguments.get(number, "") + text
            case Other(fields):
                self._other(fields)
            case Ended():
                self._ended = event
            case _:
                self._note(event)
        return b""

    def _note(self, event: ChatEvent) -> None:
        """What the gateway does."""
        if type(event) is Step:
            self._step(event)
        elif type(event) is ToolHeld:
            self._told.setdefault("approvals_required", []).append(chat.approval_of(event))
        elif type(event) is Retrieved:
            self._told["retrieval"] = chat.retrieval_of(event)

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)

    def end(self) -> bytes:
        ended = self._ended
        assert ended is not None
        for number, block in self._calls.items():
            block["input"] = input_of(self._arguments.get(number, ""))
        for block in self._content:
            block.pop("_closed", None)
        told = message_of(self._run_id, self._model, self._content)
        told |= end_of(ended, called=bool(self._calls), refused=self._refused)
        told["usage"] = usage_of(ended.tokens, ended.beside)
        if self._extensions:
            told |= {**self._more, **self._told}
            if ended.stop:
                told["proxy_status"] = {"type": "stopped", "status": ended.stop}
        return orjson.dumps(told)

    def _add(self, kind: str, member: str, text: str) -> None:
        if not text:
            return
        last = self._content[-1] if self._content else None
        if last is None or last["type"] != kind or "_closed" in last:
            last = {"type": kind, member: ""} | ({"signature": ""} if kind == "thinking" else {})
            self._content.append(last)
        last[member] += text

    def _seal(self, sealed: Sealed) -> None:
        last = self._content[-1] if self._content else None
        if sealed.signature:
            if last is None or last["type"] != "thinking" or "_closed" in last:
                last = {"type": "thinking", "thinking": "", "signature": ""}
                self._content.append(last)
            last["signature"] = sealed.signature
        if last is not None and last["type"] == "thinking":
            last["_closed"] = True
        if sealed.sealed:
            self._content.append({"type": "redacted_thinking", "data": sealed.sealed})

    def _begin(self, number: int, id_: str, name: str) -> None:
        id_ = id_for(id_) if id_ else f"toolu_{self._run_id}_{number}"
        block = self._calls[number] = {"type": "tool_use", "id": id_, "name": name, "input": {}}
        self._content.append(block)

    def _other(self, fields: Mapping[str, Any]) -> None:
        if citations := citations_of(fields):
            last = self._content[-1] if self._content else None
            if last is None or last["type"] != "text":
                last = {"type": "text", "text": ""}
                self._content.append(last)
            last["citations"] = [*last.get("citations", ()), *citations]
        self._content += blocks_of(fields)
        for name in fields.keys() - CARRIED:
            self._more[name] = fields[name]

    def _step(self, step: Step) -> None:
        self._told.setdefault("reasoning_events", []).append(chat.step_of(step))
        if self._extensions and (thought := thought_of(step)):
            self._add("thinking", "thinking", thought)
            self._content[-1]["_closed"] = True
