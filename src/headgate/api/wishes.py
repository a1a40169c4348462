"""Headers by which a caller says how a request is to be routed: ours, and LiteLLM's names for the same."""

from collections.abc import Mapping

from headgate.core.errors import InvalidHeader
from headgate.core.wishes import NOTHING, Wishes

_TIMEOUT = (b"x-headgate-timeout", b"x-litellm-timeout")
_STREAM_TIMEOUT = (b"x-litellm-stream-timeout",)
_RETRIES = (b"x-headgate-retries", b"x-litellm-num-retries")
_TAGS = (b"x-headgate-tags", b"x-litellm-tags")
_SESSION = (b"x-headgate-session", b"x-session-id", b"x-litellm-session-id", b"x-claude-code-session-id")
_FALLBACKS = (b"x-headgate-fallbacks",)
_NAMES = frozenset((*_TIMEOUT, *_STREAM_TIMEOUT, *_RETRIES, *_TAGS, *_SESSION, *_FALLBACKS))
_MOST_SECONDS = 86_400.0
_MOST_DIGITS = 4
_MOST_NAMED = 20
_LONGEST_SESSION = 256


def wishes_of(headers: Mapping[bytes, bytes], *, stream: bool) -> Wishes:
    """What the headers ask for; raises InvalidHeader."""
    if _NAMES.isdisjoint(headers):
        return NOTHING
    timeout = _seconds(headers, _STREAM_TIMEOUT) if stream else None
    return Wishes(
        timeout=_seconds(headers, _TIMEOUT) if timeout is None else timeout,
        retries=_retries(headers),
        tags=frozenset(_names(headers, _TAGS) or ()),
        session=_session(headers),
        fallbacks=_fallbacks(headers),
    )


def _first(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> tuple[str, str] | None:
    for name in names:
        value = headers.get(name)
        if value:
            return name.decode(), value.decode("latin-1").strip()
    return None


def _seconds(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> float | None:
    found = _first(headers, names)
    if found is None:
        return None
    try:
        seconds = float(found[1])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise InvalidHeader(f"The header {found[0]} must be a number of seconds above 0.", param=found[0])
    return seconds


def _retries(headers: Mapping[bytes, bytes]) -> int | None:
    found = _first(headers, _RETRIES)
    if found is None:
        return None
    if not (found[1].isascii() and found[1].isdecimal() and len(found[1]) <= _MOST_DIGITS):
        raise InvalidHeader(f"The header {found[0]} must be a whole number from 0.", param=found[0])
    return int(found[1])


def _names(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> tuple[str, ...] | None:
    found = _first(headers, names)
    if found is None:
        return None
    listed = tuple(word.strip() for word in found[1].split(",") if word.strip())
    if len(listed) > _MOST_NAMED:
        raise InvalidHeader(f"The header {found[0]} names more than {_MOST_NAMED}.", param=found[0])
    return listed


def _session(headers: Mapping[bytes, bytes]) -> str | None:
    found = _first(headers, _SESSION)
    return found[1][:_LONGEST_SESSION] if found else None


def _fallbacks(headers: Mapping[bytes, bytes]) -> tuple[str, ...] | None:
    """Names of models, or `none` for no fallback at all."""
    listed = _names(headers, _FALLBACKS)
    return () if listed == ("none",) else listed
