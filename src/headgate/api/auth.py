"""Keys in headers: every form that clients of the known APIs send, on every route."""

from collections.abc import Mapping


def key_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key that came as `Authorization: Bearer`, `x-api-key`, `api-key` or `x-goog-api-key`; None without one."""
    bearer = headers.get(b"authorization")
    if bearer is not None:
        scheme, _, key = bearer.partition(b" ")
        if scheme.lower() == b"bearer" and (key := key.strip()):
            return key
    return headers.get(b"x-api-key") or headers.get(b"api-key") or headers.get(b"x-goog-api-key") or None
