"""Keys in headers: every form that clients of the known APIs send, on every route."""

from collections.abc import Mapping


def key_of(headers: Mapping[bytes, bytes], further: bytes = b"") -> bytes | None:
    """The key that came as `Authorization: Bearer`, `x-api-key`, `api-key` or `x-goog-api-key`; None without one.

    `further` is the lower-case name of one more header that may carry it, with or without `Bearer`; it comes first.
    """
    if further and (own := headers.get(further)):
        return own.removeprefix(b"Bearer ").strip() or None
    bearer = headers.get(b"authorization")
    if bearer is not None:
        scheme, _, key = bearer.partition(b" ")
        if scheme.lower() == b"bearer" and (key := key.strip()):
            return key
    return headers.get(b"x-api-key") or headers.get(b"api-key") or headers.get(b"x-goog-api-key") or None
