"""Run ids and W3C trace context (https://www.w3.org/TR/trace-context/). Knows no clock but the system's."""

import re
import time
from random import Random
from typing import NamedTuple

_random = Random()  # seeded by the system; ids must be unique, not secret
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_STATE = re.compile(r"[ -~]{1,512}")
_ODD = frozenset("13579bdf")
_OTHER = dict(zip("0123456789abcdef", "1032547698badcfe", strict=True))
"""Each digit with its lowest bit the other way."""
_CALLER_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def _new_id(size: int) -> str:
    """So many bytes as hexadecimal digits, which are not all zero. Formatting a number takes three times as long."""
    return (_random.getrandbits(8 * size) or 1).to_bytes(size).hex()


class Trace(NamedTuple):
    """One span: 32 and 16 hexadecimal digits and two of flags.

    `parent` is the span id it stands under, empty for a root. `state` is the caller's `tracestate`, passed on as it is.

    With every request one is made by `_make`, as are other values of the kind: their classes, called by field, take
    twice as long.
    """

    trace_id: str
    span_id: str
    flags: str
    parent: str = ""
    state: str = ""

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @property
    def is_sampled(self) -> bool:
        return self.flags[1] in _ODD

    def below(self) -> tuple[str, str]:
        """The span id and the `traceparent` for a call: of a new span under this one, or its own if none is kept."""
        trace_id, span_id, flags, _, _ = self
        if flags[1] in _ODD:
            span_id = _new_id(8)
        return span_id, f"00-{trace_id}-{span_id}-{flags}"

    def child(self) -> "Trace":
        """A new span under this one."""
        return Trace(self.trace_id, _new_id(8), self.flags, self.span_id, self.state)

    def sampled(self, yes: bool) -> "Trace":
        """The same span with the flag that says whether it is kept."""
        trace_id, span_id, flags, parent, state = self
        if yes is (flags[1] in _ODD):
            return self
        return Trace._make((trace_id, span_id, flags[0] + _OTHER[flags[1]], parent, state))


def new_run_id(caller_id: str | None = None) -> str:
    """The caller's own id when it is harmless, else a new one: unique without coordination, ordered by time."""
    if caller_id and _CALLER_ID.fullmatch(caller_id):
        return caller_id
    return "req_" + (time.time_ns() // 1_000_000 << 80 | _random.getrandbits(80)).to_bytes(16).hex()


def child_of(traceparent: str | None, tracestate: str | None = None) -> Trace:
    """A new span under the caller's; without a valid `traceparent`, the root of a new, unsampled trace.

    A `tracestate` that is too long or holds other than printable ASCII is not passed on, nor is one without a parent.
    """
    span_id = _new_id(8)
    parent = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if parent is None or not int(parent[1], 16) or not int(parent[2], 16):
        return Trace._make((_new_id(16), span_id, "00", "", ""))
    state = tracestate if tracestate and _STATE.fullmatch(tracestate) else ""
    return Trace(parent[1], span_id, parent[3], parent[2], state)
