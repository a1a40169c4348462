"""When a target rests and for how long, and what counts against it; windows of use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.errors import (
    HeadgateError,
    UpstreamBroke,
    UpstreamForbidden,
    UpstreamGarbled,
    UpstreamKeyRefused,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from headgate.core.run import Attempt
from headgate.routing.health import Book, Cooldown, Window
from headgate.routing.types import Limits, Target
from tests.requirements import covers

pytestmark = covers("164")
TARGET = Target("up", "x")


class Ward:
    """One target under watch, at a time that moves only when told."""

    def __init__(self, cooldown: Cooldown | None = None, target: Target = TARGET) -> None:
        self.now = 1000.0
        self.target = target
        self.book = Book(cooldown or Cooldown(failures=3, seconds=5, longest=18), lambda: self.now)

    def begin(self) -> Attempt:
        target = self.target
        self.book.begin(target, "chat", counted=True)
        return Attempt(target.upstream, target.model, target.name, target.key, "m", self.now)

    def end(self, attempt: Attempt, error: HeadgateError | None = None, *, blameless: bool = False) -> None:
        attempt.first_byte = attempt.started + 0.1
        attempt.error = error
        self.book.end(attempt, "chat", blameless=blameless)

    def calls(self, *errors: HeadgateError | None) -> None:
        for error in errors:
            self.end(self.begin(), error)

    @property
    def rest(self) -> float:
        return self.book.rest_of(self.target, "chat", self.now)


DOWN = UpstreamUnavailable("down")


def test_a_target_rests_after_three_failures_in_a_row() -> None:
    ward = Ward()
    ward.calls(DOWN, DOWN)
    assert ward.rest == 0
    ward.calls(None, DOWN, DOWN)
    assert ward.rest == 0
    ward.calls(DOWN)
    assert ward.rest == 5


def test_each_further_rest_is_twice_as_long_up_to_a_bound_and_one_success_ends_it() -> None:
    ward = Ward()
    ward.calls(DOWN, DOWN)
    rests = []
    for _ in range(4):
        ward.calls(DOWN)
        rests.append(ward.rest)
        ward.now += ward.rest
    assert rests == [5, 10, 18, 18]
    ward.calls(None, DOWN, DOWN)
    assert ward.rest == 0
    ward.calls(DOWN)
    assert ward.rest == 5


def test_failures_during_a_rest_do_not_prolong_it() -> None:
    ward = Ward()
    ward.calls(DOWN, DOWN, DOWN)
    ward.now += 1
    ward.calls(DOWN, DOWN)
    assert ward.rest == 4


def test_after_a_rest_one_call_tries_the_target_while_the_others_wait() -> None:
    ward = Ward()
    ward.calls(DOWN, DOWN, DOWN)
    ward.now += 6
    assert ward.rest == 0
    trial = ward.begin()
    assert ward.rest > 0
    ward.end(trial)
    assert ward.rest == 0


def test_a_trial_that_never_ends_does_not_lock_the_target_for_ever() -> None:
    ward = Ward()
    ward.calls(DOWN, DOWN, DOWN)
    ward.now += 6
    ward.begin()
    ward.now += 31
    assert ward.rest == 0


def test_a_stream_that_begins_opens_the_target_but_does_not_clear_its_record() -> None:
    ward = Ward()
    ward.calls(DOWN, DOWN, DOWN)
    ward.now += 6
    trial = ward.begin()
    ward.book.opened(trial, "chat")
    assert ward.rest == 0
    ward.end(trial, UpstreamBroke("broke off"))
    assert ward.rest == 5


@pytest.mark.parametrize("error", [UpstreamTimeout(""), UpstreamGarbled(""), UpstreamBroke("")])
def test_what_the_target_did_counts(error: HeadgateError) -> None:
    ward = Ward()
    ward.calls(error, error)
    assert ward.rest == 0
    ward.calls(error)
    assert ward.rest == 5


def test_a_key_that_is_refused_is_not_tried_three_times() -> None:
    ward = Ward()
    ward.calls(UpstreamKeyRefused(""))
    assert ward.rest == 5
    never = Ward(Cooldown(failures=0))
    never.calls(UpstreamKeyRefused(""))
    assert never.rest == 0


@pytest.mark.parametrize("error", [UpstreamRejected(""), UpstreamNotFound(""), UpstreamForbidden("")])
def test_what_the_caller_did_does_not_count(error: HeadgateError) -> None:
    ward = Ward()
    ward.calls(*[error] * 10)
    assert ward.rest == 0


def test_a_call_that_was_left_proves_nothing_either_way() -> None:
    ward = Ward()
    ward.calls(DOWN, DOWN)
    ward.end(ward.begin(), blameless=True)
    ward.end(ward.begin(), UpstreamTimeout("hurried"), blameless=True)
    assert ward.rest == 0
    ward.calls(DOWN)
    assert ward.rest == 5


def test_a_provider_that_names_a_time_is_given_it_at_once() -> None:
    ward = Ward()
    ward.calls(UpstreamRateLimited("", retry_after=7))
    assert ward.rest == 7
    ward.now += 8
    assert ward.rest == 0
    ward.calls(UpstreamRateLimited("", retry_after=86_400))
    assert ward.rest == 600


def test_numbers_for_single_errors_and_none_at_all() -> None:
    ward = Ward(Cooldown(failures=3, by_error={"upstream_timeout": 1, "upstream_rate_limited": 0}))
    ward.calls(UpstreamRateLimited("", retry_after=9))
    assert ward.rest == 0
    ward.calls(UpstreamTimeout(""))
    assert ward.rest == 5
    never = Ward(Cooldown(failures=0))
    never.calls(*[DOWN] * 20, UpstreamRateLimited("", retry_after=9))
    assert never.rest == 0


def test_surfaces_rest_apart() -> None:
    ward = Ward()
    ward.calls(DOWN, DOWN, DOWN)
    assert ward.book.rest_of(TARGET, "embeddings", ward.now) == 0
    assert ward.book.resting() == ["up/x"]


def test_calls_in_flight_are_counted_back_however_they_end() -> None:
    ward = Ward()
    ward.end(ward.begin())
    ward.end(ward.begin(), DOWN)
    ward.end(ward.begin(), blameless=True)
    assert ward.book.state("up/x").in_flight == 0


@covers("targets")
def test_limits_hold_for_a_minute() -> None:
    ward = Ward(target=Target("up", "x", limits=Limits(requests_per_minute=2, in_flight=1)))
    running = ward.begin()
    assert ward.book.busy_for(ward.target, ward.now) == 1.0
    ward.end(running)
    assert ward.book.busy_for(ward.target, ward.now) == 0
    ward.now += 20
    ward.calls(None)
    wait = ward.book.busy_for(ward.target, ward.now)
    assert 35 <= wait <= 45
    ward.now += wait
    assert ward.book.busy_for(ward.target, ward.now) == 0


@covers("targets")
@given(
    st.lists(st.tuples(st.floats(0, 40), st.integers(1, 5)), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_a_window_never_forgets_too_early_and_tells_the_truth_about_when(
    events: list[tuple[float, int]], limit: int
) -> None:
    window, now, seen = Window(), 100.0, []
    for pause, amount in events:
        now += pause
        window.add(amount, now)
        seen.append((now, amount))
        assert window.used(now) >= sum(amount for at, amount in seen if at > now - 60)
        assert window.used(now) <= sum(amount for at, amount in seen if at > now - 66)
    wait = window.free_in(limit, now)
    assert 0 <= wait <= 65
    assert (wait == 0) == (window.used(now) < limit)
    assert window.used(now + wait) < limit
