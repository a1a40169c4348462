"""The rules that a stream, or a whole answer, of OpenAI's Chat Completions keeps to."""

from typing import Any

import orjson

from headgate.core.tokens import Tokens
from tests.conformance.said import Said, arguments_of, rule
from tests.conformance.wire import sent

_FINISHES = ("stop", "length", "tool_calls", "content_filter")


class Stream:
    """Takes one chunk after another."""

    def __init__(self, *, usage: bool) -> None:
        self.said = Said()
        self._usage = usage
        self._head: tuple[Any, ...] = ()
        self._calls: list[list[str]] = []
        self._blocks: list[dict[str, Any]] = []

    def take(self, chunk: dict[str, Any]) -> None:
        rule(not self.said.tokens, "nothing follows the usage", chunk)
        rule(chunk.get("object") == "chat.completion.chunk", "a chunk says what it is", chunk)
        head = tuple(chunk[name] for name in ("id", "created", "model"))
        rule(not self._head or head == self._head, "id, time and model stay the same", head)
        rule(all(head), "id, time and model are told", head)
        if not chunk["choices"]:
            rule(self._usage and self.said.finish, "usage comes behind the end, and only when asked", chunk)
            self.said.tokens = tokens_of(chunk["usage"])
        else:
            rule(not chunk.get("usage"), "only the chunk without choices tells the usage", chunk)
            (choice,) = chunk["choices"]
            self._choice(choice)
        self._head = head

    def _choice(self, choice: dict[str, Any]) -> None:
        rule(not self.said.finish, "no choice follows the one that finished", choice)
        rule(choice["index"] == 0 and "finish_reason" in choice, "a choice has its index and finish_reason", choice)
        delta = choice["delta"]
        rule(("role" in delta) == (not self._head), "the first delta, and no other one, has the role", choice)
        self._delta(delta)
        if choice["finish_reason"] is not None:
            rule(choice["finish_reason"] in _FINISHES, "finish_reason is a known one", choice)
            self.said.finish = choice["finish_reason"]
            self.said.stop_sequence = choice.get("stop_reason") or ""

    def _delta(self, delta: dict[str, Any]) -> None:
        for name in ("content", "reasoning_content", "refusal"):
            rule(isinstance(delta.get(name, ""), str), f"{name} is a text", delta)
        self.said.text += delta.get("content", "")
        self.said.thought += delta.get("reasoning_content", "")
        self.said.refusal += delta.get("refusal", "")
        self.said.seals += _seals(delta)
        for piece in delta.get("tool_calls", ()):
            self._piece(piece)
        for name, listed in delta.items():
            if isinstance(listed, list) and all(isinstance(one, dict) for one in listed):
                rule(all(isinstance(one.get("index"), int) for one in listed), f"members of {name} are numbered", delta)

    def _piece(self, piece: dict[str, Any]) -> None:
        index, function = piece["index"], piece["function"]
        if index == len(self._calls):
            rule(
                piece["id"] and piece["type"] == "function" and function["name"],
                "a call begins with id and name",
                piece,
            )
            rule(piece["id"] not in [call[0] for call in self._calls], "calls have ids of their own", piece)
            self._calls.append([piece["id"], function["name"], ""])
        else:
            rule(0 <= index < len(self._calls), "indexes of calls rise one by one", piece)
            rule("id" not in piece and "name" not in function, "id and name are told once", piece)
        rule(isinstance(function["arguments"], str), "arguments are a text", piece)
        self._calls[index][2] += function["arguments"]

    def end(self) -> Said:
        rule(self.said.finish, "a stream tells why it ends")
        rule(bool(self.said.tokens) == self._usage, "usage is told if it was asked for", self.said.tokens)
        self.said.calls = [(id_, name, arguments_of(arguments)) for id_, name, arguments in self._calls]
        rule(self.said.finish != "tool_calls" or self.said.calls, "who ends for calls has called")
        return self.said

    def broken(self) -> Said:
        rule(not self.said.finish, "an answer that ended does not break off")
        self.said.is_broken = True
        return self.said


def check_stream(stream: bytes, *, usage: bool = True) -> Said:
    """What a stream says; raises Violation. `usage`: the caller asked for it, and it is known."""
    events = sent(stream)
    checker = Stream(usage=usage)
    rule(events, "a stream has events")
    rule(not any(event.name for event in events), "events have no names", events)
    for event in events[:-1]:
        rule(event.data != "[DONE]" and "error" not in event.object, "nothing follows the end", event)
        checker.take(event.object)
    last = events[-1]
    if last.data == "[DONE]":
        return checker.end()
    error = last.object.get("error")
    rule(isinstance(error, dict), "a stream ends with [DONE] or an error", last)
    assert error is not None
    rule({"message", "type", "param", "code"} <= error.keys(), "an error is OpenAI's envelope", error)
    return checker.broken()


def check_whole(body: bytes) -> Said:
    """What a completion says; raises Violation."""
    told = orjson.loads(body)
    rule(
        told["object"] == "chat.completion" and told["id"] and told["created"] and told["model"], "a completion's head"
    )
    (choice,) = told["choices"]
    message = choice["message"]
    rule(choice["index"] == 0 and "logprobs" in choice and message["role"] == "assistant", "a choice is whole", choice)
    rule("content" in message and choice["finish_reason"] in _FINISHES, "content and finish_reason are told", choice)
    calls = message.get("tool_calls", ())
    rule(all(call["type"] == "function" and call["id"] for call in calls), "calls have id and type", calls)
    rule(choice["finish_reason"] != "tool_calls" or calls, "who ends for calls has called")
    return Said(
        message["content"] or "",
        message.get("reasoning_content", ""),
        _seals(message),
        message.get("refusal") or "",
        [(call["id"], call["function"]["name"], arguments_of(call["function"]["arguments"])) for call in calls],
        choice["finish_reason"],
        choice.get("stop_reason") or "",
        tokens_of(told["usage"]) if "usage" in told else None,
    )


def _seals(fields: dict[str, Any]) -> list[tuple[str, str]]:
    blocks = fields.get("thinking_blocks", ())
    rule(all(block["type"] in ("thinking", "redacted_thinking") for block in blocks), "blocks are of thinking", blocks)
    seals = [(block.get("signature", ""), block.get("data", "")) for block in blocks]
    return [seal for seal in seals if any(seal)]


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """`usage` as the API has it: the parts are within the whole."""
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    rule(usage["total_tokens"] == prompt + completion, "the total is the sum", usage)
    inward, outward = usage.get("prompt_tokens_details", {}), usage.get("completion_tokens_details", {})
    cached, written = inward.get("cached_tokens", 0), inward.get("cache_write_tokens", 0)
    reasoning = outward.get("reasoning_tokens", 0)
    rule(cached + written <= prompt and reasoning <= completion, "the parts are within the whole", usage)
    return Tokens(prompt, completion, cached, reasoning, written)
