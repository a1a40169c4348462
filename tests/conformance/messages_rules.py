"""The rules that a stream, or a whole answer, of Anthropic's Messages API keeps to."""

import re
from typing import Any

import orjson

from headgate.core.tokens import Tokens
from tests.conformance.said import Said, arguments_of, rule
from tests.conformance.wire import Sent, sent

_FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_DELTAS = {
    "text": ("text_delta", "citations_delta"),
    "thinking": ("thinking_delta", "signature_delta"),
    "tool_use": ("input_json_delta",),
    "server_tool_use": ("input_json_delta",),
}
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_MESSAGE = {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}


class Stream:
    """Takes one event after another."""

    def __init__(self) -> None:
        self.said = Said()
        self._began = False
        self._over = False
        self._open: dict[str, Any] | None = None
        self._count = 0
        self._pieces = ""
        self._signature = ""
        self._input: dict[str, Any] = {}

    def take(self, event: Sent) -> None:
        told = event.object
        rule(event.name == told["type"], "the name of an event is its type", event)
        rule(not self._over, "nothing follows message_stop", event)
        kind = told["type"]
        if kind == "ping":
            return
        rule(self._began or kind == "message_start", "message_start comes first", event)
        rule(not self.said.finish or kind == "message_stop", "message_delta comes last but one", event)
        getattr(self, f"_{kind}")(told)

    def _message_start(self, told: dict[str, Any]) -> None:
        rule(not self._began, "message_start comes once", told)
        self._began = True
        message = told["message"]
        rule(message.keys() >= _MESSAGE, "a message has all its fields", message)
        rule(message["content"] == [] and message["stop_reason"] is None, "a message starts empty", message)
        _check_head(message)
        self._input = message["usage"]

    def _content_block_start(self, told: dict[str, Any]) -> None:
        rule(self._open is None, "one block is open at a time", told)
        rule(told["index"] == self._count, "indexes of blocks rise one by one", told)
        self._open, self._pieces, self._signature = told["content_block"], "", ""
        block = self._open
        match block["type"]:
            case "text":
                rule(block["text"] == "", "a text starts empty", block)
            case "thinking":
                rule(block["thinking"] == "" and block["signature"] == "", "a thought starts empty", block)
            case "tool_use":
                rule(block["input"] == {} and block["name"], "a call starts with a name and no input", block)
                rule(_ID.fullmatch(block["id"]), "ids of calls have letters, digits, _ and - only", block)
                rule(block["id"] not in [call[0] for call in self.said.calls], "calls have ids of their own", block)
            case "redacted_thinking":
                self.said.seals.append(("", block["data"]))

    def _content_block_delta(self, told: dict[str, Any]) -> None:
        block, delta = self._open, told["delta"]
        rule(block is not None and told["index"] == self._count, "a delta is of the open block", told)
        assert block is not None
        rule(delta["type"] in _DELTAS.get(block["type"], ()), "a delta is of its block's kind", (block, delta))
        match delta["type"]:
            case "text_delta":
                self.said.text += delta["text"]
            case "thinking_delta":
                rule(not self._signature, "the signature ends a thought", delta)
                self.said.thought += delta["thinking"]
            case "signature_delta":
                rule(delta["signature"] and not self._signature, "a thought is signed once", delta)
                self._signature = delta["signature"]
                self.said.seals.append((delta["signature"], ""))
            case "input_json_delta":
                self._pieces += delta["partial_json"]

    def _content_block_stop(self, told: dict[str, Any]) -> None:
        rule(self._open is not None and told["index"] == self._count, "the open block is closed", told)
        assert self._open is not None
        if self._open["type"] == "tool_use":
            self.said.calls.append((self._open["id"], self._open["name"], arguments_of(self._pieces)))
        self._open = None
        self._count += 1

    def _message_delta(self, told: dict[str, Any]) -> None:
        rule(self._open is None, "all blocks are closed before message_delta", told)
        delta = told["delta"]
        rule(delta["stop_reason"] in _FINISHES and "stop_sequence" in delta, "a stop reason is told", delta)
        self.said.finish = _FINISHES[delta["stop_reason"]]
        self.said.stop_sequence = delta["stop_sequence"] or ""
        rule(self.said.finish != "tool_calls" or self.said.calls, "who stops for calls has called", delta)
        self.said.tokens = tokens_of({**self._input, **told["usage"]})

    def _message_stop(self, told: dict[str, Any]) -> None:
        rule(self.said.finish, "message_delta comes before message_stop", told)
        self._over = True

    def end(self) -> Said:
        rule(self._over, "message_stop ends a stream")
        return self.said

    def broken(self, event: Sent) -> Said:
        told = event.object
        rule(event.name == told["type"], "the name of an event is its type", event)
        rule(not self._over, "an answer that ended does not break off", event)
        rule(told["error"]["type"] and told["error"]["message"], "an error has a type and a message", told)
        self.said.is_broken = True
        return self.said


def check_stream(stream: bytes, *, usage: bool = True) -> Said:
    """What a stream says; raises Violation. This dialect tells the usage always."""
    events = sent(stream)
    rule(events, "a stream has events")
    checker = Stream()
    rule(not any(event.name == "error" for event in events[:-1]), "nothing follows an error", events)
    for event in events[:-1]:
        checker.take(event)
    if events[-1].name == "error":
        return checker.broken(events[-1])
    checker.take(events[-1])
    return checker.end()


def check_whole(body: bytes) -> Said:
    """What a message says; raises Violation."""
    message = orjson.loads(body)
    rule(message.keys() >= _MESSAGE, "a message has all its fields", message)
    _check_head(message)
    said = Said(finish=_FINISHES[message["stop_reason"]], stop_sequence=message["stop_sequence"] or "")
    said.tokens = tokens_of(message["usage"])
    for block in message["content"]:
        match block["type"]:
            case "text":
                said.text += block["text"]
            case "thinking":
                said.thought += block["thinking"]
                said.seals += [(block["signature"], "")] if block["signature"] else []
            case "redacted_thinking":
                said.seals.append(("", block["data"]))
            case "tool_use":
                rule(_ID.fullmatch(block["id"]), "ids of calls have letters, digits, _ and - only", block)
                rule(isinstance(block["input"], dict), "the input of a call is an object", block)
                said.calls.append((block["id"], block["name"], block["input"]))
    rule(said.finish != "tool_calls" or said.calls, "who stops for calls has called")
    return said


def _check_head(message: dict[str, Any]) -> None:
    rule(message["type"] == "message" and message["role"] == "assistant", "a message says what it is", message)
    rule(message["id"].startswith("msg_") and message["model"], "a message has its id and its model", message)
    counts = [message["usage"][name] for name in ("input_tokens", "output_tokens")]
    rule(all(isinstance(count, int) for count in counts), "usage is counted", message)


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """`usage` as the API has it: what is cached is counted beside the input."""
    cached, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    reasoning = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    return Tokens(usage["input_tokens"] + cached + written, usage["output_tokens"], cached, reasoning, written)
