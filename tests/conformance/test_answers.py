"""Any answer that a model may give: told by the rules in each dialect, read back the same, the same on every way."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.core.chat import CallBegun, CallPiece, ChatEvent, Ended, Finish, Refusal, Sealed, Text, Thought
from headgate.core.tokens import Tokens
from tests.conformance import conversations
from tests.conformance.conversations import names, words
from tests.conformance.golden import CHECK_STREAM, CHECK_WHOLE
from tests.conformance.said import Said, in_words_of, of_events
from tests.conformance.through import NAMES, SPOKEN, Heard, hear, hear_whole, told, told_whole
from tests.requirements import covers

pytestmark = [covers("conformance"), pytest.mark.timeout(1800)]
thorough = settings(max_examples=conversations.EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seals = st.sampled_from([Sealed("EqQB"), Sealed(sealed="gAAAAAB"), Sealed(sealed="Emw"), None])


@st.composite
def thoughts(draw: st.DrawFn) -> list[ChatEvent]:
    told: list[ChatEvent] = [Thought(piece) for piece in draw(st.lists(words, max_size=3))]
    seal = draw(seals)
    return [*told, seal] if seal is not None else told


@st.composite
def calls(draw: st.DrawFn) -> list[ChatEvent]:
    """Parallel calls, their pieces in any order that keeps each call's own."""
    queues: list[list[ChatEvent]] = []
    for number, name in enumerate(draw(st.lists(names, min_size=1, max_size=3))):
        arguments = orjson.dumps(draw(st.dictionaries(words, words, max_size=2))).decode()
        cuts = sorted(draw(st.lists(st.integers(0, len(arguments)), max_size=3)))
        pieces = [arguments[start:end] for start, end in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
        queues.append([CallBegun(number, f"call_{number}", name), *(CallPiece(number, one) for one in pieces if one)])
    order: list[ChatEvent] = []
    begun = 0
    while any(queues):
        ready = [at for at, queue in enumerate(queues) if queue and at <= begun]
        at = draw(st.sampled_from(ready))
        order.append(queues[at].pop(0))
        begun = max(begun, at + 1)
    return order


@st.composite
def answers(draw: st.DrawFn) -> Heard:
    events: list[ChatEvent] = [one for some in draw(st.lists(thoughts(), max_size=2)) for one in some]
    events += [Text(piece) for piece in draw(st.lists(words, max_size=3))]
    events += [Refusal(piece) for piece in draw(st.lists(words, max_size=1))]
    called = draw(st.just([]) | calls())
    goes_on = draw(st.booleans())
    if called and goes_on and type(events[-1] if events else None) is not Refusal:
        called = [*called, Text(draw(words))]
    events += called
    finishes: list[Finish] = ["tool_calls", "length"] if called else ["stop", "length", "content_filter"]
    finish = draw(st.sampled_from(finishes))
    prompt, cached, written = (draw(st.integers(0, 500)) for _ in range(3))
    thought, completion = draw(st.integers(0, 50)), draw(st.integers(0, 50))
    tokens = Tokens(1 + prompt + cached + written, thought + completion, cached, thought, written)
    return Heard([*events, Ended(finish, "", tokens)])


@pytest.mark.parametrize("caller", SPOKEN)
@thorough
@given(heard=answers())
def test_any_answer_is_told_by_the_rules_and_read_back(caller: str, heard: Heard) -> None:
    said = of_events(heard.events)
    expected = in_words_of(caller, said)
    stream, whole = told(heard, caller), told_whole(heard, caller)
    assert CHECK_STREAM[caller](stream) == expected
    assert CHECK_WHOLE[caller](whole) == in_words_of(caller, said, whole=True)
    if caller in NAMES:
        assert of_events(hear(caller, [stream]).events) == expected
        assert of_events(hear_whole(caller, whole).events) == expected


@thorough
@given(heard=answers())
def test_an_answer_says_the_same_on_all_ways_through_two_dialects(heard: Heard) -> None:
    """A caller, a gateway, a second gateway and a model, each pair of them speaking any dialect."""
    heard = Heard([event for event in heard.events if type(event) is not Refusal])
    came = {
        (first, second): CHECK_STREAM[second](told(hear(first, [told(heard, first)]), second))
        for first in NAMES
        for second in NAMES
    }
    assert {way: common(said) for way, said in came.items()} == dict.fromkeys(came, common(of_events(heard.events)))


def common(said: Said) -> Said:
    """What every dialect tells of an answer without a refusal."""
    return replace(said, tokens=said.tokens and said.tokens._replace(cache_write=0))
