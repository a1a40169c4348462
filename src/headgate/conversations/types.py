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

Cause = Literal["root", "compaction", "fork", "rewind", "removal"]
"""Why a segment began: with its conversation, over a summary, in another conversation, at an earlier item, or without
one that was taken out.
"""
Status = Literal["queued", "in_progress", "requires_action", "completed", "failed", "cancelled", "incomplete"]
OPEN: tuple[Status, ...] = ("queued", "in_progress", "requires_action")
WORKING: tuple[Status, ...] = ("queued", "in_progress")
"""Somebody works on it; one that is open beside these waits for an answer."""
Kind = Literal["approval", "client_tool", "question"]
"""What an action waits for: leave to make a call, the result of a call of the caller's, an answer to a question."""
Verdict = Literal["approve", "reject", "edit", "answer"]

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
    """An item to append. `created` is 0 for one that is new."""

    data: Mapping[str, Any]
    run: str = ""
    created: int = 0


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


@dataclass(frozen=True, slots=True)
class Action:
    """Something that waits for a person. `arguments` is the model's JSON, `digest` what they hash to.

    `rule` is the line of the policy that held the call back. It is `pending` until somebody answers or `expires` is
    over, `answered` from then on, and `done` once what came of it stands in the conversation. `by` is the key (and, if
    there is one, the end user) that answered, 0 of `answered_at` for nobody; `answer` holds `arguments`, `text` or
    `reason`.
    """

    id: str
    kind: Kind
    owner: Owner
    conversation: str
    run: str
    model: str
    tool: str
    arguments: str
    digest: str
    rule: str
    created: int
    expires: int
    state: Literal["pending", "answered", "done"] = "pending"
    verdict: Verdict | Literal[""] = ""
    answer: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    answered_at: int = 0
    call: str = ""
    """The id of a call of the caller's own tools, as it names the result."""
    within: Mapping[str, Any] = field(default_factory=dict)
    """Of a call that an agent wanted to make which another one had asked: what is needed to go on with both.

    `frames` tell of each agent below, the innermost first: `agent`, `model`, `messages`, and the `call` among them that
    waits. `call` is the one by which the first of them was asked.
    """

    @property
    def status(self) -> str:
        """As callers see it: pending, expired, approved, rejected, edited or answered."""
        if self.state == "pending":
            return "pending" if self.expires > milliseconds() else "expired"
        return {"approve": "approved", "reject": "rejected", "edit": "edited"}.get(self.verdict, "answered")


class ActionQuery(NamedTuple):
    """Which actions, the newest first. `after` is the id of the last one seen; `waiting`: such as can be answered."""

    limit: int = 20
    after: str = ""
    conversation: str = ""
    run: str = ""
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """Something that is to be remembered of or for a user."""

    id: str
    owner: Owner
    text: str
    created: int


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
