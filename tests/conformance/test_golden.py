"""Recorded answers of every dialect in the words of every other: to the letter, by the rules, and saying the same."""

from dataclasses import replace

import pytest

from headgate.core.chat import Call as ToolCall
from headgate.core.chat import ChatEvent, ToolEnded, ToolHeld, ToolStarted
from tests.conformance.golden import CHECK_STREAM, CHECK_WHOLE, Case, cases, transcript
from tests.conformance.said import in_words_of, of_events
from tests.conformance.through import NAMES, SPOKEN, Heard, hear, hear_whole, told, told_whole
from tests.requirements import covers

pytestmark = covers("conformance")
CASES = cases()
WELL = [case for case in CASES if case.heard().error is None]
BROKEN = [case for case in CASES if case not in WELL]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_becomes_of_an_answer_is_as_committed(case: Case) -> None:
    assert transcript(case) == case.transcript.read_text(), "see tests/conformance/golden.py"


def test_each_transcript_has_its_recording() -> None:
    folder = CASES[0].path.parents[1]
    assert set(folder.rglob("*.txt")) == {case.transcript for case in CASES}


@pytest.mark.parametrize("extensions", [False, True])
@pytest.mark.parametrize("caller", SPOKEN)
@pytest.mark.parametrize("case", WELL, ids=str)
def test_a_stream_keeps_to_the_rules_and_says_what_was_said(case: Case, caller: str, extensions: bool) -> None:
    heard = case.heard()
    said = CHECK_STREAM[caller](told(heard, caller, extensions=extensions))
    assert said == in_words_of(caller, of_events(heard.events))


@pytest.mark.parametrize("caller", SPOKEN)
@pytest.mark.parametrize("case", WELL, ids=str)
def test_a_whole_answer_says_the_same_as_a_stream(case: Case, caller: str) -> None:
    heard = case.heard()
    said = CHECK_WHOLE[caller](told_whole(heard, caller))
    assert said == in_words_of(caller, of_events(heard.events), whole=True)


@pytest.mark.parametrize("caller", SPOKEN)
@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_stream_that_breaks_off_ends_with_an_error_by_the_rules(case: Case, caller: str) -> None:
    heard = case.heard()
    assert CHECK_STREAM[caller](told(heard, caller)).is_broken
    nothing = Heard(error=heard.error)
    assert CHECK_STREAM[caller](told(nothing, caller)).is_broken


@pytest.mark.parametrize("caller", NAMES)
@pytest.mark.parametrize("case", WELL, ids=str)
def test_what_was_written_is_read_back_the_same(case: Case, caller: str) -> None:
    """Through two gateways in a row."""
    once = case.heard()
    expected = in_words_of(caller, of_events(once.events))
    for again, whole in (
        (hear(caller, [told(once, caller)]), False),
        (hear_whole(caller, told_whole(once, caller)), True),
    ):
        assert again.error is None
        said = of_events(again.events)
        assert replace(said, calls=[]) == replace(expected, calls=[])
        assert said.calls == in_words_of(caller, of_events(once.events), whole=whole).calls


@pytest.mark.parametrize("extensions", [False, True])
@pytest.mark.parametrize("caller", SPOKEN)
def test_what_agents_do_on_the_way_breaks_no_rule(caller: str, extensions: bool) -> None:
    heard = next(case for case in CASES if str(case) == "chat/thinking_blocks").heard()
    call = ToolCall("call_own", "get_weather", '{"city":"Paris"}')
    done = ToolEnded(call, 1, "It rains.", False, 0.25)
    failed = ToolEnded(call, 1, "no such city", True, 0.25)
    aside: list[ChatEvent] = [ToolStarted(call, 1), done, ToolStarted(call, 2), failed, ToolHeld(call, 3)]
    for at in range(len(heard.events)):
        run = Heard([*heard.events[:at], *aside, *heard.events[at:]])
        if any(type(event).__name__ == "CallPiece" for event in heard.events[at : at + 1]):
            continue  # nothing happens within a call
        said = CHECK_STREAM[caller](told(run, caller, extensions=extensions))
        assert said == in_words_of(caller, of_events(heard.events))
        CHECK_WHOLE[caller](told_whole(run, caller, extensions=extensions))
