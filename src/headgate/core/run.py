"""A run: one execution of a request, and its attempts. Filled in as things happen; read when it is settled."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headgate.core.bounds import Ticket
from headgate.core.errors import HeadgateError
from headgate.core.ids import Trace
from headgate.core.money import Price
from headgate.core.principal import ANYONE, Principal
from headgate.core.tokens import Tokens
from headgate.core.wishes import NOTHING, Wishes

now = time.perf_counter
"""Seconds of a monotonic clock; all times of a run are on it."""


@dataclass(slots=True)
class Attempt:
    """One call of one upstream. Times are `now()`, 0.0 while unknown.

    `target` is the target's public name, `key` the one its health is kept under. `model_name` is the model it was tried
    for, which differs from the run's when that fell back. `dropped` and `applied` tell what was done to the request.
    """

    upstream: str
    model: str
    target: str
    key: str
    model_name: str
    started: float
    first_byte: float = 0.0
    first_token: float = 0.0
    ended: float = 0.0
    chunks: int = 0
    text_bytes: int = 0
    """Bytes of the answer's text, where they were counted; of an answer in one piece, its size."""
    tokens: Tokens | None = None
    price: Price | None = None
    """The target's own price, if it has one."""
    error: HeadgateError | None = None
    dropped: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()


class ToolCall(NamedTuple):
    """A call of one of the gateway's own tools; `result` is ok, failed, held or cancelled."""

    name: str
    result: str
    seconds: float


@dataclass(slots=True)
class Run:
    """One request: who asked for what, which attempts were made and how it ended.

    `outcome` is ok, error or disconnected. `status` is the HTTP status sent (or, of an error, about to be), 0 if none.
    """

    id: str
    trace: Trace
    route: str
    started: float = field(default_factory=now)
    who: Principal = ANYONE
    wishes: Wishes = NOTHING
    model: str | None = None
    stream: bool = False
    wants_usage: bool = False
    """The caller asked for the usage chunk of a stream."""
    tells_more: bool = True
    """Whether the caller is told, in fields of our own, what the gateway does."""
    bytes_in: int = 0
    bytes_out: int = 0
    status: int = 0
    outcome: str = "ok"
    error: HeadgateError | None = None
    attempts: list[Attempt] = field(default_factory=list)
    applied: tuple[str, ...] = ()
    """What was done to the caller's wishes, such as `retries=5` where more were asked."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Targets that were not tried, or later than others, by public name, and why."""
    mirror_of: str | None = None
    """The run whose copy this is."""
    parent: str = ""
    """The run on whose behalf this one was made."""
    component: str = "passthrough"
    """Which part of the gateway made the calls."""
    fields: Mapping[str, Any] | None = None
    """The request's fields, for what has to be estimated; None if it was not read."""
    label: str = ""
    """The model's name in metrics; empty until a model was found, so that callers cannot invent label values."""
    ticket: Ticket | None = None
    """What the run holds under limits and budgets."""
    ended: float = 0.0
    """When the run ended; 0.0 before."""
    depth: int = 0
    """How many agents stand above this run."""
    deepest: int = 16
    """How deep its delegates may go, as the agents above it allow."""
    added: tuple[str, ...] = ()
    """Tools that the caller did not ask for."""
    tools: tuple[ToolCall, ...] = ()
    """The gateway's own tools that were called, in the order in which they ended."""
    accounted: int = 0
    """How many attempts are in the ledger."""
    cost: int = 0
    """Nano-USD of what is in the ledger, as far as prices are known."""
    is_accounted: bool = False
    is_settled: bool = False

    def fail(self, error: HeadgateError) -> None:
        self.outcome = "error"
        self.error = error
        self.status = self.status or error.status
