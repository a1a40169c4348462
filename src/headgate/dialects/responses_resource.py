"""The resource that OpenAI's Responses API answers with, around its output. Every field of it has a value.

Pure: knows nothing of events and streams. https://www.openresponses.org/specification
"""

from collections.abc import Mapping
from typing import Any

from headgate.core.tokens import Tokens
from headgate.dialects.types import Occasion

_TEXT_FORMAT = {"type": "text"}


def response_id(run_id: str) -> str:
    """The id of the response of a run."""
    return f"resp_{run_id.removeprefix('req_').removeprefix('resp_')}"


def resource(occasion: Occasion) -> dict[str, Any]:
    """A response that has just begun: what was asked for, or what is assumed where nothing was."""
    asked = occasion.fields
    reasoning = asked.get("reasoning")
    text = asked.get("text")
    return {
        "id": response_id(occasion.run_id),
        "object": "response",
        "created_at": occasion.created,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": _or(asked.get("instructions"), None),
        "max_output_tokens": _or(asked.get("max_output_tokens"), None),
        "max_tool_calls": _or(asked.get("max_tool_calls"), None),
        "model": occasion.model,
        "output": [],
        "parallel_tool_calls": _or(asked.get("parallel_tool_calls"), True),
        "previous_response_id": _or(asked.get("previous_response_id"), None),
        "presence_penalty": _or(asked.get("presence_penalty"), 0),
        "frequency_penalty": _or(asked.get("frequency_penalty"), 0),
        "prompt_cache_key": _or(asked.get("prompt_cache_key"), None),
        "reasoning": {"effort": None, "summary": None, **(reasoning if isinstance(reasoning, dict) else {})},
        "safety_identifier": _or(asked.get("safety_identifier"), None),
        "service_tier": _or(asked.get("service_tier"), "default"),
        "store": False,
        "temperature": _or(asked.get("temperature"), 1),
        "text": {"format": _TEXT_FORMAT, **(text if isinstance(text, dict) else {})},
        "tool_choice": _or(asked.get("tool_choice"), "auto"),
        "tools": [_tool(tool) for tool in _or(asked.get("tools"), [])],
        "top_logprobs": _or(asked.get("top_logprobs"), 0),
        "top_p": _or(asked.get("top_p"), 1),
        "truncation": _or(asked.get("truncation"), "disabled"),
        "usage": None,
        "user": _or(asked.get("user"), None),
        "metadata": _or(asked.get("metadata"), {}),
    }


def usage_of(tokens: Tokens) -> dict[str, Any]:
    """Counts in the API's words; what was read from a cache is part of the input."""
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached},
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.completion,
    }


def _tool(tool: Any) -> Any:
    """Functions are shown with all their fields."""
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": False, **tool}


def _or(value: Any, usual: Any) -> Any:
    return usual if value is None else value
