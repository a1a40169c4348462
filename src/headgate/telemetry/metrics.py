"""Counts and durations of settled runs, as plain numbers. Knows no text format; see exposition.

Label values are configured names only, never keys or their ids, so that callers cannot grow the number of series.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import add
from typing import NamedTuple

from headgate.core.errors import HeadgateError, LimitReached
from headgate.core.run import Attempt, Run
from headgate.core.tokens import Tokens

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
Labels = tuple[str, ...]
MOST_MODELS = 1000
_USUAL = ("prompt", "completion")
"""Kinds of tokens that are told even where there were none."""


@dataclass(slots=True)
class Histogram:
    """Counts by bucket (one more than bounds, the last without bound) and the sum, in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(DURATIONS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(DURATIONS, seconds)] += 1
        self.total += seconds

    def join(self, other: "Histogram") -> None:
        self.counts = list(map(add, self.counts, other.counts))
        self.total += other.total


@dataclass(slots=True)
class Calls:
    """Calls of upstreams that are alike. `tokens` are those reported, by kind; None where none ever were."""

    count: int = 0
    nano_usd: int = 0
    tokens: tuple[int, ...] | None = None


class BudgetGauge(NamedTuple):
    """A budget as it stands: whose, nano-USD of it, and nano-USD spent. `hard`: it refuses."""

    subject: str
    period: str
    hard: bool
    limit: int
    spent: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is measured only when somebody looks, for all processes of the machine; None where it does not exist.

    `lag` in seconds, `waiting` in bytes, both of what was spent and is not in the database yet.
    """

    budgets: tuple[BudgetGauge, ...] = ()
    lag: float | None = None
    waiting: int | None = None
    eur_per_usd: float | None = None


NO_GAUGES = Gauges()


@dataclass(slots=True)
class Metrics:
    """All series of one process. Label order: see `exposition`. What comes with every request is counted once, as
    `finished` and `made`; the series of it are put together when somebody looks.
    """

    in_flight: int = 0
    finished: dict[tuple[str, str, int, str], Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    """How long requests took, by (route, model, status, outcome)."""
    made: dict[Labels, Calls] = field(default_factory=lambda: defaultdict(Calls))
    """Calls of upstreams by (component, model, target, result)."""
    first_tokens: dict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    chunks: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    errors: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    tools: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    spans: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    idempotent: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    estimated_tokens: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    unpriced: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    refusals: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    over_budget: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    ledger_trouble: bool = False
    """This process cannot write what was spent."""
    models: set[str] = field(default_factory=set)
    """The names that are labels."""

    @property
    def requests(self) -> dict[Labels, int]:
        return {
            (route, model, str(status), outcome): sum(took.counts)
            for (route, model, status, outcome), took in self.finished.items()
        }

    @property
    def durations(self) -> dict[Labels, Histogram]:
        joined: dict[Labels, Histogram] = defaultdict(Histogram)
        for (route, model, _, _), took in self.finished.items():
            joined[route, model].join(took)
        return joined

    @property
    def attempts(self) -> dict[Labels, int]:
        return _summed(((model, target, result), made.count) for (_, model, target, result), made in self.made.items())

    @property
    def calls(self) -> dict[Labels, int]:
        return _summed(
            ((component, "ok" if result == "ok" else "error"), made.count)
            for (component, _, _, result), made in self.made.items()
        )

    @property
    def cost(self) -> dict[Labels, int]:
        """Nano-USD."""
        return _summed(
            ((model, target, component), made.nano_usd)
            for (component, model, target, _), made in self.made.items()
            if made.nano_usd
        )

    @property
    def tokens(self) -> dict[Labels, int]:
        """Of the rarer kinds those that came."""
        return _summed(
            ((model, target, kind), count)
            for (_, model, target, _), made in self.made.items()
            for kind, count in zip(Tokens._fields, made.tokens or (), strict=False)
            if count or kind in _USUAL
        )

    def observe(self, run: Run) -> None:
        """Count one settled run."""
        model = run.label or "unknown"
        if model not in self.models:
            model = self._named(model)
        self.finished[run.route, model, run.status, run.outcome].add(run.ended - run.started)
        if run.error is not None:
            self.errors[run.route, run.error.code] += 1
            self._observe_refusal(run.error)
        for call in run.tools:
            self.tools[call.name, call.result] += 1
        if run.ticket is not None and run.ticket.over:
            for one in run.ticket.over:
                self.over_budget[one.subject.partition(":")[0], one.period or "total"] += 1
        for attempt in run.attempts:
            self._observe_attempt(attempt, model, run)

    def _named(self, model: str) -> str:
        """The name as a label; those beyond the first thousand are one."""
        if len(self.models) >= MOST_MODELS:
            return "other"
        self.models.add(model)
        return model

    def _observe_refusal(self, error: HeadgateError) -> None:
        if isinstance(error, LimitReached) and error.refusal is not None:
            refusal = error.refusal
            period = refusal.period or ("at_once" if refusal.limit == "streams" else "minute")
            self.refusals[refusal.limit, refusal.subject.partition(":")[0], period] += 1

    def _observe_attempt(self, attempt: Attempt, model: str, run: Run) -> None:
        target, tokens, error = attempt.key, attempt.tokens, attempt.error
        component = "mirror" if run.mirror_of else run.component
        made = self.made[component, model, target, "ok" if error is None else error.code]
        made.count += 1
        if attempt.cost:
            made.nano_usd += attempt.cost
        elif attempt.measure and attempt.cost is None:
            self.unpriced[model, target] += 1
        if attempt.chunks:
            self.chunks[model, target] += attempt.chunks
            if attempt.first_token:
                self.first_tokens[model, target].add(attempt.first_token - run.started)
        if tokens is not None:
            made.tokens = tokens if made.tokens is None else tuple(map(add, made.tokens, tokens))
        elif attempt.used is not None and any(attempt.used):
            self.estimated_tokens[model, target, "prompt"] += attempt.used.prompt
            self.estimated_tokens[model, target, "completion"] += attempt.used.completion


def _summed(counts: Iterable[tuple[Labels, int]]) -> dict[Labels, int]:
    summed: dict[Labels, int] = defaultdict(int)
    for labels, count in counts:
        summed[labels] += count
    return summed
