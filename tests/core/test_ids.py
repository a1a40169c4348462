"""Run ids and trace context."""

import re
import time

import pytest

from headgate.core import ids
from headgate.core.ids import child_of, new_run_id
from tests.requirements import covers

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@covers("ids")
def test_ids_are_unique_and_well_formed() -> None:
    made = [new_run_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", one) for one in made)


@covers("ids")
def test_ids_are_ordered_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1, 2**40 - 1, 2**40, 2**41]
    made = []
    for moment in moments:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment * 1_000_000)
        made.append(new_run_id())
    assert made == sorted(made)


@covers("ids", "21")
@pytest.mark.parametrize("given", ["a", "req-1", "A.b_c:d/e+f=g@h-1", "x" * 128])
def test_a_harmless_id_of_the_caller_is_kept(given: str) -> None:
    assert new_run_id(given) == given


@covers("ids", "21", "redaction")
@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\n", "a\r\nx: y", 'a"', "é", "\x00", "a;b", "<x>", None])
def test_any_other_is_replaced(given: str | None) -> None:
    made = new_run_id(given)
    assert made != given
    assert made.startswith("req_")


@covers("21")
def test_a_valid_parent_gets_a_child_of_the_same_trace() -> None:
    child = child_of(PARENT)
    assert (child.trace_id, child.flags) == ("4bf92f3577b34da6a3ce929d0e0e4736", "01")
    assert child.span_id != "00f067aa0ba902b7"
    assert re.fullmatch(r"00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01", child.traceparent)
    assert child_of(PARENT).span_id != child.span_id


@covers("21")
@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "x",
        PARENT.upper(),
        PARENT + "-x",
        PARENT + "\n",
        "01" + PARENT[2:],
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_without_a_valid_parent_a_new_unsampled_trace_begins(given: str | None) -> None:
    root = child_of(given)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", root.traceparent)
    assert root.trace_id != "4bf92f3577b34da6a3ce929d0e0e4736"
    assert int(root.trace_id, 16)
    assert int(root.span_id, 16)


@covers("21")
def test_a_call_gets_a_span_of_its_own_only_where_the_trace_is_kept() -> None:
    kept, other = child_of(PARENT), child_of(PARENT[:-1] + "2")
    span_id, traceparent = kept.below()
    assert re.fullmatch(r"[0-9a-f]{16}", span_id)
    assert span_id not in (kept.span_id, kept.below()[0])
    assert traceparent == f"00-{kept.trace_id}-{span_id}-01"
    assert other.below() == (other.span_id, other.traceparent)


@covers("21")
def test_no_id_is_all_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids._random, "getrandbits", lambda _: 0)
    root = child_of(None)
    assert all(int(made, 16) for made in (root.trace_id, root.span_id, root.child().span_id))
    assert (len(root.trace_id), len(root.span_id)) == (32, 16)
