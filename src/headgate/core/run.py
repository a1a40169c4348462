"""A run: one execution of a request, and its attempts. Filled in as things happen; read when it is settled."""

import time
from dataclasses import dataclass, field

from headgate.core.errors import HeadgateError
from headgate.core.ids import Trace
from headgate.core.principal import ANYONE, Principal
from headgate.core.tokens import Tokens

now = time.perf_counter
"""Seconds of a monotonic clock; all times of a run are on it."""


@dataclass(slots=True)
class Attempt:
    """One call of one upstream. Times are `now()`, 0.0 while unknown."""

    upstream: str
    model: str
    started: float
    first_byte: float = 0.0
    first_token: float = 0.0
    ended: float = 0.0
    chunks: int = 0
    tokens: Tokens | None = None
    error: HeadgateError | None = None
    target: str = field(init=False)

    def __post_init__(self) -> None:
        self.target = f"{self.upstream}/{self.model}"


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
    model: str | None = None
    stream: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    status: int = 0
    outcome: str = "ok"
    error: HeadgateError | None = None
    attempts: list[Attempt] = field(default_factory=list)
    label: str = ""
    """The model's name in metrics; empty until a model was found, so that callers cannot invent label values."""
    ended: float = 0.0
    """When the run was settled; 0.0 before."""

    def fail(self, error: HeadgateError) -> None:
        self.outcome = "error"
        self.error = error
        self.status = self.status or error.status

    def begin(self, upstream: str, model: str) -> Attempt:
        attempt = Attempt(upstream, model, now())
        self.attempts.append(attempt)
        return attempt
