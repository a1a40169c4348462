"""Token counts as providers report them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tokens:
    """Counts of one call; `cached` is part of `prompt`, `reasoning` part of `completion`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


def reported(usage: object) -> Tokens | None:
    """Read an OpenAI `usage` object; None when there is none or it holds no counts."""
    if type(usage) is not dict:
        return None
    prompt = _count(usage, "prompt_tokens", "input_tokens", "total_tokens")
    if prompt is None:
        return None
    return Tokens(
        prompt=prompt,
        completion=_count(usage, "completion_tokens", "output_tokens") or 0,
        cached=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
    )


def _count(usage: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = usage.get(name)
        if type(value) is int and value >= 0:
            return value
    return None


def _detail(usage: Mapping[str, object], group: str, name: str) -> int:
    details = usage.get(group)
    return (_count(details, name) or 0) if type(details) is dict else 0
