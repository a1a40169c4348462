"""Tokens that confirm a call: what they hold for, and that no other call, caller, state or time gets through."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.principal import Principal
from headgate.tools.confirm import Confirmations, Refused, Wanted
from headgate.tools.policy import Policies
from headgate.tools.types import Caller, Hints, ToolInfo
from tests.requirements import covers

pytestmark = covers("98")
WHO = Principal("key_1", tenant="blue", user="ann")
WANTED = Wanted("rag_delete_index", {"index": "facts"}, Caller(WHO, "run_1", "keeper"), ("vs_1", 7))
DESTROYS = Hints(read_only=False, destructive=True)


def at(seconds: float) -> Confirmations:
    return Confirmations(b"secret", lambda: seconds, seconds=600)


def test_a_token_holds_for_the_same_call_by_any_key_in_any_run_with_any_worker() -> None:
    token = at(1000).token(WANTED)
    later = replace(WANTED.caller, who=replace(WHO, key_id="key_2"), run="run_2", depth=1)
    confirmed = WANTED._replace(arguments={"confirm_token": token, "index": "facts"}, caller=later)
    at(1599).check(token, confirmed)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda one: one._replace(tool="rag_delete_document"), "was not given to you"),
        (lambda one: one._replace(arguments={"index": "other"}), "was not given to you"),
        (lambda one: one._replace(arguments={"index": "facts", "more": 1}), "was not given to you"),
        (lambda one: one._replace(caller=replace(one.caller, agent="other")), "was not given to you"),
        (lambda one: one._replace(caller=replace(one.caller, who=replace(WHO, user="bob"))), "was not given to you"),
        (lambda one: one._replace(caller=replace(one.caller, who=replace(WHO, tenant="red"))), "was not given to you"),
        (lambda one: one._replace(state=("vs_1", 8)), "somebody else made a change"),
        (lambda one: one._replace(state=("vs_2", 7)), "somebody else made a change"),
    ],
)
def test_it_holds_for_nothing_else(change: Callable[[Wanted], Wanted], why: str) -> None:
    token = at(1000).token(WANTED)
    with pytest.raises(Refused, match=why):
        at(1000).check(token, change(WANTED))


def test_it_expires_and_another_gateways_is_nothing_here() -> None:
    token = at(1000).token(WANTED)
    with pytest.raises(Refused, match="has expired"):
        at(1601).check(token, WANTED)
    with pytest.raises(Refused, match="was not given"):
        Confirmations(b"another secret", lambda: 1000.0).check(token, WANTED)


@given(st.text(max_size=100) | st.binary(max_size=80).map(lambda one: "confirm_" + one.hex()))
def test_nothing_that_is_made_up_holds(token: str) -> None:
    with pytest.raises(Refused):
        at(1000).check(token, WANTED)


@given(st.integers(0, 63), st.characters(categories=("Lu", "Ll", "Nd"), max_codepoint=127))
def test_no_letter_of_a_token_can_be_changed(place: int, letter: str) -> None:
    token = at(1000).token(WANTED)
    place += len("confirm_")
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        with pytest.raises(Refused):
            at(1000).check(changed, WANTED)


@pytest.mark.parametrize(
    ("arguments", "held"),
    [
        ('{"index": "facts"}', False),
        ('{"index": "facts", "confirm_token": ""}', False),
        ('{"index": "facts", "confirm_token": "confirm_x"}', True),
        ('{"index": "facts", "confirm\\u005ftoken": "confirm_x"}', True),
        ("{broken", True),
        ("[]", True),
        ("", True),
    ],
)
def test_a_call_that_only_shows_waits_for_nobody_and_the_deed_does(arguments: str, held: bool) -> None:
    info = ToolInfo("rag_delete_index", "", {}, "builtin", "rag", DESTROYS, confirms="confirm_token")
    assert Policies("auto").holds(info, arguments) is held
    assert Policies("auto").holds(replace(info, confirms=""), arguments)
    assert Policies("always_ask").holds(info, arguments)
    assert not Policies("always_allow").holds(info, arguments)
