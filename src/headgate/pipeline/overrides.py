"""Wishes in the request's body, as LiteLLM's SDK sends them: read, and taken out of what the provider gets."""

from typing import Any

from headgate.core.errors import InvalidField
from headgate.core.request import Changes, ModelRequest
from headgate.core.wishes import Wishes

_OURS = frozenset(
    (
        *("num_retries", "timeout", "fallbacks", "disable_fallbacks", "tags"),
        *("litellm_session_id", "litellm_trace_id", "litellm_metadata", "caching", "cache", "guardrails", "no-log"),
    )
)
"""Fields that are the gateway's, also those that LiteLLM alone does something with."""
_MOST_FALLBACKS = 20


def wishes_in_body(request: ModelRequest, given: Wishes) -> tuple[Wishes, Changes | None]:
    """The wishes, those of the headers first, and the change that takes them out; raises InvalidField."""
    fields = request.fields
    metadata = fields.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    found = _OURS.intersection(fields)
    if not found and tags is None:
        return given, None
    put: dict[str, Any] = {}
    if tags is not None:
        kept = {name: value for name, value in metadata.items() if name != "tags"} if metadata else {}
        if kept:
            put["metadata"] = kept
        else:
            found |= {"metadata"}
    wishes = Wishes(
        given.timeout if given.timeout is not None else _number("timeout", fields.get("timeout")),
        given.retries if given.retries is not None else _count("num_retries", fields.get("num_retries")),
        given.tags or _tags(tags) | _tags(fields.get("tags")),
        given.session or _text("litellm_session_id", fields.get("litellm_session_id")),
        given.fallbacks if given.fallbacks is not None else _fallbacks(fields),
    )
    return wishes, Changes(put, found)


def _fallbacks(fields: Any) -> tuple[str, ...] | None:
    if fields.get("disable_fallbacks") is True:
        return ()
    names = fields.get("fallbacks")
    if names is None:
        return None
    if not isinstance(names, list) or len(names) > _MOST_FALLBACKS:
        raise InvalidField(f"The field 'fallbacks' must be an array of at most {_MOST_FALLBACKS}.", param="fallbacks")
    models = [one.get("model") if isinstance(one, dict) else one for one in names]
    named = tuple(one for one in models if isinstance(one, str) and one)
    if len(named) < len(models):
        raise InvalidField("The field 'fallbacks' must be an array of model names.", param="fallbacks")
    return named


def _number(name: str, value: object) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < 1e6:  # type: ignore[operator]
        raise InvalidField(f"The field '{name}' must be a number of seconds above 0.", param=name)
    return float(value)  # type: ignore[arg-type]


def _count(name: str, value: object) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= 1000):
        raise InvalidField(f"The field '{name}' must be a whole number from 0.", param=name)
    return value


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidField(f"The field '{name}' must be a string.", param=name)
    return value


def _tags(value: object) -> frozenset[str]:
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()
