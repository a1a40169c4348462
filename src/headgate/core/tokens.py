"""Token counts as providers report them, brought into one shape."""

from collections.abc import Mapping
from typing import NamedTuple

_MOST = 2**31 - 1
"""A larger count is a mistake, and sums of such would not fit into a database."""
_NOTHING: Mapping[str, object] = {}
_INWARD = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTWARD = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_READ = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens")
_WRITTEN = ("cache_creation_input_tokens",)
_BESIDE = frozenset((*_READ, *_WRITTEN))
_PARTS = _BESIDE.union(_INWARD, _OUTWARD)
_NO_PARTS = (0,) * 7


class Tokens(NamedTuple):
    """Counts of one call.

    `cached` and `cache_write` are parts of `prompt`, `reasoning` is part of `completion`; so are those of audio and
    images.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0
    prompt_audio: int = 0
    completion_audio: int = 0
    prompt_image: int = 0
    completion_image: int = 0


def reported(usage: object) -> Tokens | None:
    """Read a provider's `usage` object; None when there is none or it holds no counts.

    Providers differ in what is part of what. Anthropic counts cached tokens beside the prompt, Gemini and xAI reasoning
    beside the completion and in the total only; and so does whoever reports more of a part than the whole has.
    """
    if type(usage) is not dict:
        return None
    prompt = _count(usage, "prompt_tokens", "input_tokens", "total_tokens")
    if prompt is None:
        return None
    completion = _count(usage, "completion_tokens", "output_tokens") or 0
    total = _count(usage, "total_tokens") or 0
    if total <= prompt + completion and _PARTS.isdisjoint(usage):
        return Tokens._make((prompt, completion, *_NO_PARTS))
    inward, outward = _details(usage, _INWARD), _details(usage, _OUTWARD)
    if not (inward or outward) and total <= prompt + completion and _BESIDE.isdisjoint(usage):
        return Tokens._make((prompt, completion, *_NO_PARTS))
    cached = _count(inward, "cached_tokens") or _count(usage, *_READ) or 0
    written = _count(inward, "cache_write_tokens", "cache_creation_tokens") or _count(usage, *_WRITTEN) or 0
    held = cached + written
    if held > prompt or (held and _counts_beside(usage)):
        prompt += held
    reasoning = _count(outward, "reasoning_tokens", "thinking_tokens") or 0
    if total > prompt + completion:
        reasoning = reasoning or total - prompt - completion
        completion = total - prompt
    if reasoning > completion:
        completion += reasoning
    return Tokens(
        prompt,
        completion,
        cached,
        reasoning,
        written,
        _count(inward, "audio_tokens") or 0,
        _count(outward, "audio_tokens") or 0,
        _count(inward, "image_tokens") or 0,
        _count(outward, "image_tokens") or 0,
    )


def _counts_beside(usage: Mapping[str, object]) -> bool:
    """Anthropic's own shape; who translated it to OpenAI's has `prompt_tokens`, and put them together."""
    return "prompt_tokens" not in usage and (
        "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage
    )


def _count(counts: Mapping[str, object], *names: str) -> int | None:
    if not counts:
        return None
    for name in names:
        value = counts.get(name)
        if type(value) is int and 0 <= value <= _MOST:
            return value
    return None


def _details(usage: Mapping[str, object], names: tuple[str, ...]) -> Mapping[str, object]:
    for name in names:
        details = usage.get(name)
        if type(details) is dict:
            return details if any(details.values()) else _NOTHING
    return _NOTHING
