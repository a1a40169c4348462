"""The rules that a stream of lines, or a whole answer, of Ollama's `/api/chat` keeps to."""

from typing import Any

import orjson

from headgate.core.tokens import Tokens
from tests.conformance.said import Said, rule

_FINISHES = ("stop", "length", "content_filter")
_COUNTS = ("prompt_eval_count", "eval_count", "prompt_eval_duration", "eval_duration")


def check_stream(stream: bytes, *, usage: bool = True) -> Said:
    """What a stream says; raises Violation. `usage`: it is known."""
    rule(stream.endswith(b"\n"), "each line is complete", stream[-40:])
    lines = [orjson.loads(line) for line in stream.splitlines()]
    said = Said()
    for line in lines[:-1]:
        rule("error" not in line and line.get("done") is False, "only the last line ends a stream", line)
        _take(line, said)
    last = lines[-1]
    if "error" in last:
        rule(isinstance(last["error"], str) and last["error"], "an error is a text", last)
        said.is_broken = True
        return said
    return _end(last, said, usage=usage)


def check_whole(body: bytes) -> Said:
    """What an answer in one piece says; raises Violation."""
    told = orjson.loads(body)
    return _end(told, Said(), usage="eval_count" in told)


def _take(line: dict[str, Any], said: Said) -> None:
    rule(line["model"] and line["created_at"].endswith("Z"), "a line names its model and time", line)
    message = line["message"]
    rule(message["role"] == "assistant" and isinstance(message["content"], str), "a line has a message", line)
    said.text += message["content"]
    said.thought += message.get("thinking", "")
    for call in message.get("tool_calls", ()):
        function = call["function"]
        rule(isinstance(function["arguments"], dict) and function["name"], "a call has a name and an object", call)
        rule(function["index"] == len(said.calls), "indexes of calls rise one by one", call)
        said.calls.append((call["id"], function["name"], function["arguments"]))


def _end(last: dict[str, Any], said: Said, *, usage: bool) -> Said:
    _take(last, said)
    rule(last["done"] is True and last["done_reason"] in _FINISHES, "the last line tells why it ends", last)
    rule(isinstance(last["total_duration"], int), "the last line tells how long it took", last)
    told = [name for name in _COUNTS if isinstance(last.get(name), int)]
    rule(len(told) == (len(_COUNTS) if usage else 0), "counts are told if they are known", last)
    said.finish = last["done_reason"]
    said.tokens = Tokens(last["prompt_eval_count"], last["eval_count"]) if usage else None
    return said
