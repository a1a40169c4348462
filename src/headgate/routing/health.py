"""How each target has been doing: calls in flight, latency, use of its limits, and whether it rests after failures.

Kept per worker, in memory. Health is kept per target and per API surface: embeddings that fail say nothing about chat.
A rest never takes a target away, it only makes it the last one to be tried; see `plan`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from math import exp2
from operator import attrgetter

from headgate.core.errors import HeadgateError, UpstreamError, UpstreamKeyRefused, UpstreamRateLimited
from headgate.core.run import Attempt
from headgate.routing.types import Limits, Target

_TRIAL_SECONDS = 30.0
"""How long the one call that tries a rested target keeps others away, if it never ends."""
_LONGEST_ASKED = 600.0
"""A provider that asks for a longer pause than this is tried again sooner."""
_MOST_RESTS = 20
_NEWS = 0.3
"""Weight of the newest latency in the moving average."""
_STALE_SECONDS = 60.0
_SLOT = 5.0
_SLOTS = 12
_KEY = attrgetter("key")


@dataclass(frozen=True, slots=True)
class Cooldown:
    """When a target rests: after `failures` in a row (0: never), or fewer for single error codes.

    A key that is refused is refused again, so one such failure is enough.
    Rests last `seconds`, twice as long each further time, `longest` at most.
    """

    failures: int = 3
    by_error: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 5.0
    longest: float = 60.0


@dataclass(slots=True)
class Fitness:
    """How a target does on one surface. `failures` and `rests` are counted in a row; `why` is the last error's code.

    `was_asked`: the provider itself asked for the rest.
    """

    failures: int = 0
    rests: int = 0
    rests_until: float = 0.0
    trial_until: float = 0.0
    why: str = ""
    was_asked: bool = False


@dataclass(slots=True)
class Window:
    """A count over the last minute, kept in slots of five seconds that are forgotten whole."""

    slots: deque[list[int]] = field(default_factory=deque)
    total: int = 0
    newest: float = -1.0
    """The slot that was added to last."""

    def add(self, amount: int, now: float) -> None:
        self.total += amount
        slot = now // _SLOT
        if slot == self.newest:
            self.slots[-1][1] += amount
        else:
            self.newest = slot
            self.used(now)
            self.slots.append([int(slot), amount])

    def used(self, now: float) -> int:
        oldest = int(now // _SLOT) - _SLOTS
        while self.slots and self.slots[0][0] < oldest:
            self.total -= self.slots.popleft()[1]
        return self.total

    def free_in(self, limit: int, now: float) -> float:
        """Seconds until less than `limit` is used."""
        left = self.used(now)
        wait = 0.0
        for slot, amount in self.slots:
            if left < limit:
                break
            left -= amount
            wait = (slot + _SLOTS + 1) * _SLOT - now
        return wait


@dataclass(slots=True)
class State:
    """One target. `latency` is a moving average in seconds until the first byte, 0.0 while none is known.

    `is_counted`: what the last minute used matters to someone.
    """

    in_flight: int = 0
    used_at: float = 0.0
    latency: float = 0.0
    measured_at: float = 0.0
    is_counted: bool = False
    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    surfaces: dict[str, Fitness] = field(default_factory=dict)

    def is_full(self, limits: Limits, now: float) -> bool:
        """Whether one of the limits is reached."""
        calls, requests, tokens = limits.bounds
        return self.in_flight >= calls or self.requests.used(now) >= requests or self.tokens.used(now) >= tokens

    def rests(self, surface: str, now: float) -> bool:
        fitness = self.surfaces.get(surface)
        return fitness is not None and fitness.rests > 0 and max(fitness.rests_until, fitness.trial_until) > now

    def fill(self, limits: Limits | None, now: float) -> float:
        """Share of its limits that the last minute used; without limits, the tokens themselves, scaled to be small."""
        if limits is None or not (limits.tokens_per_minute or limits.requests_per_minute):
            return (self.tokens.used(now) + self.requests.used(now)) / 1e9
        shares = [0.0]
        if limits.tokens_per_minute:
            shares.append(self.tokens.used(now) / limits.tokens_per_minute)
        if limits.requests_per_minute:
            shares.append(self.requests.used(now) / limits.requests_per_minute)
        return max(shares)


_UNKNOWN = State()
"""Of a target that was never called."""


def upstream_out(name: str) -> str:
    """How it is noted that nothing more may be spent on an upstream."""
    return f"upstream {name}"


class Book:
    """The state of every target. `clock` gives seconds that never go back."""

    def __init__(self, cooldown: Cooldown, clock: Callable[[], float] = time.monotonic) -> None:
        self._cooldown = cooldown
        self._states: dict[str, State] = {}
        self.clock = clock
        self._rests_until = 0.0
        """From then on nobody rests or is on trial, unless something fails again."""
        self.spent_out: set[str] = set()
        """Keys of targets whose budget is spent, and names from `upstream_out`."""

    def state(self, key: str) -> State:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = State()
        return state

    def all(self) -> Mapping[str, State]:
        return self._states

    def ready(self, targets: Sequence[Target], surface: str, now: float, *, at_most: int | None) -> Sequence[Target]:
        """The first targets that neither rest nor are at their limits; without `at_most` all of them."""
        first = targets[:at_most]
        if now >= self._rests_until and self._have_room(first):
            return first
        return tuple(islice((one for one in targets if self._is_ready(one, surface, now)), at_most))

    def _have_room(self, targets: Sequence[Target]) -> bool:
        """Whether all are within their limits, even if nothing of the last minute and more were over yet."""
        states = self._states
        for target in targets:
            if target.limits is not None and (state := states.get(target.key)) is not None:
                calls, requests, tokens = target.limits.bounds
                if state.in_flight >= calls or state.requests.total >= requests or state.tokens.total >= tokens:
                    return False
        return True

    def _is_ready(self, target: Target, surface: str, now: float) -> bool:
        state, limits = self._states.get(target.key), target.limits
        if state is None:
            return True
        return not (state.rests(surface, now) or (limits is not None and state.is_full(limits, now)))

    def slowness(self, targets: Iterable[Target], now: float) -> tuple[float, ...]:
        """Expected seconds to the first byte under the present load; old measurements count for less and less."""
        states = map(self._states.get, map(_KEY, targets), repeat(_UNKNOWN))
        return tuple(
            [
                state.latency * (state.in_flight + 1)
                if (age := now - state.measured_at) < 1.0
                else state.latency * (state.in_flight + 1) * exp2(-age / _STALE_SECONDS)
                for state in states
            ]
        )

    def rest_of(self, target: Target, surface: str, now: float) -> float:
        """Seconds that a target still rests; 0.0 when it may be called."""
        state = self._states.get(target.key)
        fitness = state.surfaces.get(surface) if state is not None else None
        if fitness is None or not fitness.rests:
            return 0.0
        return max(0.0, fitness.rests_until - now, fitness.trial_until - now)

    def busy_for(self, target: Target, now: float) -> float:
        """Seconds until a target at its limits can take a call; 0.0 when it can."""
        limits = target.limits
        if limits is None:
            return 0.0
        state = self.state(target.key)
        waits = [0.0]
        if limits.in_flight and state.in_flight >= limits.in_flight:
            waits.append(1.0)
        if limits.requests_per_minute:
            waits.append(state.requests.free_in(limits.requests_per_minute, now))
        if limits.tokens_per_minute:
            waits.append(state.tokens.free_in(limits.tokens_per_minute, now))
        return max(waits)

    def begin(self, target: Target, surface: str, *, counted: bool) -> None:
        """A call begins. `counted`: its use of the last minute matters to someone."""
        state = self._states.get(target.key) or self.state(target.key)
        state.in_flight += 1
        state.used_at = now = self.clock()
        if counted:
            state.is_counted = True
            state.requests.add(1, now)
        if state.surfaces:  # only a target that failed once has any
            self._try_out(state, surface, now)

    def _try_out(self, state: State, surface: str, now: float) -> None:
        """A call of a target that rested keeps others away until it ends."""
        fitness = state.surfaces.get(surface)
        if fitness is not None and fitness.rests:
            fitness.trial_until = now + _TRIAL_SECONDS
            self._rests_until = max(self._rests_until, fitness.trial_until)

    def opened(self, attempt: Attempt, surface: str) -> None:
        """A stream began well: a target that was resting takes calls again, though it has yet to prove itself."""
        fitness = self._states[attempt.key].surfaces.get(surface)
        if fitness is not None and fitness.rests:
            fitness.rests = 0
            fitness.rests_until = fitness.trial_until = 0.0

    def end(self, attempt: Attempt, surface: str, *, blameless: bool = False) -> None:
        """A call ended. `blameless`: whatever went wrong was not the target's doing, nor was it proved to be well."""
        state, error = self._states[attempt.key], attempt.error
        state.in_flight -= 1
        now = self.clock()
        if state.is_counted and attempt.tokens is not None:
            state.tokens.add(attempt.tokens.prompt + attempt.tokens.completion, now)
        if error is None and not blameless:
            took = attempt.first_byte - attempt.started
            state.latency = took if not state.latency else state.latency + _NEWS * (took - state.latency)
            state.measured_at = now
        if state.surfaces or error is not None:
            self._judge(state, error, surface, now, blameless=blameless)

    def _judge(self, state: State, error: HeadgateError | None, surface: str, now: float, *, blameless: bool) -> None:
        """What the end of a call says of the target, where it failed or had failed before."""
        fitness = state.surfaces.get(surface)
        if error is None and not blameless:
            if fitness is not None and fitness.failures:
                fitness.failures = fitness.rests = 0
                fitness.rests_until = fitness.trial_until = 0.0
        elif isinstance(error, UpstreamError) and error.counts and not blameless:
            if fitness is None:
                fitness = state.surfaces[surface] = Fitness()
            self._failed(fitness, error, now)
        elif fitness is not None:
            fitness.trial_until = 0.0

    def _failed(self, fitness: Fitness, error: UpstreamError, now: float) -> None:
        fitness.failures += 1
        fitness.why = error.code
        fitness.trial_until = 0.0
        cooldown = self._cooldown
        at_once = cooldown.failures and isinstance(error, UpstreamKeyRefused)
        allowed = cooldown.by_error.get(error.code, 1 if at_once else cooldown.failures)
        if not allowed:
            return
        if isinstance(error, UpstreamRateLimited) and error.retry_after is not None:
            fitness.rests = max(1, fitness.rests)
            fitness.was_asked = True
            fitness.rests_until = now + min(error.retry_after, _LONGEST_ASKED)
        elif (fitness.failures >= allowed or fitness.rests) and fitness.rests_until <= now:
            fitness.rests = min(fitness.rests + 1, _MOST_RESTS)
            fitness.was_asked = False
            fitness.rests_until = now + min(cooldown.longest, cooldown.seconds * 2.0 ** (fitness.rests - 1))
        self._rests_until = max(self._rests_until, fitness.rests_until)

    def resting(self) -> list[str]:
        """Keys of the targets that rest on any surface."""
        now = self.clock()
        return [
            key
            for key, state in self._states.items()
            if any(fitness.rests and fitness.rests_until > now for fitness in state.surfaces.values())
        ]

    def recover(self, key: str) -> None:
        """A probe found the target's upstream well: it may be called again."""
        state = self._states.get(key)
        for fitness in state.surfaces.values() if state else ():
            fitness.rests_until = fitness.trial_until = 0.0
