"""Keys in headers: every form that clients of the known APIs send, on every route."""

from collections.abc import Mapping


def key_of(headers: Mapping[bytes, bytes], further: bytes = b"") -> bytes | None:
    """The key that came as `Authorization: Bearer`, `x-api-key`, `api-key` or `x-goog-api-key`; None without one.

    First come two headers that leave those to others, with or without `Bearer`: `further`, a name in lower case, and
    LiteLLM's `x-litellm-api-key`.
    """
    if own := (headers.get(further) if further else None) or headers.get(b"x-litellm-api-key"):
        return own.removeprefix(b"Bearer ").strip() or None
    bearer = headers.get(b"authorization")
    if bearer is not None:
        scheme, _, key = bearer.partition(b" ")
        if scheme.lower() == b"bearer" and (key := key.strip()):
            return key
    return headers.get(b"x-api-key") or headers.get(b"api-key") or headers.get(b"x-goog-api-key") or None
