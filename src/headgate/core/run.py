"""A run: one execution of a request, and its attempts. Filled in as things happen; read when it is settled."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

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
    component: str = ""
    """Which part of the gateway made the call, where it is not the run's."""
    tokens: Tokens | None = None
    price: Price | None = None
    """The target's own price, if it has one."""
    error: HeadgateError | None = None
    dropped: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    span: str = ""
    """The id that the provider was given as its parent: of a span of its own, or the run's if no trace is kept."""
    used: Tokens | None = None
    """The tokens it is charged for, once that is known: as reported, or as estimated."""
    measure: str = ""
    """How they are known: reported, counted or estimated; empty before they are."""
    cost: int | None = None
    """Nano-USD for them, once it is settled; None where no price is known."""
    cost_of: "CostOf | None" = None
    """What tokens of this attempt cost, where its stream is to tell."""
    answer: bytearray | None = None
    """The beginning of the answer as it came, where it is to be kept for a while."""


CostOf = Callable[[Attempt, Tokens], int | None]
"""Nano-USD; None where no price is known."""


class StrategyChoice(NamedTuple):
    """How a run is answered, where the choice came from, and why; `said` is a model's own word on it, kept nowhere."""

    name: str
    source: Literal["passthrough_rule", "header_override", "agent_default", "default", "llm_classifier"]
    reason: str = ""
    said: str = ""


class ToolCall(NamedTuple):
    """A call of one of the gateway's own tools; `result` is ok, failed, held or cancelled."""

    name: str
    result: str
    seconds: float


class Continues(NamedTuple):
    """The conversation of this id, or a new one where it is empty, which then belongs to the agent, if one is named."""

    conversation: str = ""
    agent: str = ""
    previous: str = ""
    """Go on after this response instead."""
    keeps: bool = True
    """Whether the turn is kept."""
    background: bool = False
    """Whether it goes on without its caller."""


@dataclass(slots=True)
class Run:
    """One request: who asked for what, which attempts were made and how it ended.

    `outcome` is ok, error, disconnected or cancelled. `status` is the HTTP status sent (or, of an error,
    about to be), 0 if none.
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
    choices: list[Any] = field(default_factory=list)
    """What the planner had to choose from, where it had a choice; see routing.plan.Choice."""
    decision: str = ""
    """JSON that says why these targets were tried, once the run is settled; empty where there was nothing to decide."""
    mirror_of: str | None = None
    """The run whose copy this is."""
    replay_of: str | None = None
    """The run whose recorded answer this one gave; it has no attempts of its own."""
    parent: str = ""
    """The run on whose behalf this one was made."""
    component: str = "passthrough"
    """Which part of the gateway made the calls."""
    dialect: str = ""
    """The words in which the caller asked, where it asked for a chat; see core.surfaces."""
    asked: Mapping[str, Any] | None = None
    """The request's fields in those words; None before they were read."""
    forwards: bytes = b""
    """Header lines of the caller's for providers that are called in those words."""
    lost: tuple[str, ...] = ()
    """What of the request could not be said in the words in which the run is made."""
    breaks_off: "Callable[[int, Mapping[str, Any]], bytes] | None" = None
    """The last events of the stream under way if it breaks off, of an HTTP status and OpenAI's error object."""
    continues: "Continues | None" = None
    """Which stored conversation the caller wants it to go on with; None for none."""
    conversation: str = ""
    """The one that it goes on with, once that is known."""
    provider: str = ""
    """The upstream, or the provider behind it, that the caller wants to answer; empty for any."""
    stored_as: str = ""
    """The id of the stored response that it makes, `resp_…`; empty for none."""
    resumable: str = ""
    """The id of the stored run whose events its stream tells, once that has begun; empty for none."""
    segment: str = ""
    """The segment of it that is told, where a summary stands for what came before."""
    mode: str = ""
    """How the caller wants it answered, as the header says it."""
    strategy: StrategyChoice | None = None
    """How it is answered and who chose that; None where nothing had to be chosen."""
    fields: Mapping[str, Any] | None = None
    """The request's fields, for what has to be estimated; None if it was not read."""
    label: str = ""
    """The model's name in metrics; empty until a model was found, so that callers cannot invent label values."""
    ticket: Ticket | None = None
    """What the run holds under limits and budgets."""
    further: tuple[Ticket, ...] = ()
    """What it holds besides since it fell back on dearer models."""
    ended: float = 0.0
    """When the run ended; 0.0 before."""
    inherits: str = ""
    """The model that agents take which have none of their own; empty if the caller names none."""
    depth: int = 0
    """How many agents stand above this run."""
    absent: dict[str, str] = field(default_factory=dict)
    """Tools, or the servers that have them, which the run had to do without, and why."""
    deepest: int = 16
    """How deep its delegates may go, as the agents above it allow."""
    below: int = 0
    """Nano-USD that runs on behalf of this one spent, as far as prices are known."""
    tokens_below: Tokens | None = None
    """Tokens that agents used on behalf of this one; None if no provider told."""
    added: tuple[str, ...] = ()
    """Tools that the caller did not ask for."""
    narrowed: tuple[str, ...] | None = None
    """Names, groups and patterns of the only tools that may be added; None for all that a setting adds."""
    passages: tuple[Any, ...] = ()
    """Passages of documents that the model was told; see core.chat.Given."""
    tools: tuple[ToolCall, ...] = ()
    """The gateway's own tools that were called, in the order in which they ended."""
    pictures: tuple[Any, ...] = ()
    """Pictures for the caller's eyes, of tools whose calls were approved just now; see tools.types.Image."""
    accounted: int = 0
    """How many attempts are in the ledger."""
    held: "list[Any] | None" = None
    """Calls that wait for a person whom the run above can ask, each with the id of the run's own call that waits with
    it; see tools.types.Held. None where nobody can be asked.
    """
    transcript: "list[dict[str, Any]] | None" = None
    """All messages of a run that waits so."""
    entry: Any = None
    """The last attempt's entry in the ledger; see usage.types.Entry."""
    goes_on: bool = False
    """More attempts may follow those that are there, as turns do."""
    stop: str = ""
    """The bound that ended a run which the gateway steers; empty if none did."""
    stopped_by: HeadgateError | None = None
    """What its caller is told when somebody stops the run; its task is cancelled then."""
    is_accounted: bool = False
    is_settled: bool = False

    @property
    def cost(self) -> int | None:
        """Nano-USD of all attempts; None while that is not settled, or where a price is not known."""
        total = 0
        for attempt in self.attempts:
            if attempt.cost is None:
                return None
            total += attempt.cost
        return total

    @property
    def answering(self) -> list[Attempt]:
        """The attempts of the part that made the last: others, such as a classifier, call models of their own."""
        attempts = self.attempts
        return attempts if len(attempts) < 2 else [one for one in attempts if one.component == attempts[-1].component]

    def hand_over(self) -> "Run":
        """The same run for whoever goes on with it and settles it; nobody settles this one any more."""
        self.is_accounted = self.is_settled = True
        return replace(self, is_accounted=False, is_settled=False)

    def fail(self, error: HeadgateError) -> None:
        """It ended with an error, unless it has ended already."""
        if self.is_settled:
            return
        self.outcome = "error"
        self.error = error
        self.status = self.status or error.status

    def cut_off(self) -> None:
        """Its task was cancelled: because somebody stopped the run, or else because the caller left."""
        if self.is_settled:
            return
        if self.stopped_by is None:
            self.outcome = "disconnected"
        else:
            self.fail(self.stopped_by)
            self.outcome = "cancelled"
