"""The values that the steps of a request pass along."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from headgate.core.bounds import Bound
from headgate.core.money import Price
from headgate.core.ports import Upstream
from headgate.core.request import UNCHANGED, Changes
from headgate.core.run import CostOf, Run
from headgate.limits.limiter import Limiter
from headgate.routing.catalog import Catalog
from headgate.routing.health import Book
from headgate.routing.plan import Ask, Planner
from headgate.routing.types import Model, Target
from headgate.usage.types import Entry


def _no_price(_: Target) -> None:
    return None


def _is_written(_: tuple[Bound, ...]) -> str:
    return ""


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
    mirrors: "dict[asyncio.Task[None], Run]" = field(default_factory=dict)
    """Copies of requests under way."""
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
