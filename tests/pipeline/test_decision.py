"""What is kept of a decision: all that decided, nothing that was said, and nothing where nothing was decided."""

import json
from typing import Any

import pytest

from headgate.core.errors import UpstreamTimeout
from headgate.core.run import Run
from headgate.core.wishes import Wishes
from headgate.pipeline.decision import decision_of, has_decided
from headgate.routing.plan import Choice
from headgate.routing.types import Target
from headgate.usage.entries import entries_of
from tests.requirements import covers
from tests.usage.runs import SETTLED_AT, attempt, price_of, run_of

pytestmark = covers("163")


def targets(*names: str) -> tuple[Target, ...]:
    return tuple(Target(upstream="u", model=name, name=f"u/{name}") for name in names)


def told(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(decision_of(run))
    return found


def test_one_target_at_the_first_try_is_nothing_to_tell() -> None:
    run = run_of([attempt()])
    assert not has_decided(run)
    assert entries_of(run, SETTLED_AT, price_of)[-1].decision == ""


@pytest.mark.parametrize(
    "more",
    [
        {"passed_over": {"u/m": "other tags"}},
        {"wishes": Wishes(retries=1)},
        {"outcome": "disconnected"},
        {"choices": [Choice("small", 0, "ordered", targets("a", "b"))]},
    ],
)
def test_anything_beyond_that_is_told(more: dict[str, Any]) -> None:
    assert has_decided(run_of([attempt()], **more))


def test_candidates_scores_and_reasons_are_told_in_their_order() -> None:
    a, b = targets("a", "b")
    run = run_of(
        [attempt(error=UpstreamTimeout("late")), attempt(2, dropped=("seed",), applied=("max_tokens=16",))],
        choices=[
            Choice("small", 0, "cost", (a, b)),
            Choice("small", 0, "cost", (b, a), (3.0, float("inf"))),
            Choice("large", 1, "ordered", (a,)),
        ],
        passed_over={"u/c": "resting after upstream_timeout"},
        applied=("retries=5",),
    )
    assert told(run) == {
        "models": [
            {
                "model": "small",
                "hop": 0,
                "rule": "cost",
                "candidates": ["u/a", "u/b"],
                "choices": [{"rule": "cost", "scores": {"u/b": 3.0, "u/a": None}}],
            },
            {"model": "large", "hop": 1, "rule": "ordered", "candidates": ["u/a"]},
        ],
        "passed_over": {"u/c": "resting after upstream_timeout"},
        "applied": ["retries=5"],
        "changed": {"2": {"dropped": ["seed"], "applied": ["max_tokens=16"]}},
    }


def test_long_lists_are_cut_and_counted() -> None:
    many = targets(*(f"t{number}" for number in range(50)))
    run = run_of(
        [attempt()],
        choices=[Choice("small", 0, "ordered", many)],
        passed_over={f"u/{number}": "busy" for number in range(50)},
    )
    found = told(run)
    assert (len(found["models"][0]["candidates"]), found["models"][0]["more"]) == (20, 30)
    assert (len(found["passed_over"]), found["more"]) == (20, 30)


def test_nothing_that_was_said_is_kept() -> None:
    run = run_of(
        [attempt(error=UpstreamTimeout("your text was: SECRET"))],
        wishes=Wishes(session="SECRET"),
        fields={"messages": [{"role": "user", "content": "SECRET"}]},
    )
    run.fail(UpstreamTimeout("your text was: SECRET"))
    assert "SECRET" not in decision_of(run)
    assert told(run) == {"wishes": {"session": True}, "outcome": "error"}


def test_it_stands_at_the_last_attempt_alone() -> None:
    run = run_of([attempt(error=UpstreamTimeout("late")), attempt(2)])
    run.decision = "{}"
    assert [one.decision for one in entries_of(run, SETTLED_AT, price_of)] == ["", "{}"]
