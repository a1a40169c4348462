"""The values that the steps of a request pass along."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from headgate.agents.book import Agents
from headgate.agents.orchestrator import Orchestrator
from headgate.agents.prompts import Prompts
from headgate.agents.reasoner import Reasoner
from headgate.agents.types import AgentSettings, OrchestrationSettings, ReasoningSettings
from headgate.conversations.store import State
from headgate.conversations.types import Conversation, Item
from headgate.core.bounds import Bound
from headgate.core.chat import Retrieved
from headgate.core.money import Price
from headgate.core.ports import Upstream
from headgate.core.request import UNCHANGED, Changes, ModelRequest
from headgate.core.run import CostOf, Run, StrategyChoice
from headgate.knowledge.service import Knowledge
from headgate.limits.limiter import Limiter
from headgate.pipeline.observers import Observers
from headgate.pipeline.scribe import Scribe
from headgate.pipeline.second_turn import SecondTurn
from headgate.pipeline.watching import Watch
from headgate.routing.catalog import Catalog
from headgate.routing.health import Book
from headgate.routing.plan import Ask, Planner
from headgate.routing.types import Model, Target
from headgate.tools.types import Tool
from headgate.usage.types import Entry


async def _no_tools(_: AgentSettings, __: Run) -> Sequence[Tool]:
    return ()


def _not_known_to(_: str) -> bool:
    return False


async def pass_through(_: ModelRequest, __: Run, ___: "Deps") -> StrategyChoice:
    return StrategyChoice("passthrough", "llm_classifier", "no classifier is set")


async def _retrieve_nothing(_: Any, __: Run, ___: "Deps") -> Retrieved | None:
    return None


async def _plain_prompt(agent: AgentSettings, _: Run) -> str:
    return agent.system_prompt


def _no_price(_: Target) -> None:
    return None


def _is_written(_: tuple[Bound, ...]) -> str:
    return ""


class Compacting(Protocol):
    """Keeps conversations within what their models can read; see pipeline/compact.py."""

    async def make_room(
        self, head: Conversation, told: Sequence[Item], added: int, asking: Any
    ) -> tuple[Conversation, Sequence[Item]]: ...

    def after(self, head: Conversation, tokens: int, asking: Any) -> None: ...

    def overflowed(self, head: Conversation, told: Sequence[Item], asking: Any) -> bool: ...

    def equipped(self, head: Conversation, told: Sequence[Item], asking: Any) -> "Deps": ...


class Plan(NamedTuple):
    """What was decided before anything was sent.

    `timeout`: seconds until an answer has to be there, 0.0 for no bound; `hurried`: it is shorter by the caller's wish.
    """

    model: Model
    ask: Ask
    timeout: float = 0.0
    hurried: bool = False
    changes: Changes = UNCHANGED
    """What is taken out of the request before any target's own rules."""


@dataclass(slots=True)
class Deps:
    """What the steps work with, handed over once by the composition root."""

    catalog: Catalog
    planner: Planner
    book: Book
    upstreams: Mapping[str, Upstream]
    observers: Observers
    mirrors: "dict[asyncio.Task[None], Run]" = field(default_factory=dict)
    """Copies of requests under way."""
    agents: Agents | None = None
    """None where there are none."""
    state: State | None = None
    """What is kept of conversations; None where nothing is kept."""
    knowledge: Knowledge | None = None
    """Documents that are kept to be found again; None where nothing is kept."""
    action_seconds: float = 86_400.0
    """How long an action waits for its answer."""
    second_turn: SecondTurn = field(default_factory=SecondTurn)
    """What happens to a turn of a conversation while another one is under way."""
    provider_of: Callable[[str], str] = str
    """The provider behind an upstream's name."""
    scribe: Scribe | None = None
    """Writes down what stored runs tell; None where nothing is kept."""
    watch: Watch | None = None
    """Looks after stored runs that go on without their callers; None where nothing is kept."""
    background: "dict[asyncio.Task[None], Run]" = field(default_factory=dict)
    """Runs that go on without their callers."""
    compactor: Compacting | None = None
    toolbox: Callable[[AgentSettings, Run], Awaitable[Sequence[Tool]]] = _no_tools
    """The gateway's own tools that an agent has now, in a stable order; the run is told of those that are absent."""
    system_prompt: Callable[[AgentSettings, Run], Awaitable[str]] = _plain_prompt
    """An agent's part of the system message."""
    inject: Callable[[ModelRequest, Run], AgentSettings | None] | None = None
    """A plain model as an agent with tools, where a setting adds some; None where no setting does."""
    reads_marks: frozenset[str] = frozenset()
    """Upstreams whose models may take marks such as `<|im_start|>` in a tool's output for control."""
    retrieve: "Callable[[Any, Run, Deps], Awaitable[Retrieved | None]]" = _retrieve_nothing
    """Adds passages of an agent's indices to a prompt; see pipeline/passages.py."""
    prompts: Prompts = field(default_factory=Prompts)
    reasoner: Reasoner = field(default_factory=lambda: Reasoner(ReasoningSettings()))
    orchestrator: Orchestrator = field(default_factory=lambda: Orchestrator(OrchestrationSettings()))
    classify: "Callable[[ModelRequest, Run, Deps], Awaitable[StrategyChoice]]" = pass_through
    """Chooses the strategy of a request whose caller leaves it to the gateway."""
    step_temperature: float | None = None
    """Of the steps of reasoning; None for the caller's."""
    calls_tools: Callable[[str], bool] = _not_known_to
    """Whether a model, by its name, makes native tool calls."""
    keeps_schemas: Callable[[str], bool] = _not_known_to
    """Whether a model, by its name, is known to keep to a JSON Schema."""
    note: Callable[[Run, str, Mapping[str, Any]], None] | None = None
    """Writes down what is said in conversations; None where nobody wants that."""
    limiter: Limiter | None = None
    record: Callable[[Run], list[Entry]] | None = None
    """Writes what a run spent into the journal."""
    unwritable: Callable[[tuple[Bound, ...]], str] = _is_written
    """Why what a run under these bounds spends could not be written, if it has to be; empty if it could."""
    cost_of: CostOf | None = None
    """What tokens of an attempt cost, where streams are to tell it."""
    refuses_unpriced: bool = False
    typical_answer: int = 4096
    """Tokens reserved for an answer that nobody bounds."""
    keeps_answers: int = 0
    """Bytes of each answer that are kept until its run is settled, for the observers."""
    price_of: Callable[[Target], Price | None] = _no_price
    """The list price of a target that has none of its own."""
