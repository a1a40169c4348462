"""What an answer is made of, inside. A stream is one Opened and then frames; anything else is one Whole.

Relayed frames are plain `bytes`: complete server-sent events, or pieces of a binary answer, ready to be sent.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Whole:
    """A complete answer: its body as bytes."""

    body: bytes
    content_type: bytes = b"application/json"


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream begins; the attempt is locked in. `events`: the frames are server-sent events."""

    content_type: bytes
    events: bool


Event = Whole | Opened | bytes
