"""Whatever is done to the rows behind the gateway's back is found."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.audit.chain import START, Chain
from headgate.audit.types import Head, Row
from tests.requirements import covers

pytestmark = covers("139")

CHAIN = Chain(b"pepper")
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
Rows = list[Row]


def row(seq: int, previous: str, words: list[str]) -> Row:
    values: list[Any] = [seq, 1000 + seq, *words, previous, ""]
    return CHAIN.signed(Row(*values))


@st.composite
def chains(draw: st.DrawFn) -> Rows:
    """One to eight acts of all kinds."""
    rows: Rows = []
    for seq in range(1, draw(st.integers(1, 8)) + 1):
        words = draw(st.lists(WORDS, min_size=13, max_size=13))
        rows.append(row(seq, rows[-1].hash if rows else "", words))
    return rows


def verdict(rows: Rows) -> tuple[Head, str, int | None]:
    last, wrong = CHAIN.check(rows, START)
    return last, wrong.fault if wrong else "", wrong.seq if wrong else None


@given(chains())
def test_what_nobody_touched_is_whole(rows: Rows) -> None:
    assert verdict(rows) == (Head(rows[-1].seq, rows[-1].hash), "", None)


@given(chains(), st.data())
@settings(max_examples=300)
def test_any_field_that_is_altered_is_found_at_its_row(rows: Rows, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    field = data.draw(st.sampled_from(Row._fields))
    old = getattr(rows[at], field)
    new = data.draw(st.integers(0, 2**40) if isinstance(old, int) else WORDS)
    altered: dict[str, Any] = {field: new}
    rows[at] = rows[at]._replace(**altered)
    _, fault, seq = verdict(rows)
    assert bool(fault) is (new != old)
    assert not fault or field == "seq" or (fault, seq) == ("altered", at + 1)


@given(chains(), st.data())
@settings(max_examples=200)
def test_a_removed_row_is_named_and_one_at_the_end_shows_in_the_head(rows: Rows, data: st.DataObject) -> None:
    whole = Head(rows[-1].seq, rows[-1].hash)
    at = data.draw(st.integers(0, len(rows) - 1))
    del rows[at]
    last, fault, seq = verdict(rows)
    if at < len(rows):
        assert (fault, seq) == ("missing", at + 1)
    else:
        assert fault == ""
        assert last != whole


@given(chains(), st.data())
@settings(max_examples=200)
def test_rows_put_in_or_put_elsewhere_are_found(rows: Rows, data: st.DataObject) -> None:
    """Also rows that carry a true signature, from elsewhere in this chain or from another. What a second chain with the
    same beginning adds at the end is no break; the head outside the database tells of it.
    """
    there = list(rows)
    other = data.draw(chains())
    for one in data.draw(st.lists(st.sampled_from([*rows, *other]), min_size=1, max_size=3)):
        rows.insert(data.draw(st.integers(0, len(rows))), one)
    assert verdict(rows)[1] or rows[: len(there)] == there
    shuffled = data.draw(st.permutations(there))
    assert bool(verdict(shuffled)[1]) is (shuffled != there)


@given(chains(), chains(), st.data())
@settings(max_examples=200)
def test_a_row_exchanged_for_a_true_one_of_another_chain_is_found(rows: Rows, other: Rows, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, min(len(rows), len(other)) - 1))
    old, rows[at] = rows[at], other[at]
    if at and other[at].previous != old.previous:
        assert verdict(rows)[1:] == ("reordered", at + 1)
    elif other[at] != old and at < len(rows) - 1:
        assert verdict(rows)[1:] == ("reordered", at + 2)


@given(chains())
def test_who_has_no_pepper_cannot_sign(rows: Rows) -> None:
    other = Chain(b"guess")
    forged: Rows = []
    for one in rows:
        forged.append(other.signed(one._replace(action="x", previous=forged[-1].hash if forged else "")))
    assert verdict(forged)[1:] == ("altered", 1)


@pytest.mark.parametrize(
    "split",
    [lambda at: at._replace(key="ab", key_tenant="c"), lambda at: at._replace(key="a", key_tenant="bc")],
)
def test_fields_do_not_run_into_each_other(split: Callable[[Row], Row]) -> None:
    plain = row(1, "", ["abc", *[""] * 12])
    assert CHAIN.hash_of(split(plain)) != CHAIN.hash_of(plain)
