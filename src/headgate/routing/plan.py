"""Which target is tried next. Knows the models, how their targets are doing and what went wrong; makes no call itself.

The promises, each a property test: it always ends; no target is tried more often than its retries allow, and no more
fallback models than are allowed; a request never fails while a target that may serve it is untried. Resting targets
are only tried last.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter
from random import choices, random
from typing import NamedTuple

from headgate.core.errors import (
    BudgetExceeded,
    HeadgateError,
    NoTargetForTags,
    TargetsBusy,
    UpstreamContentPolicy,
    UpstreamContextWindow,
    UpstreamError,
    UpstreamTimeout,
)
from headgate.routing.affinity import nearest
from headgate.routing.health import Book, upstream_out
from headgate.routing.types import Balance, Model, Target

_LONGEST_PAUSE = 5.0
_SPREAD = 0.5
_DEFAULT_TAG = "default"


@dataclass(frozen=True, slots=True)
class Overrides:
    """The most a caller may ask for, and whether wishes are also read from the body; see OverrideSettings."""

    retries: int = 5
    timeout: float = 1800.0
    fields: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for all models; see RoutingSettings."""

    retries_by_error: Mapping[str, int] = field(default_factory=dict)
    first_pause: float = 0.25
    timeout: float | None = None
    fallbacks: tuple[str, ...] = ()
    max_fallbacks: int = 5
    tags: bool = False
    enforce_limits: bool = True
    check_context: bool = False
    overrides: Overrides = Overrides()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request brings to the choice. `tokens` is a low estimate of the prompt's length."""

    surface: str
    retries: int | None = None
    tags: frozenset[str] = frozenset()
    belongs: bytes | None = None
    tokens: int = 0
    fallbacks: tuple[str, ...] | None = None
    may_use: Callable[[Model], bool] | None = None
    """Which models the caller may fall back on; None for all."""


class Choice(NamedTuple):
    """What there was to choose from. With `scores`, one choice among the targets that were ready, and how the rule
    rated each; without, a model that was turned to, with its candidates in their order. The first choice after that
    says both: `candidates` are then those of the model.
    """

    model: str
    hop: int
    rule: str
    targets: Sequence[Target]
    scores: tuple[float, ...] = ()
    candidates: Sequence[Target] | None = None


class Notes:
    """Where the planner says what it left out and what it chose from."""

    __slots__ = ("_candidates", "_hop", "choices", "passed_over")

    def __init__(self, passed_over: dict[str, str], choices: list[Choice]) -> None:
        self.passed_over = passed_over
        self.choices = choices
        self._hop = 0
        self._candidates: Sequence[Target] | None = None

    def turn_to(self, hop: int, candidates: Sequence[Target]) -> None:
        """Another model: it is noted with the first choice among its targets."""
        self._hop, self._candidates = hop, candidates

    def chose(self, model: Model, rule: str, ready: Sequence[Target], scores: tuple[float, ...]) -> None:
        candidates, self._candidates = self._candidates, None
        self.choices.append(Choice._make((model.name, self._hop, rule, ready, scores, candidates)))

    def had_no_choice(self, model: Model) -> None:
        """One target at most is ready."""
        if self._candidates is not None:
            self.choices.append(Choice(model.name, self._hop, model.balance, self._candidates))
            self._candidates = None


class Step(NamedTuple):
    """Call this target after `pause` seconds. `hop` counts the models before this one."""

    target: Target
    model: Model
    pause: float = 0.0
    hop: int = 0


class Begun(NamedTuple):
    """A model that was turned to: the targets that may be tried, the first step, if one is ready, or why none may be.

    `hop` counts the models before this one.
    """

    model: Model
    hop: int
    candidates: Sequence[Target]
    step: Step | None
    refusal: HeadgateError | None


Steps = Generator[Step, UpstreamError, HeadgateError | None]
"""Gives steps, is sent each one's error, and returns why nothing could be tried at all, if so."""


class Planner:
    """`find` gives the model of a name that callers could use, without asking an upstream."""

    def __init__(self, policy: Policy, book: Book, find: Callable[[str], Model | None]) -> None:
        self.policy = policy
        self._book = book
        self._find = find
        self._selects = policy.tags or policy.check_context
        self.is_plain = not (policy.check_context or policy.timeout or policy.overrides.fields)
        """Whether nothing has to be found out about a request of a caller without wishes."""

    def begin(self, model: Model, ask: Ask, notes: Notes, hop: int = 0) -> Begun:
        """Turn to a model. Its first step is all that most requests need; `steps` goes on from there."""
        candidates: Sequence[Target] = model.targets
        refusal = None
        if self._selects or self._book.spent_out:
            candidates, refusal = self._eligible(model, ask, notes.passed_over)
        if hop or len(model.targets) > 1:
            notes.turn_to(hop, candidates)
        target = self._choose(model, candidates, ask, 0.0, notes) if candidates else None
        step = None if target is None else Step._make((target, model, 0.0, hop))
        return Begun._make((model, hop, candidates, step, refusal))

    def steps(self, begun: Begun, ask: Ask, notes: Notes) -> Steps:
        """The way of one request, its first step again at first."""
        first, refusal = begun.model, begun.refusal
        waiting: deque[Model] = deque()
        found = [first]
        last: list[Step] = []
        while True:
            model = begun.model
            error = yield from self._of_model(begun, ask, last, notes)
            if error is not None and not error.elsewhere:  # no target would take it; only a special fallback may
                waiting.clear()
                last.clear()
            for name in self._fallbacks(model, error, ask):
                other = self._find(name) if len(found) <= self.policy.max_fallbacks else None
                if other is not None and ask.may_use is not None and not ask.may_use(other):
                    continue
                if other is not None and all(other.name != one.name for one in found):
                    found.append(other)
                    waiting.append(other)
            if not waiting:
                break
            begun = self.begin(waiting.popleft(), ask, notes, begun.hop + 1)
            refusal = refusal or begun.refusal
        now = self._book.clock()
        for step in sorted(last, key=lambda step: self._book.rest_of(step.target, ask.surface, now)):
            error = yield step._replace(pause=self._asked_pause(step.target, ask))
            if not error.elsewhere:
                return None
        return refusal or self._busy(first, notes.passed_over)

    def _eligible(
        self, model: Model, ask: Ask, passed_over: dict[str, str]
    ) -> tuple[Sequence[Target], HeadgateError | None]:
        """The targets that the request's tags and length allow; the error when the tags leave none."""
        targets: Sequence[Target] = model.targets
        if self.policy.tags:
            targets = _tagged(targets, ask.tags)
            for target in set(model.targets) - set(targets):
                passed_over[target.name] = "other tags"
            if not targets:
                tags = ", ".join(sorted(ask.tags)) or "none"
                return (), NoTargetForTags(f"No target of '{model.name}' is for these tags: {tags}.")
        if self.policy.check_context and ask.tokens:
            fitting = [target for target in targets if not target.context or target.context >= ask.tokens]
            for target in set(targets) - set(fitting):
                passed_over[target.name] = "context window too small"
            targets = fitting or targets
        if out := self._book.spent_out:
            affordable = [one for one in targets if one.key not in out and upstream_out(one.upstream) not in out]
            for target in set(targets) - set(affordable):
                passed_over[target.name] = "its budget is spent"
            if not affordable:
                return (), BudgetExceeded(f"The budget of every target of '{model.name}' is spent.")
            targets = affordable
        return targets, None

    def _of_model(
        self, begun: Begun, ask: Ask, last: list[Step], notes: Notes
    ) -> Generator[Step, UpstreamError, UpstreamError | None]:
        """Every target once, as long as none answers; then those again that may do better. Returns the last error."""
        model, hop, candidates, step, _ = begun
        target = None if step is None else step.target
        error: UpstreamError | None = None
        tries: dict[Target, int] = {}
        pause = 0.0
        while candidates:
            untried = list(candidates)
            again: dict[Target, float] = {}
            while untried and (target := target or self._anyhow(untried, tries)):
                untried.remove(target)
                tries[target] = tries.get(target, 0) + 1
                error = yield Step(target, model, pause, hop)
                pause = 0.0
                if not error.elsewhere:
                    return error
                wait = self._wait(error, tries[target], model, ask)
                if wait is not None:
                    again[target] = wait
                target = self._choose(model, untried, ask, pause, notes) if untried else None
            last += self._put_last(model, [one for one in untried if one not in tries], ask, hop, notes.passed_over)
            candidates = sorted(again, key=attrgetter("order"))
            pause = min(again.values(), default=0.0)
            target = self._choose(model, candidates, ask, pause, notes) if candidates else None
        return error

    def _put_last(
        self, model: Model, targets: Sequence[Target], ask: Ask, hop: int, passed_over: dict[str, str]
    ) -> list[Step]:
        """Resting targets are tried when all else failed; busy ones only where limits are no more than a hint."""
        now = self._book.clock()
        steps = []
        for target in targets:
            busy = self._book.busy_for(target, now)
            if busy:
                passed_over[target.name] = f"at its limits for {busy:.1f} s"
            else:
                fitness = self._book.state(target.key).surfaces.get(ask.surface)
                passed_over[target.name] = f"resting after {fitness.why}" if fitness else "busy a moment ago"
            if not busy or not self.policy.enforce_limits:
                steps.append(Step(target, model, 0.0, hop))
        return steps

    def _choose(self, model: Model, targets: Sequence[Target], ask: Ask, pause: float, notes: Notes) -> Target | None:
        """The best of the targets, listed by order, that after the pause neither rest nor are at their limits."""
        book = self._book
        now = book.clock() + pause
        is_first_enough = model.balance == "ordered" and ask.belongs is None
        ready = book.ready(targets, ask.surface, now, at_most=1 if is_first_enough else None)
        if len(ready) < 2:
            notes.had_no_choice(model)
            return ready[0] if ready else None
        lowest = ready[0].order
        if ready[-1].order != lowest:
            ready = tuple([target for target in ready if target.order == lowest])
        if ask.belongs is not None:
            loads = tuple([book.state(target.key).in_flight for target in ready])
            notes.chose(model, "affinity", ready, loads)
            return nearest(ask.belongs, ready, lambda target: book.state(target.key).in_flight)
        scores = self._scores(model.balance, ready, now)
        notes.chose(model, model.balance, ready, scores)
        return self._balanced(model, ready, scores)

    def _anyhow(self, targets: Sequence[Target], tries: Mapping[Target, int]) -> Target | None:
        """A target that may be tried again, though what this very request met there has put it to rest."""
        now = self._book.clock()
        return next((one for one in targets if one in tries and not self._book.busy_for(one, now)), None)

    def _scores(self, rule: Balance, ready: Sequence[Target], now: float) -> tuple[float, ...]:
        """How a rule rates the targets; the lowest is chosen, or one by chance where scores are weights."""
        state = self._book.state
        match rule:
            case "latency":
                return self._book.slowness(ready, now)
            case "weighted":
                return tuple(target.weight for target in ready)
            case "least_busy":
                return tuple(state(one.key).in_flight for one in ready)
            case "cost":
                return tuple(map(_cost, ready))
            case "usage":
                return tuple(state(one.key).fill(one.limits, now) for one in ready)
            case "ordered":
                return tuple(one.order for one in ready)

    def _balanced(self, model: Model, ready: Sequence[Target], scores: tuple[float, ...]) -> Target:
        if model.balance == "weighted":
            return choices(ready, scores if any(scores) else None)[0]
        lowest = min(scores)
        if model.balance in ("least_busy", "usage") and scores.count(lowest) > 1:
            alike = [target for target, score in zip(ready, scores, strict=True) if score == lowest]
            return min(alike, key=lambda one: self._book.state(one.key).used_at)
        return ready[scores.index(lowest)]

    def _asked_pause(self, target: Target, ask: Ask) -> float:
        """A short rest that the provider itself asked for is waited for; a long one is not, for it may have ended.

        Those who wait do not all come back in the same instant.
        """
        fitness = self._book.state(target.key).surfaces.get(ask.surface)
        if fitness is None or not fitness.was_asked:
            return 0.0
        rest = self._book.rest_of(target, ask.surface, self._book.clock())
        return rest * (1 + _SPREAD * random()) if rest <= _LONGEST_PAUSE else 0.0

    def _wait(self, error: UpstreamError, tried: int, model: Model, ask: Ask) -> float | None:
        """Seconds before the same target may be tried again; None when that would not help or take too long."""
        by_error = self.policy.retries_by_error.get(error.code)
        if by_error is None:
            allowed = model.retries if ask.retries is None else ask.retries
            if not error.retryable or isinstance(error, UpstreamTimeout):
                return None
        else:
            allowed = by_error
        if tried > allowed:
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= _LONGEST_PAUSE else None
        return min(_LONGEST_PAUSE, self.policy.first_pause * 2.0 ** (tried - 1)) * (0.5 + random() / 2)

    def _fallbacks(self, model: Model, error: UpstreamError | None, ask: Ask) -> tuple[str, ...]:
        """Names to turn to after a model. What the caller itself got wrong is no reason to ask another model."""
        usual = model.fallbacks.any or self.policy.fallbacks if ask.fallbacks is None else ask.fallbacks
        if isinstance(error, UpstreamContextWindow):
            return model.fallbacks.context_window or usual
        if isinstance(error, UpstreamContentPolicy):
            return model.fallbacks.content_policy
        return usual if error is None or error.elsewhere else ()

    def _busy(self, model: Model, passed_over: Mapping[str, str]) -> HeadgateError:
        now = self._book.clock()
        soonest = min((self._book.busy_for(target, now) for target in model.targets), default=1.0)
        return TargetsBusy(
            f"Every target of '{model.name}' is at its limits: {', '.join(passed_over)}.", retry_after=max(0.1, soonest)
        )


def _tagged(targets: Sequence[Target], tags: frozenset[str]) -> Sequence[Target]:
    """Targets with one of the tags, else those tagged `default`; without tags of its own a request may have any."""
    if meant := [target for target in targets if target.tags & tags]:
        return meant
    default = [target for target in targets if _DEFAULT_TAG in target.tags]
    if default or tags:
        return default
    return [target for target in targets if not target.tags] or targets


def _cost(target: Target) -> float:
    """Prompts are longer than answers, three to one in common use. A target without a price comes last."""
    price = target.price or target.list_price
    return inf if price is None else 3 * price.input + price.output
