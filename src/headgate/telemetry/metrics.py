"""Counts and durations of settled runs, as plain numbers. Knows no text format; see exposition.

Label values are configured names only, never keys or their ids, so that callers cannot grow the number of series.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from headgate.core.errors import HeadgateError, LimitReached
from headgate.core.run import Attempt, Run
from headgate.core.tokens import Tokens

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
Labels = tuple[str, ...]
MOST_MODELS = 1000
_MEDIA = Tokens._fields.index("prompt_audio")
"""From here on, the kinds of tokens are rare ones."""


@dataclass(slots=True)
class Histogram:
    """Counts by bucket (one more than bounds, the last without bound) and the sum, in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(DURATIONS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(DURATIONS, seconds)] += 1
        self.total += seconds


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
    """All series of one process. Label order: see `exposition`."""

    in_flight: int = 0
    requests: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    durations: dict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    first_tokens: dict[Labels, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    attempts: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    chunks: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    tokens: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    errors: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    tools: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    spans: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    idempotent: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    estimated_tokens: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    cost: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    """Nano-USD."""
    unpriced: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    calls: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    refusals: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    over_budget: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    ledger_trouble: bool = False
    """This process cannot write what was spent."""
    models: set[str] = field(default_factory=set)
    """The names that are labels."""

    def observe(self, run: Run) -> None:
        """Count one settled run."""
        model = run.label or "unknown"
        if model not in self.models:
            model = self._named(model)
        self.requests[run.route, model, str(run.status), run.outcome] += 1
        self.durations[run.route, model].add(run.ended - run.started)
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

    def _observe_money(self, attempt: Attempt, model: str, component: str) -> None:
        """Of an attempt that was settled."""
        if attempt.cost is None:
            self.unpriced[model, attempt.key] += 1
        elif attempt.cost:
            self.cost[model, attempt.key, component] += attempt.cost
        if attempt.tokens is None and attempt.used is not None and any(attempt.used):
            self.estimated_tokens[model, attempt.key, "prompt"] += attempt.used.prompt
            self.estimated_tokens[model, attempt.key, "completion"] += attempt.used.completion

    def _observe_attempt(self, attempt: Attempt, model: str, run: Run) -> None:
        target = attempt.key
        self.attempts[model, target, attempt.error.code if attempt.error else "ok"] += 1
        component = "mirror" if run.mirror_of else run.component
        self.calls[component, "error" if attempt.error else "ok"] += 1
        if attempt.measure:
            self._observe_money(attempt, model, component)
        if attempt.chunks:
            self.chunks[model, target] += attempt.chunks
            if attempt.first_token:
                self.first_tokens[model, target].add(attempt.first_token - run.started)
        if attempt.tokens is not None:
            self._observe_tokens(attempt.tokens, model, target)

    def _observe_tokens(self, tokens: Tokens, model: str, target: str) -> None:
        self.tokens[model, target, "prompt"] += tokens.prompt
        self.tokens[model, target, "completion"] += tokens.completion
        if tokens.cached:
            self.tokens[model, target, "cached"] += tokens.cached
        if tokens.reasoning:
            self.tokens[model, target, "reasoning"] += tokens.reasoning
        if tokens.cache_write:
            self.tokens[model, target, "cache_write"] += tokens.cache_write
        if any(tokens[_MEDIA:]):
            for kind, count in zip(tokens._fields[_MEDIA:], tokens[_MEDIA:], strict=True):
                if count:
                    self.tokens[model, target, kind] += count
