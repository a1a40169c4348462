"""Answers of a provider that speaks Anthropic's Messages API natively, for the scripted upstream."""

import json
from typing import Any

from tests.harness.stub import Answer, Recorded, stream, usual

USAGE = {
    "input_tokens": 7,
    "cache_creation_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
    "cache_read_input_tokens": 100,
    "output_tokens": 5,
    "service_tier": "standard",
}
THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": "EqQBsignature=="}
TEXT = {"type": "text", "text": "Hello there."}
CALL = {"type": "tool_use", "id": "toolu_01A", "name": "weather", "input": {"city": "Berlin"}}


def message(*content: dict[str, Any], stop: str = "end_turn", **more: Any) -> Answer:
    """A whole message as Anthropic sends it."""
    return Answer(body=json.dumps(_message(content or (TEXT,), stop, **more)).encode())


def _message(content: tuple[dict[str, Any], ...], stop: str | None, **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-stub",
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
        **more,
    }


def event(name: str, **fields: Any) -> bytes:
    """One event of a stream."""
    data = json.dumps({"type": name, **fields}, separators=(",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode()


def pieces(*content: dict[str, Any], stop: str = "end_turn", **delta: Any) -> list[bytes]:
    """The events of a whole stream: each block in two pieces, and a ping as Anthropic sends it."""
    begun = {**USAGE, "output_tokens": 1}
    events = [event("message_start", message={**_message((), None), "usage": begun})]
    for index, block in enumerate(content or (TEXT,)):
        events += _block(index, block)
        if not index:
            events.insert(2, event("ping"))
    end = {"stop_reason": stop, "stop_sequence": None, **delta}
    return [*events, event("message_delta", delta=end, usage={"output_tokens": 5}), event("message_stop")]


def _block(index: int, block: dict[str, Any]) -> list[bytes]:
    kind = block["type"]
    empty: dict[str, Any] = {
        "text": {"type": "text", "text": ""},
        "thinking": {"type": "thinking", "thinking": "", "signature": ""},
        "tool_use": {**block, "input": {}},
    }.get(kind, block)
    deltas: list[dict[str, Any]] = []
    if kind == "text":
        deltas = [{"type": "text_delta", "text": half} for half in _halves(block["text"])]
        deltas += [{"type": "citations_delta", "citation": one} for one in block.get("citations", ())]
    elif kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": half} for half in _halves(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind == "tool_use":
        typed = json.dumps(block["input"])
        deltas = [{"type": "input_json_delta", "partial_json": half} for half in ("", *_halves(typed))]
    return [
        event("content_block_start", index=index, content_block=empty),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def messages_stream(*content: dict[str, Any], stop: str = "end_turn", **delta: Any) -> Answer:
    return stream(pieces(*content, stop=stop, **delta))


def native(request: Recorded) -> Answer:
    """What a well-behaved provider of this API answers; a chat is answered as anywhere."""
    path = request.path.partition("?")[0]
    if path.endswith("/messages/count_tokens"):
        return Answer(body=b'{"input_tokens":42}')
    if path.endswith("/models"):
        listed = [
            {"type": "model", "id": "claude-stub", "display_name": "Claude", "created_at": "2026-01-01T00:00:00Z"}
        ]
        return Answer(body=json.dumps({"data": listed, "has_more": False}).encode())
    if not path.endswith("/messages"):
        return usual(request)
    return messages_stream() if request.json.get("stream") else message()


def settings(url: str, **upstream: Any) -> dict[str, Any]:
    """One upstream `claude` of the provider `anthropic` at an address, and a model `opus` on it without retries."""
    one = {"name": "claude", "provider": "anthropic", "base_url": url, "api_key": "sk-ant-upstream-1", **upstream}
    target = {"upstream": "claude", "model": "claude-stub"}
    return {"upstreams": [one], "models": [{"name": "opus", "targets": [target], "retries": 0}]}
