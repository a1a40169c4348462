"""Requests of any kind come out of each dialect as they went in, and lose between two of them only what is declared."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headgate.core.chat_request import ChatRequest
from headgate.dialects.table import DIALECTS
from tests.conformance.conversations import requests
from tests.conformance.table import bare, joined, rows_of, told_beside
from tests.conformance.through import NAMES
from tests.requirements import covers

pytestmark = covers("conformance", "dialects")
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)


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


def settled(request: ChatRequest, upstream: str) -> ChatRequest:
    """For Anthropic what bounds thinking and sampling depends on each other; tests of its own hold it to that."""
    if upstream != "messages":
        return bare(request)
    free = replace(request, max_tokens=None, temperature=None, top_p=None, top_k=None, effort=None, thinks=None)
    return joined(bare(free))
