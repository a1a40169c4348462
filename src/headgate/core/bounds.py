"""What may be asked and spent, as values: limits on rates, budgets of money, and what a request holds of them.

Knows neither who asks nor how it is counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Period = Literal["day", "week", "month", "total"]
Limit = Literal["requests", "tokens", "streams", "budget"]
Spent = Mapping[str, Mapping[Period, int]]
"""Nano-USD by subject that the ledger knows to be spent in the period that runs."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Bounds per minute and at once; 0 for none."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """Nano-USD per period. A soft budget is only told of, a hard one refuses."""

    nano_usd: int
    period: Period = "total"
    hard: bool = True


@dataclass(frozen=True, slots=True)
class Bound:
    """What holds for one subject: `gateway`, `key:ID`, `user:TENANT/USER`, `tenant:ID` or `model:NAME`."""

    subject: str
    rate: Rate = Rate()
    budgets: tuple[Budget, ...] = ()
    periods: tuple[Period, ...] = field(init=False, repr=False, compare=False)
    """Those of its budgets, each once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "periods", tuple(dict.fromkeys(one.period for one in self.budgets)))


def is_budgeted(bounds: tuple[Bound, ...]) -> bool:
    """Whether one of them holds a hard budget."""
    return any(budget.hard for bound in bounds for budget in bound.budgets)


class Want(NamedTuple):
    """What a request may take at most, as far as can be told before it is sent."""

    tokens: int = 0
    nano_usd: int = 0
    is_stream: bool = False


class Used(NamedTuple):
    """What one subject used: nano-USD spent by period, of those that run, and nano-USD that requests in flight hold.

    `ends`: when the periods end, in seconds since the epoch; infinite for `total`.
    """

    bound: "Bound"
    spent: Mapping[Period, int]
    reserved: int
    ends: Mapping[Period, float]


@dataclass(slots=True)
class Standing:
    """What is left of the tightest limits per minute; a limit of 0 means there is none.

    `reset`: seconds until all of it is free again, if nothing more is asked.
    """

    requests_limit: int = 0
    requests_left: int = 0
    tokens_limit: int = 0
    tokens_left: int = 0
    reset: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit of which subject stands against a request. `allowed`: its value, nano-USD for a budget.

    `wait`: seconds until the same request could be let in; infinite if waiting does not help.
    """

    subject: str
    limit: Limit
    allowed: int
    wait: float
    period: Period | None = None
    standing: Standing | None = None


@dataclass(slots=True, eq=False)
class Ticket:
    """What a request holds until it is settled. `over`: soft budgets that it passes.

    `at` tells the counters when it was taken, `holder` for whom.
    """

    bounds: tuple[Bound, ...]
    want: Want
    standing: Standing | None = None
    over: tuple[Refusal, ...] = ()
    at: int = 0
    holder: str = ""
    is_open: bool = True
    spent: int | None = None
    """Nano-USD of the first bound's first budget that were spent before; None where nobody looked."""
