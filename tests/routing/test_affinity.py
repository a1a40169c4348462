"""Requests that begin alike stay on one target, evenly spread, and leave one that is far busier than the rest."""

from collections import Counter
from typing import Any

import pytest

from headgate.routing.affinity import beginning_of, nearest
from headgate.routing.types import Target
from tests.requirements import covers

pytestmark = covers("167")
TARGETS = [Target(f"replica-{number}", "m") for number in range(4)]


def idle(_: Target) -> int:
    return 0


def turn(*texts: str, system: str | None = "Be kind.") -> dict[str, Any]:
    """A conversation, user and assistant in turn."""
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *messages]}


def test_all_turns_of_a_conversation_begin_alike_and_others_differently() -> None:
    first = beginning_of(turn("Hello"))
    assert first
    assert beginning_of(turn("Hello", "Hi!", "And now?")) == first
    assert beginning_of(turn("Hello", "Hi!", "And now?", "This.", "Thanks")) == first
    assert beginning_of(turn("Goodbye")) != first
    assert beginning_of(turn("Hello", system="Be curt.")) != first


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": "text"},
        {"prompt": [1]},
    ],
)
def test_what_has_no_beginning_belongs_nowhere(fields: dict[str, Any]) -> None:
    assert beginning_of(fields) is None


def test_parts_and_prompts_have_beginnings_too() -> None:
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert beginning_of({"messages": [{"role": "user", "content": parts}]})
    assert beginning_of({"prompt": "a" * 1024 + "x"}) == beginning_of({"prompt": "a" * 1024 + "y"})


def test_keys_are_spread_evenly_and_each_stays_where_it_is() -> None:
    chosen = [nearest(b"key-%d" % number, TARGETS, idle) for number in range(4000)]
    assert all(850 < count < 1150 for count in Counter(target.name for target in chosen).values())
    assert chosen == [nearest(b"key-%d" % number, list(reversed(TARGETS)), idle) for number in range(4000)]


def test_a_target_that_goes_moves_only_its_own_keys() -> None:
    keys = [b"key-%d" % number for number in range(1000)]
    before = {key: nearest(key, TARGETS, idle) for key in keys}
    after = {key: nearest(key, TARGETS[:3], idle) for key in keys}
    assert all(after[key] is before[key] for key in keys if before[key] is not TARGETS[3])
    assert {after[key] for key in keys if before[key] is TARGETS[3]} == set(TARGETS[:3])


def test_a_target_far_busier_than_the_others_is_passed_over() -> None:
    home = nearest(b"key", TARGETS, idle)
    assert nearest(b"key", TARGETS, lambda target: 3 if target is home else 0) is home
    assert nearest(b"key", TARGETS, lambda target: 20 if target is home else 0) is not home
    assert nearest(b"key", TARGETS, lambda _: 20) is home
