"""The parts of an answer in the words of Anthropic's Messages API, and its errors."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from headgate.core.chat import ChatEvent, Ended, Finish, Step
from headgate.core.tokens import Tokens
from headgate.dialects import chat

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOPS: Mapping[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_OWN_STOPS = frozenset(("pause_turn", "stop_sequence", "model_context_window_exceeded"))
_OF_MESSAGE = ("container", "context_management", "diagnostics", "stop_details")
"""Fields of a provider's answer that this dialect has, too."""
_TIERS = {"default": "standard", "standard": "standard", "priority": "priority", "batch": "batch"}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_FAULT = 500
_THINKS = frozenset(("planning", "external_reasoning", "plan"))
"""Steps of a strategy that tell a thought."""
Block = dict[str, Any]
CARRIED = frozenset(("citations", "annotations", "content_blocks"))
"""Members of `Other` that messages have a place for."""


def usage_of(tokens: Tokens | None, beside: Mapping[str, Any]) -> dict[str, Any]:
    """Counts in this API's words: what came from a cache, or went into it, is counted beside the input."""
    counts = tokens or Tokens()
    told: dict[str, Any] = {
        "input_tokens": max(0, counts.prompt - counts.cached - counts.cache_write),
        "cache_creation_input_tokens": counts.cache_write,
        "cache_read_input_tokens": counts.cached,
        "output_tokens": counts.completion,
    }
    if counts.reasoning:
        told["output_tokens_details"] = {"thinking_tokens": counts.reasoning}
    if tier := _TIERS.get(str(beside.get("service_tier"))):
        told["service_tier"] = tier
    return told


def end_of(ended: Ended, *, called: bool, refused: bool) -> dict[str, Any]:
    """Why the message ends, and what its provider told besides."""
    beside = ended.beside
    reason = _STOPS[ended.finish]
    if reason == "end_turn" and (called or refused):
        reason = "tool_use" if called else "refusal"
    elif reason == "tool_use" and not called:
        reason = "end_turn"
    sequence = beside.get("stop_sequence")
    if beside.get("stop_reason") in _OWN_STOPS:
        reason = beside["stop_reason"]
    elif isinstance(sequence, str) and reason == "end_turn":
        reason = "stop_sequence"
    told = {"stop_reason": reason, "stop_sequence": sequence if isinstance(sequence, str) else None}
    return told | {name: beside[name] for name in _OF_MESSAGE if name in beside}


def citations_of(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sources of a text; those that OpenAI's API told have no quotation."""
    if cited := _objects(fields.get("citations")):
        return cited
    pages = [one.get("url_citation") for one in _objects(fields.get("annotations"))]
    return [
        {
            "type": "web_search_result_location",
            "url": page.get("url", ""),
            "title": page.get("title", ""),
            "cited_text": "",
            "encrypted_index": "",
        }
        for page in pages
        if isinstance(page, dict)
    ]


def _objects(listed: object) -> list[dict[str, Any]]:
    """Other providers' fields of the same name may hold anything."""
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def blocks_of(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Blocks that only this dialect knows, as its reader gives them."""
    return [{**one} for one in _objects(fields.get("content_blocks")) if isinstance(one.get("type"), str)]


def thought_of(step: Step) -> str:
    """What a step of a strategy tells of its reasoning."""
    thought = step.metadata.get("thought") if step.type in _THINKS else None
    return f"{thought}\n" if isinstance(thought, str) and thought else ""


def told_of(event: ChatEvent) -> dict[str, Any]:
    """What the gateway does, in the fields that chat's chunks have for it."""
    return {"reasoning_event": chat.step_of(event)} if type(event) is Step else {"proxy_status": chat.status_of(event)}


def message_of(run_id: str, model: str, content: Iterable[Block]) -> dict[str, Any]:
    return {
        "id": f"msg_{run_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def refused(status: int, error: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer that is an error, from the error object of OpenAI's API."""
    own = error.get("type")
    kind = _TYPES.get(status) or (own if own in _TYPES.values() else _type(status))
    told = {"type": kind, "message": error.get("message", "")}
    return {"type": "error", "error": told, "request_id": error.get("request_id", "")}


def _type(status: int) -> str:
    return "api_error" if status >= _FAULT else "invalid_request_error"


def broken(status: int, error: Mapping[str, Any]) -> bytes:
    """The last event of a stream that breaks off."""
    return b"event: error\ndata: %b\n\n" % orjson.dumps(refused(status, error))
