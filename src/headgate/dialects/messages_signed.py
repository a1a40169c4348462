"""Conversations that other providers had a part in, made fit for Anthropic: it refuses thoughts that it did not sign.

A model behind this API may have answered some turns from a provider that signs nothing; callers send its thoughts back
as they got them, with an empty signature.
"""

import re
from collections.abc import Mapping
from typing import Any

_UNSIGNED = re.compile(rb'"signature"\s*:\s*""')


def may_hold_unsigned(body: bytes) -> bool:
    """Whether a request may hold such a thought, by its bytes."""
    return _UNSIGNED.search(body) is not None


def signed(fields: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The members of a request that change, without thoughts that nobody signed; and the paths of what is lost.

    In the middle of a turn of calls that then begins without any thought, the model must not think: the API refuses it.
    """
    messages = [_signed(message) for message in fields["messages"]]
    if messages == fields["messages"]:
        return {}, ()
    messages = [message for message in messages if message.get("content") != []]
    put: dict[str, Any] = {"messages": messages}
    told = fields.get("thinking")
    if isinstance(told, dict) and told.get("type") != "disabled" and _is_amid_an_unthought_turn(messages):
        return {**put, "thinking": {"type": "disabled"}}, ("messages[].thinking", "thinking")
    return put, ("messages[].thinking",)


def _signed(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [block for block in content if not _is_unsigned(block)]}


def _is_unsigned(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") == "thinking" and not block.get("signature")


def _is_amid_an_unthought_turn(messages: list[dict[str, Any]]) -> bool:
    answers = [message["content"] for message in messages if message.get("role") == "assistant"]
    if not answers or _kinds(messages[-1].get("content")).isdisjoint(("tool_result",)):
        return False
    said = answers[-1][0] if isinstance(answers[-1], list) else None
    return not (isinstance(said, dict) and said.get("type") in ("thinking", "redacted_thinking"))


def _kinds(content: object) -> set[Any]:
    blocks = content if isinstance(content, list) else []
    return {block.get("type") for block in blocks if isinstance(block, dict)}
