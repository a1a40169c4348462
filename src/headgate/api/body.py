"""Request bodies, read whole and bounded."""

import asyncio
from collections.abc import Mapping

from headgate.api.cycle import cycle_of
from headgate.api.gate import Receive
from headgate.core.errors import BodyTooLarge


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The whole body; raises BodyTooLarge as soon as its length is known to pass the limit."""
    cycle = cycle_of(receive)
    body = cycle.body() if cycle is not None else None
    if body is None or len(body) > limit:
        length = headers.get(b"content-length")
        if length is not None and int(length) > limit:
            raise BodyTooLarge(f"The body has {int(length)} bytes; the limit is {limit}.")
        body = body or await _read_messages(receive, limit)
        if len(body) > limit:
            raise BodyTooLarge(f"The body has more than {limit} bytes.")
    return body


async def _read_messages(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body", False):
            break
    return b"".join(parts)
