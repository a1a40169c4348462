"""Prompts and answers as attributes of spans, where that is switched on. Every text is redacted and bounded.

What is left out is said in `headgate.answer_not_told`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from headgate.telemetry.redact import redact
from headgate.telemetry.spans import Content

LONGEST = 32_768
"""Characters of one text that are kept; the rest is counted."""
_MOST_MESSAGES = 200
_PROMPTS = ("prompt", "input", "query")


def of_request(content: Content) -> dict[str, Any]:
    """For the span of a request: what went in and what came out."""
    asked = _messages(content.fields)
    found = {"input.value": _whole_prompt(content.fields, asked), "input.mime_type": "text/plain"}
    if asked:
        found |= {"input.value": orjson.dumps(asked).decode(), "input.mime_type": "application/json"}
    answer = _answer(content.answer)
    if answer is not None:
        found |= {"output.value": answer["content"], "output.mime_type": "text/plain"}
        if content.is_cut:
            found["headgate.answer_not_told"] = f"what came after the first {len(content.answer)} bytes"
    elif content.answer:
        found["headgate.answer_not_told"] = f"{len(content.answer)} bytes or more that are not text of a known form"
    return found


def of_call(content: Content) -> dict[str, Any]:
    """For the span of a call, in both conventions."""
    found = of_request(content)
    asked = _messages(content.fields)
    answer = _answer(content.answer)
    for at, message in enumerate(asked):
        _add(found, f"llm.input_messages.{at}.message", message)
    if asked:
        found["gen_ai.input.messages"] = orjson.dumps([_with_parts(one) for one in asked]).decode()
    if answer is not None:
        _add(found, "llm.output_messages.0.message", answer)
        found["gen_ai.output.messages"] = orjson.dumps([_with_parts(answer)]).decode()
    return found


def _add(found: dict[str, Any], name: str, message: Mapping[str, Any]) -> None:
    found[f"{name}.role"] = message["role"]
    found[f"{name}.content"] = message["content"]
    for at, call in enumerate(message.get("tool_calls", ())):
        where = f"{name}.tool_calls.{at}.tool_call"
        found[f"{where}.id"] = call["id"]
        found[f"{where}.function.name"] = call["name"]
        found[f"{where}.function.arguments"] = call["arguments"]


def _with_parts(message: Mapping[str, Any]) -> dict[str, Any]:
    parts = [{"type": "text", "content": message["content"]}] if message["content"] else []
    parts += [{"type": "tool_call", **call} for call in message.get("tool_calls", ())]
    return {"role": message["role"], "parts": parts}


def _messages(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The last messages of the prompt, each with its role, its text and its calls of tools."""
    told = _objects(fields.get("messages")) or [one for one in _objects(fields.get("input")) if "role" in one]
    return [_message(one) for one in told[-_MOST_MESSAGES:]]


def _message(given: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": _kept(given.get("role", "")), "content": _text(given.get("content"))}
    calls = _objects(given.get("tool_calls"))
    if calls:
        message["tool_calls"] = [_tool_call(one) for one in calls]
    return message


def _tool_call(given: Mapping[str, Any]) -> dict[str, str]:
    function = given.get("function")
    named = function if isinstance(function, dict) else {}
    return {
        "id": _kept(given.get("id") or ""),
        "name": _kept(named.get("name") or ""),
        "arguments": _kept(named.get("arguments") or ""),
    }


def _whole_prompt(fields: Mapping[str, Any], asked: list[dict[str, Any]]) -> str:
    return "" if asked else "\n".join(_text(fields[name]) for name in _PROMPTS if name in fields)


def _text(content: object) -> str:
    """The text of a message's content; parts of other kinds are named only."""
    if isinstance(content, str):
        return _kept(content)
    if not isinstance(content, list):
        return ""
    return _kept("\n".join(_part(one) for one in content[:_MOST_MESSAGES]))


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        text = part.get("text")
        return text if isinstance(text, str) else f"[{part.get('type', 'part')}]"
    return str(part)


def _kept(text: object) -> str:
    whole = redact(text if isinstance(text, str) else str(text))
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]}… [{len(whole) - LONGEST} more characters]"


def _answer(raw: bytes) -> dict[str, Any] | None:
    """The answer's first choice, however it came; None if there is no text in it to be read."""
    parsed = _parsed(raw)
    if isinstance(parsed, dict):
        for choice in _objects(parsed.get("choices")):
            message = choice.get("message")
            told = message if isinstance(message, dict) else {"content": choice.get("text")}
            return _message({"role": "assistant", **told})
        if parsed.get("type") == "message":
            return _message(parsed)
        for item in _objects(parsed.get("output")):
            if item.get("type") == "message":
                return _message(item)
        return None
    return _joined(_deltas(raw))


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _deltas(raw: bytes) -> Iterator[Mapping[str, Any]]:
    """What a stream's events add to the first choice; a last event that was cut is passed over."""
    for line in raw.splitlines():
        event = _parsed(line[5:]) if line.startswith(b"data:") else None
        if isinstance(event, dict) and event.get("type") == "response.output_text.delta":
            yield {"content": event.get("delta")}
        if isinstance(event, dict) and event.get("type") == "content_block_delta":
            delta = event.get("delta")
            yield {"content": delta.get("text")} if isinstance(delta, dict) else {}
        for choice in _objects(event.get("choices") if isinstance(event, dict) else None):
            if not choice.get("index"):
                delta = choice.get("delta")
                yield delta if isinstance(delta, dict) else {"content": choice.get("text")}


def _joined(deltas: Iterator[Mapping[str, Any]]) -> dict[str, Any] | None:
    texts: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        if isinstance(delta.get("content"), str):
            texts.append(delta["content"])
        for one in _objects(delta.get("tool_calls")):
            _add_call(calls, one)
    if not texts and not calls:
        return None
    return _message({"role": "assistant", "content": "".join(texts), "tool_calls": list(calls.values())})


def _add_call(calls: dict[int, dict[str, Any]], delta: Mapping[str, Any]) -> None:
    at = delta.get("index")
    call = calls.setdefault(at if isinstance(at, int) else 0, {"id": "", "function": {"name": "", "arguments": ""}})
    call["id"] = call["id"] or delta.get("id") or ""
    function = delta.get("function")
    told = function if isinstance(function, dict) else {}
    for name in ("name", "arguments"):
        more = told.get(name)
        call["function"][name] += more if isinstance(more, str) else ""


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects in a list; nothing of anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
