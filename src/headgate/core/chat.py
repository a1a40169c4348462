"""What happens in a run that the gateway itself steers, as values: every dialect and every door is a projection of it.

A steered run is a sequence of turns. In a turn the model is asked (`Asking`), says something (`Text`, `Thought`,
`Sealed`, `Refusal`, `Other`) and may call tools; the gateway's own are run (`ToolStarted`, `ToolEnded`), the caller's
own are handed to the caller (`Call`; `CallBegun` and `CallPiece` where nobody but the caller can be meant). `Step`
tells what a strategy is about. The last event is one `Ended`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from headgate.core.tokens import Tokens

NONE: Mapping[str, Any] = MappingProxyType({})
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
ReasoningStep = Literal[
    "iteration_start",
    "planning",
    "tool_execution_start",
    "tool_result",
    "iteration_complete",
    "reasoning_complete",
    "external_reasoning",
    "error",
]
OrchestrationStep = Literal[
    "plan",
    "node_started",
    "node_progress",
    "node_completed",
    "node_failed",
    "node_skipped",
    "orchestration_complete",
]
StepType = ReasoningStep | OrchestrationStep
StopReason = Literal[
    "",
    "tool_loop_limit",
    "repeated_tool_call",
    "time_limit",
    "token_limit",
    "budget_limit",
    "depth_limit",
    "requires_action",
]
"""Why a run ended before the model was done; empty if it was."""


class Asking(NamedTuple):
    """The model is asked; `turn` counts from 1."""

    turn: int


class Text(NamedTuple):
    """A piece of the answer. `beside` are fields that came with it, such as `logprobs`."""

    text: str
    beside: Mapping[str, Any] = NONE


class Thought(NamedTuple):
    """A piece of what the model shows of its own reasoning."""

    text: str


class Sealed(NamedTuple):
    """The thought that was told so far is complete. `signature` proves it to its provider; `sealed` is a thought of its
    own that only its provider can read. `id` is what the provider calls it, if it does.
    """

    signature: str = ""
    sealed: str = ""
    id: str = ""


class Refusal(NamedTuple):
    """A piece of the words in which the model refuses."""

    text: str


class Other(NamedTuple):
    """Fields of the answer that nobody here knows, such as `annotations` or `audio`."""

    fields: Mapping[str, Any]


class Call(NamedTuple):
    """A whole tool call. `arguments` is the model's JSON as it wrote it."""

    id: str
    name: str
    arguments: str


class CallBegun(NamedTuple):
    """A tool call begins whose arguments come in pieces; `number` counts the answer's calls from 0."""

    number: int
    id: str
    name: str


class CallPiece(NamedTuple):
    """More of the arguments of the call `number`, as the model wrote them."""

    number: int
    text: str


class ToolStarted(NamedTuple):
    """One of the gateway's own tools begins."""

    call: Call
    turn: int


class ToolEnded(NamedTuple):
    """It ended, well or not; `result` is what the model is told, `seconds` how long it took."""

    call: Call
    turn: int
    result: str
    failed: bool
    seconds: float


class ToolHeld(NamedTuple):
    """One of the gateway's own tools was called and not run, because it needs an approval. `action` is the id under
    which that waits for an answer; empty where nobody can give one.
    """

    call: Call
    turn: int
    action: str = ""


class Step(NamedTuple):
    """What a strategy does. `iteration` counts steps or a plan's nodes from 1, 0 where it belongs to none; `tokens` is
    what it took.
    """

    type: StepType
    iteration: int
    metadata: Mapping[str, Any] = NONE
    error: str | None = None
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A passage of a document that the model was told. `id` is what it is cited by; larger scores are better."""

    id: str
    index: str
    score: float


class Retrieved(NamedTuple):
    """Passages were looked up for the user's message. `failed` tells by index why nothing came of it, as
    an error's code.
    """

    passages: tuple[Given, ...]
    failed: Mapping[str, str] = NONE


class Ended(NamedTuple):
    """The answer is complete. `tokens` are those of all turns together; `beside` are fields of the last answer."""

    finish: Finish
    stop: StopReason
    tokens: Tokens | None
    beside: Mapping[str, Any] = NONE


ChatEvent = (
    Asking
    | Text
    | Thought
    | Sealed
    | Refusal
    | Other
    | Call
    | CallBegun
    | CallPiece
    | ToolStarted
    | ToolEnded
    | ToolHeld
    | Step
    | Retrieved
    | Ended
)


@dataclass(slots=True)
class Answer:
    """What one turn of a model came to."""

    text: str = ""
    thought: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    finish: Finish = "stop"
    beside: Mapping[str, Any] = field(default_factory=dict)
