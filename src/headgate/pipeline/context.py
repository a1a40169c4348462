"""The values that the steps of a request pass along."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from headgate.agents.book import Agents
from headgate.agents.types import AgentSettings
from headgate.core.money import Price
from headgate.core.ports import Upstream
from headgate.core.request import UNCHANGED, Changes, ModelRequest
from headgate.core.run import Run
from headgate.limits.limiter import Limiter
from headgate.routing.catalog import Catalog
from headgate.routing.health import Book
from headgate.routing.plan import Ask, Planner
from headgate.routing.types import Model, Target
from headgate.tools.types import Tool
from headgate.usage.types import Entry


def _no_tools(_: AgentSettings) -> Sequence[Tool]:
    return ()


async def _plain_prompt(agent: AgentSettings, _: Run) -> str:
    return agent.system_prompt


def _no_price(_: Target) -> None:
    return None


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
    observers: tuple[Callable[[Run], None], ...]
    """Each is called once with every settled run."""
    mirrors: "set[asyncio.Task[None]]" = field(default_factory=set)
    """Copies of requests under way."""
    agents: Agents | None = None
    """None where there are none."""
    toolbox: Callable[[AgentSettings], Sequence[Tool]] = _no_tools
    """The gateway's own tools that an agent has now, in a stable order."""
    system_prompt: Callable[[AgentSettings, Run], Awaitable[str]] = _plain_prompt
    """An agent's part of the system message."""
    inject: Callable[[ModelRequest, Run], AgentSettings | None] | None = None
    """A plain model as an agent with tools, where a setting adds some; None where no setting does."""
    reads_marks: frozenset[str] = frozenset()
    """Upstreams whose models may take marks such as `<|im_start|>` in a tool's output for control."""
    limiter: Limiter | None = None
    record: Callable[[Run], list[Entry]] | None = None
    """Writes what a run spent into the journal."""
    refuses_unpriced: bool = False
    typical_answer: int = 4096
    """Tokens reserved for an answer that nobody bounds."""
    price_of: Callable[[Target], Price | None] = _no_price
    """The list price of a target that has none of its own."""
