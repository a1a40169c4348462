"""Requests of any kind come out of each dialect as they went in, and lose between two of them only what is declared."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headgate.core.chat_request import ChatRequest, Format
from headgate.dialects.table import DIALECTS
from tests.conformance import conversations
from tests.conformance.conversations import everything, requests
from tests.conformance.table import ROWS, bare, joined, rows_of, same, told_beside
from tests.conformance.through import NAMES
from tests.requirements import covers

pytestmark = [covers("conformance", "dialects"), pytest.mark.timeout(1800)]
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
thorough = settings(
    max_examples=conversations.EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES
)


@pytest.mark.parametrize("dialect", NAMES)
@thorough
@given(data=st.data())
def test_a_request_comes_back_whole_in_its_own_dialect(dialect: str, data: st.DataObject) -> None:
    request = data.draw(requests(dialect))
    row = DIALECTS[dialect]
    rendered = row.render(request)
    assert row.parse(rendered.fields) == request
    assert rendered.lost == ()
    assert row.render(row.parse(rendered.fields)).fields == rendered.fields


@pytest.mark.parametrize("upstream", NAMES)
@pytest.mark.parametrize("caller", NAMES)
@thorough
@given(data=st.data())
def test_a_request_loses_what_the_table_declares_and_nothing_else(
    caller: str, upstream: str, data: st.DataObject
) -> None:
    request = data.draw(requests(caller))
    rendered = DIALECTS[upstream].render(request)
    read = DIALECTS[upstream].parse(rendered.fields)
    expected = request
    for row in rows_of(caller, upstream):
        before, expected = expected, row.change(expected)
        assert expected == before or row.is_told_in(rendered.lost), (row.what, rendered.lost)
    assert settled(read, upstream) == settled(expected, upstream)
    if caller != upstream:
        assert told_beside(request.beside, rendered.fields, rendered.lost) == set()


@pytest.mark.parametrize("upstream", NAMES)
@pytest.mark.parametrize("caller", NAMES)
def test_each_row_of_the_table_does_something_and_is_told(caller: str, upstream: str) -> None:
    one = everything(caller)
    idle = {row.what for row in rows_of(caller, upstream) if row.change is not same}
    for request in (one, replace(one, format=Format()), replace(one, effort=None)):
        lost = DIALECTS[upstream].render(request).lost
        for row in rows_of(caller, upstream):
            before, request = request, row.change(request)
            if request != before:
                idle.discard(row.what)
                assert row.is_told_in(lost), (row.what, lost)
    assert idle == set()


@thorough
@given(data=st.data())
def test_a_conversation_comes_out_equal_on_all_ways(data: st.DataObject) -> None:
    """What every dialect can carry, asked in any of them and sent on in any other."""
    request = data.draw(requests(data.draw(st.sampled_from(NAMES))))
    for row in ROWS + ROWS:  # what one row leaves may be another's matter
        request = row.change(request)
    request = bare(joined(_sayable(request)))
    came = {}
    for caller in NAMES:
        asked = DIALECTS[caller].render(replace(request, dialect="other")).fields
        for upstream in NAMES:
            sent = DIALECTS[upstream].render(DIALECTS[caller].parse(asked))
            assert caller == upstream or not sent.lost, (caller, upstream, sent.lost)
            came[caller, upstream] = _compared(DIALECTS[upstream].parse(sent.fields))
    assert came == dict.fromkeys(came, _compared(request))


def _sayable(request: ChatRequest) -> ChatRequest:
    """Without what the rows leave as it is although not every dialect says it with all else."""
    return replace(request, stop=(), top_k=None, temperature=None, top_p=None, effort=None, thinks=None)


def _compared(request: ChatRequest) -> ChatRequest:
    """Without names that some dialects demand, and without what settled leaves out."""
    settled_one = settled(request, "messages")
    return replace(settled_one, format=settled_one.format and Format(settled_one.format.schema))


def settled(request: ChatRequest, upstream: str) -> ChatRequest:
    """For Anthropic what bounds thinking and sampling depends on each other; tests of its own hold it to that."""
    if upstream != "messages":
        return bare(request)
    free = replace(request, max_tokens=None, temperature=None, top_p=None, top_k=None, effort=None, thinks=None)
    return joined(bare(free))
