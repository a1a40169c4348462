"""Each rule reports a planted violation: a checker that passes everything would prove nothing."""

from collections.abc import Callable

import pytest

from headgate.core.chat import Call, CallBegun, CallPiece, Ended, Sealed, Text, Thought
from headgate.core.errors import UpstreamBroke
from headgate.core.tokens import Tokens
from tests.conformance.golden import CHECK_STREAM, CHECK_WHOLE
from tests.conformance.said import Violation
from tests.conformance.through import NAMES, Heard, events_of, told, told_whole
from tests.requirements import covers

pytestmark = covers("conformance")
RUN = Heard(
    [
        Thought("So"),
        Sealed("EqQB"),
        Text("Let me"),
        Text(" see."),
        CallBegun(0, "call_a", "get_weather"),
        CallPiece(0, '{"city":'),
        CallPiece(0, '"Paris"}'),
        Call("call_b", "get_time", "{}"),
        Ended("tool_calls", "", Tokens(20, 8, 16, 4)),
    ]
)
BROKEN = Heard(RUN.events[:4], UpstreamBroke("The provider broke off."))
Edit = Callable[[bytes], bytes]


def swap(old: bytes, new: bytes) -> Edit:
    def edit(stream: bytes) -> bytes:
        assert old in stream, old
        return stream.replace(old, new)

    return edit


def swap_once(old: bytes, new: bytes) -> Edit:
    def edit(stream: bytes) -> bytes:
        assert old in stream, old
        return stream.replace(old, new, 1)

    return edit


def without(mark: bytes) -> Edit:
    """Leave out the first event that holds the mark."""

    def edit(stream: bytes) -> bytes:
        events = _parts(stream)
        events.remove(next(event for event in events if mark in event))
        return b"".join(events)

    return edit


def _parts(stream: bytes) -> list[bytes]:
    return events_of(stream) if b"\n\n" in stream else stream.splitlines(keepends=True)


def twice(mark: bytes) -> Edit:
    def edit(stream: bytes) -> bytes:
        events = events_of(stream)
        at = next(at for at, event in enumerate(events) if mark in event)
        return b"".join([*events[:at], events[at], *events[at:]])

    return edit


def added(more: bytes) -> Edit:
    return lambda stream: stream + more


def cut(stream: bytes) -> bytes:
    return stream[:-1]


PLANTED: list[tuple[str, Edit, str]] = [
    ("chat", without(b"[DONE]"), "ends with [DONE] or an error"),
    ("chat", twice(b"[DONE]"), "nothing follows the end"),
    ("chat", without(b'"usage"'), "usage is told if it was asked for"),
    ("chat", twice(b'"usage"'), "nothing follows the usage"),
    ("chat", without(b'"finish_reason":"tool_calls"'), "usage comes behind the end"),
    ("chat", twice(b'"finish_reason":"tool_calls"'), "no choice follows the one that finished"),
    ("chat", swap(b'"finish_reason":"tool_calls"', b'"finish_reason":"tool_use"'), "finish_reason is a known one"),
    ("chat", swap_once(b"chatcmpl-req", b"chatcmpl-xyz"), "id, time and model stay the same"),
    ("chat", swap_once(b'"role":"assistant",', b""), "the first delta"),
    ("chat", swap(b'"id":"call_b"', b'"id":"call_a"'), "calls have ids of their own"),
    ("chat", swap(b'{"index":1,', b'{"index":2,'), "indexes of calls rise"),
    ("chat", swap_once(b'"finish_reason":null', b'"x":null'), "a choice has its index and finish_reason"),
    ("chat", swap(b'{"index":0,"type":"thinking"', b'{"type":"thinking"'), "members of thinking_blocks are numbered"),
    ("chat", swap(b"data: ", b"event: x\ndata: "), "events have no names"),
    ("chat", swap(b"data: ", b"id: 1\ndata: "), "nothing but its name and its data"),
    ("chat", cut, "ends behind a complete event"),
    ("messages", without(b"message_stop"), "message_stop ends a stream"),
    ("messages", twice(b"message_stop"), "nothing follows message_stop"),
    ("messages", without(b"message_delta"), "message_delta comes before message_stop"),
    ("messages", twice(b"event: message_delta"), "message_delta comes last but one"),
    ("messages", without(b"message_start"), "message_start comes first"),
    ("messages", twice(b"message_start"), "message_start comes once"),
    ("messages", without(b"content_block_stop"), "one block is open at a time"),
    ("messages", twice(b"content_block_stop"), "the open block is closed"),
    ("messages", without(b"content_block_start"), "a delta is of the open block"),
    ("messages", swap(b'"index":1', b'"index":5'), "indexes of blocks rise"),
    ("messages", swap(b'"type":"thinking_delta"', b'"type":"text_delta"'), "a delta is of its block's kind"),
    ("messages", twice(b"signature_delta"), "a thought is signed once"),
    ("messages", swap(b"call_b", b"call_a"), "calls have ids of their own"),
    ("messages", swap(b"call_b", b"call.b"), "letters, digits"),
    ("messages", swap(b"event: content_block_delta", b"event: delta"), "the name of an event is its type"),
    ("messages", swap(b'"stop_reason":"tool_use"', b'"stop_reason":"stop"'), "a stop reason is told"),
    ("messages", swap(b'"role":"assistant",', b""), "a message has all its fields"),
    ("messages", added(b"data: [DONE]\n\n"), "unexpected character"),
    ("responses", without(b"response.completed"), "ends a stream"),
    ("responses", twice(b"event: response.completed"), "sequence numbers rise"),
    ("responses", swap(b'"sequence_number":3,', b'"sequence_number":2,'), "sequence numbers rise"),
    ("responses", added(b"data: [DONE]\n\n"), "knows no [DONE]"),
    ("responses", swap(b"event: response.output_text.delta", b"event: delta"), "the name of an event is its type"),
    ("responses", swap_once(b'"id":"resp_0', b'"id":"resp_1'), "the id of the response stays"),
    ("responses", swap(b'"text":"Let me see."', b'"text":"Let me"'), "is done is what its pieces were"),
    ("responses", swap_once(b'"status":"completed","role"', b'"status":"in_progress","role"'), "in progress no more"),
    ("responses", swap(b'"temperature":1,', b""), "a response has all its fields"),
    ("responses", swap(b'"temperature":1,', b'"temperature":null,'), "only some fields may be null"),
    ("responses", swap(b'"output_index":2', b'"output_index":7'), "indexes of items rise"),
    ("ollama", without(b'"done":true'), "the last line tells why it ends"),
    ("ollama", swap(b'"done":true', b'"done":false'), "the last line tells why it ends"),
    ("ollama", swap_once(b'"done":false', b'"done":true'), "only the last line ends a stream"),
    ("ollama", swap(b'"index":1', b'"index":0'), "indexes of calls rise"),
    ("ollama", swap(b'"eval_count":8', b'"eval_count":null'), "counts are told"),
    ("ollama", cut, "each line is complete"),
    ("responses", swap(b'"total_tokens":28', b'"total_tokens":29'), "the total is the sum"),
]


@pytest.mark.parametrize(("dialect", "edit", "rule"), PLANTED, ids=[f"{one}-{rule}" for one, _, rule in PLANTED])
def test_a_planted_violation_is_reported(dialect: str, edit: Edit, rule: str) -> None:
    stream = told(RUN, dialect)
    CHECK_STREAM[dialect](stream)
    with pytest.raises((Violation, ValueError)) as caught:
        CHECK_STREAM[dialect](edit(stream))
    assert rule in str(caught.value)


@pytest.mark.parametrize("dialect", NAMES)
def test_every_event_of_a_stream_is_needed_once_and_in_its_place(dialect: str) -> None:
    """But for pieces of texts, which may be any number."""
    events = events_of(told(RUN, dialect))
    for at, event in enumerate(events):
        if b"delta" in event and b"message_delta" not in event and dialect != "responses":
            continue
        for others in ([*events[:at], *events[at + 1 :]], [*events[:at], event, *events[at:]]):
            with pytest.raises((Violation, ValueError)):
                CHECK_STREAM[dialect](b"".join(others))


@pytest.mark.parametrize("dialect", NAMES)
def test_nothing_may_follow_an_error(dialect: str) -> None:
    stream = told(BROKEN, dialect)
    assert CHECK_STREAM[dialect](stream).is_broken
    with pytest.raises((Violation, ValueError)):
        CHECK_STREAM[dialect](stream + events_of(told(RUN, dialect))[-1])


@pytest.mark.parametrize(
    ("dialect", "edit", "rule"),
    [
        ("chat", swap(b'"total_tokens":28', b'"total_tokens":1'), "the total is the sum"),
        ("chat", swap(b'"logprobs":null,', b""), "a choice is whole"),
        ("messages", swap(b'"stop_sequence":null,', b""), "a message has all its fields"),
        ("messages", swap(b'"input":{"city":"Paris"}', b'"input":"Paris"'), "the input of a call is an object"),
        ("responses", swap(b'"top_p":1,', b""), "a response has all its fields"),
    ],
)
def test_a_planted_violation_in_a_whole_answer_is_reported(dialect: str, edit: Edit, rule: str) -> None:
    body = told_whole(RUN, dialect)
    CHECK_WHOLE[dialect](body)
    with pytest.raises(Violation, match=rule):
        CHECK_WHOLE[dialect](edit(body))
