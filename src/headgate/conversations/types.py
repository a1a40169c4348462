"""What is kept of conversations, as values.

A conversation is a path through an append-only tree of items. Items lie in segments; a segment goes on where its
parent was left: its first item stands at position `base + 1`, and what comes before are the parent's items up to
`base`. Times are milliseconds since the epoch.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any, Literal, NamedTuple

Cause = Literal["root", "compaction", "fork", "rewind"]
"""Why a segment began: with its conversation, over a summary, in another conversation, or at an earlier item."""
Status = Literal["queued", "in_progress", "requires_action", "completed", "failed", "cancelled", "incomplete"]
OPEN: tuple[Status, ...] = ("queued", "in_progress", "requires_action")
Kind = Literal["approval", "client_tool", "question"]

_random = SystemRandom()


class Owner(NamedTuple):
    """Whose something is. What belongs to somebody else is not there for this one."""

    tenant: str
    user: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Its head. `agent` is empty where it is bound to none. `depth` is the position of its last item, 0 for none;
    `revision` rises with every change of it.
    """

    id: str
    owner: Owner
    agent: str
    model: str
    title: str
    created: int
    touched: int
    segment: str
    depth: int
    revision: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tokens: int = 0
    """What the last call with it and its answer came to, as its provider counted; 0 if nobody did."""
    counted: int = 0
    """The position of the last item that is among these tokens."""
    compaction: Mapping[str, Any] = field(default_factory=dict)
    """What is set of its compaction alone; see policy.CompactionWishes."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`covers` is the first and last position that its summary stands for, and `keeps` those in between that are still
    told; `told` says how the summary came about.
    """

    id: str
    conversation: str
    parent: str
    base: int
    cause: Cause
    created: int
    covers: tuple[int, int] | None = None
    keeps: tuple[int, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Item:
    """`data` is an item as the Responses API has it, with its id and type. `run` made it; empty if the caller did."""

    id: str
    segment: str
    position: int
    run: str
    created: int
    data: Mapping[str, Any]


class New(NamedTuple):
    """An item to append."""

    data: Mapping[str, Any]
    run: str = ""


class Summary(NamedTuple):
    """What compaction puts in the place of items: see Segment. The item is the first of the new segment."""

    item: Mapping[str, Any]
    covers: tuple[int, int]
    keeps: tuple[int, ...]
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One turn. `base` is the position after which its items come; `revision` is the conversation's when it began.

    `request` and `response` are in the words of the Responses API. `holder` works on it until `held_until`.
    """

    id: str
    request_id: str
    conversation: str
    owner: Owner
    status: Status
    background: bool
    created: int
    ended: int
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None = None
    previous: str = ""
    segment: str = ""
    base: int = 0
    events: int = 0
    """How many events it has; they are numbered from 0."""
    holder: str = ""
    held_until: int = 0


class StoredEvent(NamedTuple):
    """`data` is the event's JSON as it is sent."""

    number: int
    data: bytes


class Query(NamedTuple):
    """Which conversations, the one touched last first. `after` is the (touched, id) of the last one seen."""

    limit: int = 20
    after: tuple[int, str] | None = None
    agent: str | None = None
    text: str = ""
    offset: int = 0


def new_id(kind: str) -> str:
    """Unique without coordination, ordered by time: `conv_`, `seg_`, `msg_`, `resp_` and so on."""
    return f"{kind}_{milliseconds():012x}{_random.getrandbits(80):020x}"


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


def title_of(items: Sequence[New]) -> str:
    """The beginning of the first thing that the user says; empty if nothing does."""
    for item in items:
        if item.data.get("role") != "user":
            continue
        content = item.data.get("content")
        texts = content if isinstance(content, list) else [{"text": content}]
        text = " ".join(str(part.get("text") or "") for part in texts if isinstance(part, dict))
        if text := " ".join(text.split()):
            return text[:120]
    return ""
