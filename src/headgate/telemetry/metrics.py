"""Counts and durations of settled runs, as plain numbers. Knows no text format; see exposition.

Label values are configured names only, so that callers cannot grow the number of series.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

from headgate.core.run import Attempt, Run
from headgate.core.tokens import Tokens

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
Labels = tuple[str, ...]
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

    def observe(self, run: Run) -> None:
        """Count one settled run."""
        model = run.label or "unknown"
        self.requests[run.route, model, str(run.status), run.outcome] += 1
        self.durations[run.route, model].add(run.ended - run.started)
        if run.error is not None:
            self.errors[run.route, run.error.code] += 1
        for call in run.tools:
            self.tools[call.name, call.result] += 1
        for attempt in run.attempts:
            self._observe_attempt(attempt, model, run)

    def _observe_attempt(self, attempt: Attempt, model: str, run: Run) -> None:
        target = attempt.key
        self.attempts[model, target, attempt.error.code if attempt.error else "ok"] += 1
        if attempt.chunks:
            self.chunks[model, target] += attempt.chunks
            if attempt.first_token:
                self.first_tokens[model, target].add(attempt.first_token - run.started)
        tokens = attempt.tokens
        if tokens is not None:
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
