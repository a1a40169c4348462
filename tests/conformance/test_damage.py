"""Whatever a provider sends, the caller's stream keeps to the rules: it ends well or with an error, never badly."""

from random import Random

import pytest

from headgate.core.chat import Ended
from tests.conformance.golden import CHECK_STREAM, CHECK_WHOLE, Case, cases
from tests.conformance.mutants import damaged, odd_answer, pieces
from tests.conformance.through import SPOKEN, Heard, events_of, hear, hear_whole, told, told_whole
from tests.conftest import Amount
from tests.requirements import covers

pytestmark = covers("conformance")
STREAMS = [case for case in cases() if case.is_stream]
WHOLES = [case for case in cases() if not case.is_stream]
BODIES = [case.body for case in STREAMS]


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_damaged_stream_never_becomes_an_invalid_one(case: Case, amount: Amount) -> None:
    for seed in range(amount(25, 2000)):
        dice = Random(f"{case} {seed}")
        stream = damaged(case.body, BODIES, dice)
        heard = hear(case.dialect, pieces(stream, dice))
        for caller in SPOKEN:
            check(CHECK_STREAM[caller], told(heard, caller), heard, (seed, stream), usage=True)


@pytest.mark.parametrize("case", WHOLES, ids=str)
def test_a_damaged_answer_never_becomes_an_invalid_one(case: Case, amount: Amount) -> None:
    for seed in range(amount(50, 2000)):
        dice = Random(f"{case} {seed}")
        body = odd_answer(case.body, dice)
        heard = hear_whole(case.dialect, body)
        for caller in SPOKEN:
            if heard.error is None:
                check(CHECK_WHOLE[caller], told_whole(heard, caller), heard, (seed, body), usage=False)
                check(CHECK_STREAM[caller], told(heard, caller), heard, (seed, body), usage=True)


@pytest.mark.parametrize("case", [case for case in STREAMS if case.dialect == "responses"], ids=str)
def test_items_that_are_told_twice_are_said_once(case: Case) -> None:
    events = events_of(case.body)
    twice = b"".join(event * (1 + (b"output_item." in event.partition(b"\n")[0])) for event in events)
    assert hear(case.dialect, [twice]).events == case.heard().events


def check(rules: object, written: bytes, heard: Heard, shown: tuple[int, bytes], *, usage: bool) -> None:
    """Only usage that the provider told can be passed on."""
    known = any(isinstance(event, Ended) and event.tokens is not None for event in heard.events)
    assert callable(rules)
    try:
        rules(written, usage=known) if usage else rules(written)
    except Exception as fault:
        fault.add_note(f"seed {shown[0]}: {shown[1]!r}\nevents: {heard.events}\nwritten: {written!r}")
        raise
