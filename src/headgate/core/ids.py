"""Run ids and W3C trace context (https://www.w3.org/TR/trace-context/). Knows no clock but the system's."""

import re
import time
from random import Random
from typing import NamedTuple

_random = Random()  # seeded by the system; ids must be unique, not secret
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_CALLER_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


class Trace(NamedTuple):
    """One span: 32 and 16 hexadecimal digits and two of flags."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def new_run_id(caller_id: str | None = None) -> str:
    """The caller's own id when it is harmless, else a new one: unique without coordination, ordered by time."""
    if caller_id and _CALLER_ID.fullmatch(caller_id):
        return caller_id
    return f"req_{time.time_ns() // 1_000_000:012x}{_random.getrandbits(80):020x}"


def child_of(traceparent: str | None) -> Trace:
    """A new span under the caller's; without a valid `traceparent`, the root of a new, unsampled trace."""
    span_id = f"{_random.getrandbits(64) or 1:016x}"
    parent = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if parent is None or not int(parent[1], 16) or not int(parent[2], 16):
        return Trace(f"{_random.getrandbits(128) or 1:032x}", span_id, "00")
    return Trace(parent[1], span_id, parent[3])
