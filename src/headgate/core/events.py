"""What an answer is made of, inside. A stream is one Opened and then frames; anything else is one Whole.

Relayed frames are plain `bytes`: complete server-sent events, or pieces of a binary answer, ready to be sent.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

Sink = Callable[[bytes], bool]
"""Takes a piece; says whether it can take more at once."""
Room = Callable[[], Awaitable[None]]
"""Returns when the sink can take more."""


class Whole(NamedTuple):
    """A complete answer: its body as bytes."""

    body: bytes
    content_type: bytes = b"application/json"


class Opened(NamedTuple):
    """A stream begins; the attempt is locked in. `events`: the frames are server-sent events.

    Whoever can take frames without waiting may have them pushed with `pour` (see Stream) before asking for more events.
    """

    content_type: bytes
    events: bool
    pour: Callable[[Sink, Room], Awaitable[None]]


Event = Whole | Opened | bytes
