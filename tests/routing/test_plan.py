"""The planner's promises, for random sets of targets, states and failures; and each way of choosing."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import (
    HeadgateError,
    NoTargetForTags,
    TargetsBusy,
    UpstreamContentPolicy,
    UpstreamContextWindow,
    UpstreamError,
    UpstreamFault,
    UpstreamForbidden,
    UpstreamKeyRefused,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from headgate.core.money import Price
from headgate.core.run import Attempt
from headgate.core.tokens import Tokens
from headgate.routing.health import Book, Cooldown
from headgate.routing.plan import Ask, Notes, Planner, Policy, Step
from headgate.routing.types import Balance, Fallbacks, Limits, Model, Target
from tests.requirements import covers

pytestmark = covers("14", "planner")

MOVING: tuple[type[UpstreamError], ...] = (
    UpstreamUnavailable,
    UpstreamFault,
    UpstreamUnreachable,
    UpstreamTimeout,
    UpstreamRateLimited,
    UpstreamKeyRefused,
    UpstreamForbidden,
    UpstreamNotFound,
    UpstreamContextWindow,
)
FINAL: tuple[type[UpstreamError], ...] = (UpstreamRejected, UpstreamContentPolicy)
BALANCES: tuple[Balance, ...] = ("ordered", "weighted", "least_busy", "latency", "cost", "usage")
ASK = Ask("chat")


class Clock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """Models, a planner over them, and what each target does when it is called."""

    def __init__(self, *models: Model, policy: Policy | None = None, cooldown: Cooldown | None = None) -> None:
        self.clock = Clock()
        self.book = Book(cooldown or Cooldown(), self.clock)
        self.models = {model.name: model for model in models}
        self.planner = Planner(policy or Policy(), self.book, self.models.get)
        self.passed_over: dict[str, str] = {}
        self.refused = False

    def call(self, target: Target, error: UpstreamError | None = None, tokens: int = 0, took: float = 0.1) -> None:
        """One call of a target, as the pipeline notes it."""
        attempt = Attempt(target.upstream, target.model, target.name, target.key, "m", self.clock())
        self.book.begin(target, "chat", counted=True)
        attempt.first_byte = attempt.started + took
        attempt.error = error
        attempt.tokens = Tokens(tokens) if tokens else None
        self.book.end(attempt, "chat")

    def go(
        self, name: str, outcomes: dict[str, list[UpstreamError | None]], ask: Ask = ASK
    ) -> tuple[list[Step], Target | None, HeadgateError | None]:
        """Follow the planner: (steps, the target that answered, why nothing was tried). Targets without an outcome
        left answer."""
        self.passed_over.clear()
        self.refused = False
        steps: list[Step] = []
        notes = Notes(self.passed_over, [])
        begun = self.planner.begin(self.models[name], ask, notes)
        way = self.planner.steps(begun, ask, notes)
        try:
            step = next(way)
            assert begun.step in (None, step), "it does not begin as it said"
            while True:
                steps.append(step)
                assert len(steps) < 500, "it does not end"
                self.clock.now += step.pause
                error = outcomes[step.target.name].pop(0) if outcomes.get(step.target.name) else None
                self.refused |= error is not None and not error.elsewhere
                self.call(step.target, error)
                if error is None:
                    return steps, step.target, None
                step = way.send(error)
        except StopIteration as end:
            return steps, None, end.value


def targets(count: int, prefix: str = "t", **more: Any) -> tuple[Target, ...]:
    return tuple(Target("up", f"{prefix}{number}", **more) for number in range(count))


def names(steps: Iterable[Step]) -> list[str]:
    return [step.target.model for step in steps]


# --- the promises

errors = st.sampled_from(MOVING).map(lambda kind: kind("failed"))
maybe_late = st.builds(
    lambda seconds: UpstreamRateLimited("slow down", retry_after=seconds), st.sampled_from([0.0, 0.5, 3.0, 60.0])
)
failures = st.one_of(errors, maybe_late, st.sampled_from(FINAL).map(lambda kind: kind("no")))
outcome = st.one_of(st.none(), failures)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, dict[str, list[UpstreamError | None]]]:
    """Up to four models that fall back on each other, some of their targets already resting or at their limits."""
    models = []
    model_names = ["m", "n", "o", "p"][: draw(st.integers(1, 4))]
    for name in model_names:
        made = tuple(
            Target(
                "up",
                f"{name}{number}",
                order=draw(st.integers(0, 2)),
                weight=draw(st.sampled_from([0.0, 1.0, 5.0])),
                limits=draw(st.sampled_from([None, None, Limits(requests_per_minute=1), Limits(in_flight=1)])),
            )
            for number in range(draw(st.integers(1, 5)))
        )
        some = st.lists(st.sampled_from(model_names), max_size=3).map(tuple)
        models.append(
            Model(
                name,
                tuple(sorted(made, key=lambda target: target.order)),
                balance=draw(st.sampled_from(BALANCES)),
                retries=draw(st.integers(0, 3)),
                fallbacks=Fallbacks(draw(some), draw(some), draw(some)),
            )
        )
    policy = Policy(
        max_fallbacks=draw(st.integers(0, 3)),
        enforce_limits=draw(st.booleans()),
        retries_by_error=draw(st.sampled_from([{}, {"upstream_timeout": 1}, {"upstream_unavailable": 0}])),
    )
    world = World(*models, policy=policy)
    everything = [target for model in models for target in model.targets]
    for target in everything:
        if draw(st.booleans()):
            for _ in range(draw(st.integers(1, 4))):
                world.call(target, UpstreamUnavailable("before"))
    outcomes = {target.name: draw(st.lists(outcome, max_size=6)) for target in everything}
    return world, outcomes


@settings(max_examples=500, deadline=None)
@given(worlds())
def test_the_promises_hold(given_world: tuple[World, dict[str, list[UpstreamError | None]]]) -> None:
    world, outcomes = given_world
    first = world.models["m"]
    healthy = {name for name, planned in outcomes.items() if not planned or planned[0] is None}
    policy = world.planner.policy
    steps, answered, refusal = world.go("m", outcomes)
    tried = Counter(step.target.name for step in steps)
    for step in steps:
        allowed = max([step.model.retries, *policy.retries_by_error.values()])
        assert tried[step.target.name] <= 1 + allowed, "no more tries than allowed"
    assert len({step.model.name for step in steps} - {"m"}) <= policy.max_fallbacks
    assert all(step.hop <= policy.max_fallbacks for step in steps)
    assert all(step.pause <= 7.5 for step in steps)
    if answered is None and not world.refused:
        unlimited = {target.name for target in first.targets if target.limits is None or not policy.enforce_limits}
        assert not (unlimited & healthy) - set(tried), "a target that could have answered was left untried"
        assert unlimited <= set(tried)
    if not steps:
        assert isinstance(refusal, TargetsBusy)
        assert refusal.retry_after


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(BALANCES), st.integers(1, 6), st.data())
def test_one_healthy_target_is_always_found(balance: Balance, count: int, data: st.DataObject) -> None:
    model = Model("m", targets(count), balance=balance, retries=data.draw(st.integers(0, 2)))
    world = World(model)
    well = data.draw(st.sampled_from(model.targets))
    for target in model.targets:  # whatever is known of them, the healthy one may even be the one that rests
        for _ in range(data.draw(st.integers(0, 4))):
            world.call(target, UpstreamUnavailable("before"))
    outcomes: dict[str, list[UpstreamError | None]] = {
        target.name: [] if target is well else [UpstreamUnavailable("down")] * 9 for target in model.targets
    }
    _, answered, _ = world.go("m", outcomes)
    assert answered is well


# --- the order of things


def test_every_target_is_tried_before_one_is_tried_again() -> None:
    model = Model("m", targets(3), retries=1)
    down: list[UpstreamError | None] = [UpstreamUnavailable("down")] * 9
    steps, _, _ = World(model).go("m", {target.name: list(down) for target in model.targets})
    assert names(steps) == ["t0", "t1", "t2", "t0", "t1", "t2"]
    assert [bool(step.pause) for step in steps] == [False, False, False, True, False, False]


@pytest.mark.parametrize("kind", MOVING)
def test_only_what_may_pass_is_tried_again(kind: type[UpstreamError]) -> None:
    steps, _, _ = World(Model("m", targets(1), retries=2)).go("m", {"up/t0": [kind("no")] * 9})
    again = kind.retryable and kind is not UpstreamTimeout
    assert len(steps) == (3 if again else 1)


def test_a_retry_policy_counts_for_its_error_alone() -> None:
    policy = Policy(retries_by_error={"upstream_timeout": 2, "upstream_unavailable": 0})
    for kind, tries in ((UpstreamTimeout, 3), (UpstreamUnavailable, 1), (UpstreamFault, 2)):
        steps, _, _ = World(Model("m", targets(1), retries=1), policy=policy).go("m", {"up/t0": [kind("no")] * 9})
        assert len(steps) == tries, kind


def test_what_the_provider_asks_to_wait_is_waited_for_unless_it_is_long() -> None:
    for seconds, tries in ((2.0, 2), (30.0, 1)):
        world = World(Model("m", targets(1), retries=1))
        error = UpstreamUnavailable("later", retry_after=seconds)
        steps, _, _ = world.go("m", {"up/t0": [error, error]})
        assert len(steps) == tries
        assert steps[-1].pause == (seconds if tries == 2 else 0.0)


def test_a_refused_request_ends_the_way() -> None:
    model = Model("m", targets(3), retries=2, fallbacks=Fallbacks(any=("n",)))
    steps, answered, _ = World(model, Model("n", targets(1, "n"))).go("m", {"up/t0": [UpstreamRejected("bad")]})
    assert (names(steps), answered) == (["t0"], None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (UpstreamUnavailable, "usual"),
        (UpstreamContextWindow, "long"),
        (UpstreamContentPolicy, "lax"),
        (UpstreamNotFound, "usual"),
    ],
)
def test_the_error_decides_which_fallback_answers(kind: type[UpstreamError], expected: str) -> None:
    model = Model("m", targets(1), retries=0, fallbacks=Fallbacks(("usual",), ("long",), ("lax",)))
    others = [Model(name, (Target("up", name),)) for name in ("usual", "long", "lax")]
    steps, answered, _ = World(model, *others).go("m", {"up/t0": [kind("no")]})
    assert names(steps) == ["t0", expected]
    assert answered is not None
    assert steps[-1].hop == 1


def test_the_usual_fallbacks_serve_where_a_long_prompt_has_none_of_its_own() -> None:
    model = Model("m", targets(1), fallbacks=Fallbacks(any=("n",)))
    steps, _, _ = World(model, Model("n", targets(1, "n"))).go("m", {"up/t0": [UpstreamContextWindow("long")]})
    assert names(steps) == ["t0", "n0"]


def test_default_fallbacks_serve_models_without_their_own_and_the_caller_may_choose_others() -> None:
    world = World(
        Model("m", targets(1), retries=0),
        Model("n", targets(1, "n")),
        Model("o", targets(1, "o")),
        policy=Policy(fallbacks=("n",)),
    )
    failing: list[UpstreamError | None] = [UpstreamFault("no")]
    assert names(world.go("m", {"up/t0": list(failing)})[0]) == ["t0", "n0"]
    assert names(world.go("m", {"up/t0": list(failing)}, replace(ASK, fallbacks=("o",)))[0]) == ["t0", "o0"]
    assert names(world.go("m", {"up/t0": list(failing)}, replace(ASK, fallbacks=()))[0]) == ["t0"]


def test_fallbacks_in_a_circle_end() -> None:
    models = [
        Model(name, (Target("up", name),), retries=0, fallbacks=Fallbacks(any=(other,)))
        for name, other in (("m", "n"), ("n", "o"), ("o", "m"))
    ]
    down: list[UpstreamError | None] = [UpstreamFault("no")] * 9
    steps, _, _ = World(*models).go("m", {f"up/{name}": list(down) for name in "mno"})
    assert names(steps) == ["m", "n", "o"]


def test_no_more_fallback_models_than_allowed() -> None:
    models = [Model("m", targets(1), retries=0, fallbacks=Fallbacks(any=tuple("abcdefg")))]
    models += [Model(name, (Target("up", name),), retries=0) for name in "abcdefg"]
    down: list[UpstreamError | None] = [UpstreamFault("no")] * 9
    outcomes = {target.name: list(down) for model in models for target in model.targets}
    steps, _, _ = World(*models, policy=Policy(max_fallbacks=2)).go("m", outcomes)
    assert names(steps) == ["t0", "a", "b"]


# --- rest and limits


def test_resting_targets_are_tried_last_and_after_the_fallbacks() -> None:
    model = Model("m", targets(2), retries=0, fallbacks=Fallbacks(any=("n",)))
    world = World(model, Model("n", targets(1, "n"), retries=0))
    for target in model.targets:
        for _ in range(3):
            world.call(target, UpstreamUnavailable("down"))
    steps, _, _ = world.go("m", {"up/n0": [UpstreamFault("no")], "up/t0": [UpstreamFault("no")]})
    assert names(steps) == ["n0", "t0", "t1"]
    assert world.passed_over == {
        "up/t0": "resting after upstream_unavailable",
        "up/t1": "resting after upstream_unavailable",
    }


def test_a_single_target_that_rests_is_still_tried() -> None:
    model = Model("m", targets(1))
    world = World(model)
    for _ in range(50):
        steps, answered, _ = world.go("m", {"up/t0": [UpstreamUnavailable("down")] * 9})
        assert steps
        assert answered is None
    assert world.go("m", {})[1] is model.targets[0]


def test_targets_at_their_limits_are_passed_over_and_when_all_are_the_caller_is_told_when() -> None:
    model = Model("m", targets(2, limits=Limits(requests_per_minute=2)))
    world = World(model)
    answered = [world.go("m", {})[1] for _ in range(4)]
    assert [target.model for target in answered if target] == ["t0", "t0", "t1", "t1"]
    steps, _, refusal = world.go("m", {})
    assert steps == []
    assert isinstance(refusal, TargetsBusy)
    assert refusal.retry_after is not None
    world.clock.now += refusal.retry_after
    assert world.go("m", {})[1] is not None


def test_limits_may_be_no_more_than_a_hint() -> None:
    world = World(Model("m", targets(1, limits=Limits(requests_per_minute=1))), policy=Policy(enforce_limits=False))
    assert [world.go("m", {})[1] is not None for _ in range(3)] == [True] * 3


# --- ways to choose


def test_lower_orders_come_first_whatever_the_balance() -> None:
    low, high = Target("up", "low", order=1), Target("up", "high", order=2, weight=1000.0)
    for balance in BALANCES:
        world = World(Model("m", (low, high), balance=balance, retries=0))
        assert names(world.go("m", {"up/low": [UpstreamFault("no")]})[0]) == ["low", "high"], balance


def test_weights_are_shares() -> None:
    model = Model("m", (Target("up", "a", weight=9), Target("up", "b", weight=1)), balance="weighted")
    world = World(model)
    counts = Counter(names(world.go("m", {})[0])[0] for _ in range(2000))
    assert 120 < counts["b"] < 290


def test_targets_without_any_weight_share_alike() -> None:
    world = World(Model("m", targets(2, weight=0.0), balance="weighted"))
    assert {names(world.go("m", {})[0])[0] for _ in range(100)} == {"t0", "t1"}


def test_the_least_busy_is_chosen_and_among_equals_the_one_used_longest_ago() -> None:
    model = Model("m", targets(3), balance="least_busy")
    world = World(model)
    chosen = []
    for _ in range(6):
        world.clock.now += 1
        chosen += names(world.go("m", {})[0])
    assert chosen == ["t0", "t1", "t2"] * 2
    world.book.begin(model.targets[0], "chat", counted=False)
    world.clock.now += 1
    assert names(world.go("m", {})[0]) == ["t1"]


def test_the_fastest_is_chosen_once_all_are_known_and_the_slow_one_is_asked_again_after_a_while() -> None:
    model = Model("m", targets(3), balance="latency")
    world = World(model)
    for target, took in zip(model.targets, (0.9, 0.1, 0.5), strict=True):
        world.call(target, took=took)
    assert names(world.go("m", {})[0]) == ["t1"]
    for _ in range(60):
        world.clock.now += 10
        world.call(model.targets[1], took=0.1)
    assert names(world.go("m", {})[0]) != ["t1"]


def test_the_cheapest_is_chosen_and_one_without_a_price_last() -> None:
    unknown = Target("up", "unknown")
    dear, cheap = Target("up", "dear", price=Price(10, 10)), Target("up", "cheap", price=Price(1, 2))
    world = World(Model("m", (unknown, dear, cheap), balance="cost", retries=0))
    outcomes: dict[str, list[UpstreamError | None]] = {"up/cheap": [UpstreamFault("")], "up/dear": [UpstreamFault("")]}
    assert names(world.go("m", outcomes)[0]) == ["cheap", "dear", "unknown"]


def test_the_one_with_most_room_in_its_limits_is_chosen() -> None:
    small, large = (
        Target("up", "small", limits=Limits(tokens_per_minute=100)),
        Target("up", "large", limits=Limits(tokens_per_minute=1000)),
    )
    world = World(Model("m", (small, large), balance="usage"))
    world.call(small, tokens=50)
    world.call(large, tokens=100)
    assert names(world.go("m", {})[0]) == ["large"]


@pytest.mark.parametrize(
    ("tags", "asked", "chosen"),
    [
        (["eu", "us"], "eu x", ["eu"]),
        (["eu", "us"], "asia", None),
        (["eu", "us"], "", ["eu", "us"]),
        (["eu", "default"], "asia", ["default"]),
        (["eu", "default"], "", ["default"]),
        (["eu", ""], "", [""]),
        (["eu", ""], "asia", None),
    ],
)
def test_tags_have_to_meet(tags: list[str], asked: str, chosen: list[str] | None) -> None:
    made = tuple(Target("up", tag or "untagged", tags=frozenset(tag.split())) for tag in tags)
    world = World(Model("m", made, retries=0), policy=Policy(tags=True))
    failing: dict[str, list[UpstreamError | None]] = {target.name: [UpstreamFault("no")] for target in made}
    steps, _, refusal = world.go("m", failing, replace(ASK, tags=frozenset(asked.split())))
    if chosen is None:
        assert (steps, type(refusal)) == ([], NoTargetForTags)
    else:
        assert names(steps) == [tag or "untagged" for tag in chosen]


def test_a_context_window_that_is_too_small_is_passed_over_unless_all_are() -> None:
    model = Model("m", (Target("up", "small", context=100), Target("up", "large", context=1000)))
    world = World(model, policy=Policy(check_context=True))
    assert names(world.go("m", {}, replace(ASK, tokens=500))[0]) == ["large"]
    assert names(world.go("m", {}, replace(ASK, tokens=5000))[0]) == ["small"]
