"""What a compaction covers and keeps, whatever was said, and what takes the place of what it covers."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.conversations.compaction import (
    HEADINGS,
    Plan,
    is_worth,
    line_of,
    plan_of,
    summary_item,
    task_of,
    text_of,
    trimmed,
    weight,
    weights,
    with_place,
)
from headgate.conversations.digest import digest_of
from headgate.conversations.policy import CompactionSettings, Policy, narrowed, policy_of
from headgate.conversations.types import Item
from tests.requirements import covers

pytestmark = covers("86")
FILLING = "word " * 40


def message(role: str, text: str) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def call(id_: str) -> dict[str, Any]:
    return {"id": f"fc_{id_}", "type": "function_call", "call_id": id_, "name": "look", "arguments": '{"at": 7}'}


def result(id_: str, text: str = FILLING) -> dict[str, Any]:
    return {"id": f"fco_{id_}", "type": "function_call_output", "call_id": id_, "output": text}


def stored(*data: dict[str, Any]) -> list[Item]:
    return [Item(f"i{at}", "seg_1", at, "", 0, one) for at, one in enumerate(data, start=1)]


def after(told: list[Item], plan: Plan) -> list[Item]:
    """What is told then, as the store tells it: the summary, what is kept, and what comes behind."""
    first, last = plan.covers
    summary = Item("cmp", "seg_2", max(one.position for one in told) + 1, "", 0, summary_item("S"))
    kept = [one for one in told if first <= one.position <= last and one.position in plan.keeps]
    front = [one for one in told if one.position < first]
    return [*front, summary, *sorted(kept, key=lambda one: one.position), *(one for one in told if one.position > last)]


def talk(turns: int) -> list[Item]:
    said = [message("system", "Be brief.")]
    for number in range(turns):
        said += [message("user", f"Q{number}"), call(str(number)), result(str(number)), message("assistant", FILLING)]
    return stored(*said)


def test_the_last_turns_the_users_words_and_the_instructions_stay() -> None:
    told = talk(5)
    plan = plan_of(told, Policy(keep_turns=2))
    assert plan is not None
    assert plan.covers == (2, 13)
    assert plan.keeps == (2, 6, 10)
    assert [one.position for one in plan.dropped] == [3, 4, 5, 7, 8, 9, 11, 12, 13]
    assert plan.sent == tuple(told[:13])


def test_words_of_the_user_stay_as_far_as_there_is_room_the_newest_first() -> None:
    told = stored(*(one for n in range(6) for one in (message("user", FILLING), message("assistant", "Yes."))))
    plan = plan_of(told, Policy(keep_turns=1, user_text_tokens=2 * weight(told[0].data)))
    assert plan is not None
    assert plan.keeps == (7, 9)


def test_where_only_an_earlier_summary_could_be_covered_nothing_is() -> None:
    told = talk(5)
    plan = plan_of(told, Policy(keep_turns=2))
    assert plan is not None
    assert plan_of(after(told, plan), Policy(keep_turns=2), strict=True) is None
    assert plan_of([], Policy()) is None


def test_fewer_turns_stay_where_as_many_would_fill_the_room() -> None:
    told = talk(5)
    whole = weights(told)
    many, few = plan_of(told, Policy(keep_turns=4), whole * 10), plan_of(told, Policy(keep_turns=4), whole // 2)
    assert many is not None
    assert few is not None
    assert whole - few.gain <= whole // 2 * 0.6 < whole - many.gain


def test_one_turn_that_is_too_long_by_itself_is_cut_between_calls() -> None:
    said = [message("user", "Do it all.")]
    for number in range(20):
        said += [call(str(number)), result(str(number))]
    told = stored(*said)
    room = weights(told) // 2
    plan = plan_of(told, Policy(), room)
    assert plan is not None
    assert weights(told) - plan.gain <= room
    assert 1 in plan.keeps
    assert told[plan.covers[1] - 1].data["type"] == "function_call_output"


def test_a_call_whose_result_is_yet_to_come_is_not_covered() -> None:
    told = stored(message("user", "Do it."), message("assistant", FILLING), *(call(str(n)) for n in range(3)))
    plan = plan_of(told, Policy(keep_turns=1), 60)
    assert plan is None or plan.covers[1] == 2


@st.composite
def talks(draw: st.DrawFn) -> list[Item]:
    said: list[dict[str, Any]] = [message("system", "Rules.")] * draw(st.integers(0, 2))
    waiting: list[str] = []
    for number in range(draw(st.integers(1, 30))):
        kind = draw(st.sampled_from(["user", "assistant", "call", "result", "reasoning", "approval"]))
        if kind == "result" and waiting:
            said.append(result(waiting.pop(draw(st.integers(0, len(waiting) - 1)))))
        elif kind == "call":
            waiting.append(str(number))
            said.append(call(str(number)))
        elif kind == "reasoning":
            said.append({"id": f"rs_{number}", "type": "reasoning", "summary": []})
        else:
            said.append(message("assistant" if kind == "assistant" else "user", FILLING[: number * 10]))
    return stored(*said)


@settings(max_examples=150, deadline=None)
@given(talks(), st.integers(1, 4), st.integers(0, 300), st.sampled_from([0, 200, 1000]))
def test_no_call_is_ever_parted_from_its_result(told: list[Item], turns: int, words: int, room: int) -> None:
    policy = Policy(keep_turns=turns, user_text_tokens=words)
    for _ in range(3):
        plan = plan_of(told, policy, room)
        if plan is None:
            return
        dropped = {one.position for one in plan.dropped}
        for one in told:
            name = one.data.get("call_id")
            pair = {other.position for other in told if name and other.data.get("call_id") == name}
            assert pair <= dropped or not pair & dropped
        assert not any(one.data.get("role") == "system" for one in plan.dropped)
        left = after(told, plan)
        assert {one.position for one in left[:-1] if one.id != "cmp"} <= {one.position for one in told}
        assert dropped.isdisjoint(one.position for one in left)
        assert dropped | {one.position for one in left} >= {one.position for one in told}
        told = left


def test_a_digest_holds_what_has_to_be_exact_and_is_the_same_each_time() -> None:
    told = stored(
        message("user", "Q"),
        message("assistant", f"Order HX-4711 goes to /srv/data/out.csv for ann@example.com. {FILLING}"),
        message("user", "Q"),
        message("assistant", "Done."),
    )
    plan = plan_of(told, Policy(keep_turns=1))
    assert plan is not None
    digest = digest_of(plan, 500)
    assert digest == digest_of(plan, 500)
    for exact in ("HX-4711", "/srv/data/out.csv", "ann@example.com", "[2] assistant: Order HX-4711"):
        assert exact in digest
    short = digest_of(plan, 60)
    assert weight({"text": short}) < 150
    assert "HX-4711" in short


def test_a_second_digest_has_what_the_first_one_had() -> None:
    earlier = with_place("## Facts\nHX-4711", Plan((1, 9), (), (), (), 0))
    told = stored(summary_item(earlier), message("assistant", FILLING), message("user", "Q"), message("assistant", "A"))
    plan = plan_of(told, Policy(keep_turns=1))
    assert plan is not None
    assert "HX-4711" in digest_of(plan, 500)
    assert "HX-4711" in trimmed(plan)
    assert "It stands for" not in digest_of(plan, 500)
    assert with_place("S", plan).endswith("(It stands for items 1 to 2 of this conversation, which are all kept.)")


def test_the_task_names_each_heading_and_a_word_for_nothing() -> None:
    task = task_of(1000)
    assert all(f"## {one}\n" in task for one in HEADINGS)
    assert '"None"' in task
    assert "750 words" in task


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (message("user", "Hi  there"), "[1] user: Hi there"),
        (call("1"), '[1] called look({"at": 7})'),
        (result("1", "42"), "[1] result: 42"),
        ({"type": "mcp_call", "name": "sum", "arguments": "{}", "output": "3"}, "[1] called sum({}): 3"),
        ({"type": "mcp_call", "name": "sum", "arguments": "{}", "error": "no"}, "[1] called sum({}): no"),
        ({"type": "reasoning", "summary": []}, ""),
        (summary_item("S"), "[1] summary: S"),
    ],
)
def test_an_item_on_a_line(data: dict[str, Any], line: str) -> None:
    assert line_of(stored(data)[0]) == line


def test_pictures_weigh_as_much_whatever_their_bytes() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 1_000_000}
    assert 500 < weight({"role": "user", "content": [picture]}) < 2000
    assert text_of({"type": "message", "content": "plain"}) == "plain"


def test_of_two_wishes_the_later_one_holds_and_a_tenant_only_narrows() -> None:
    policy = policy_of(CompactionSettings().policy(), {"mode": "trim", "at": None}, {"at": 0.5})
    assert (policy.mode, policy.at, policy.keep_turns) == ("trim", 0.5, 2)
    assert narrowed(policy, "compact", 0.9) == policy
    assert (narrowed(policy, "none", 0.2).mode, narrowed(policy, "none", 0.2).at) == ("none", 0.2)


def test_a_compaction_that_gains_little_is_not_worth_it() -> None:
    plan = Plan((1, 2), (), (), (), 40)
    assert is_worth(plan, 700)
    assert not is_worth(plan, 900)
    assert not is_worth(None, 10)
