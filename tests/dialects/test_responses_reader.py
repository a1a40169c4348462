"""Answers of providers that speak the Responses API as events, from streams cut anywhere and in one piece."""

import json
from itertools import groupby
from typing import Any

import pytest

from headgate.core import sse
from headgate.core.chat import Answer, CallBegun, CallPiece, ChatEvent, Other, Refusal, Sealed, Text, Thought
from headgate.core.errors import UpstreamFault, UpstreamGarbled
from headgate.dialects.responses_reader import Reader
from tests.harness.responses import Told, call, message, pieces, reasoning, refusal, resource
from tests.requirements import covers

pytestmark = covers("responses")
TOKEN = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": []}
SOURCE = {"type": "url_citation", "url": "https://example.com", "title": "E", "start_index": 0, "end_index": 2}
NESTED = {"type": "url_citation", "url_citation": {key: value for key, value in SOURCE.items() if key != "type"}}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}}
ANSWERS: dict[str, tuple[list[dict[str, Any]], list[ChatEvent]]] = {
    "text": ([message("Hello.")], [Text("Hello.")]),
    "a thought before it": ([reasoning("Hm."), message("Yes.")], [Thought("Hm."), Text("Yes.")]),
    "paragraphs of thought": ([reasoning("One.", "Two.")], [Thought("One.\n\nTwo.")]),
    "a sealed thought": (
        [reasoning("Hm.", sealed="gAAAA"), message("Yes.")],
        [Thought("Hm."), Sealed("", "gAAAA", "rs_p1"), Text("Yes.")],
    ),
    "a signed thought": ([reasoning("Hm.", sealed="signed:EqQB")], [Thought("Hm."), Sealed("EqQB", "", "rs_p1")]),
    "a refusal": ([refusal("I cannot.")], [Refusal("I cannot.")]),
    "calls": (
        [call(), call("g", "{}", "call_2")],
        [
            CallBegun(0, "call_1", "weather"),
            CallPiece(0, '{"city":"Oslo"}'),
            CallBegun(1, "call_2", "g"),
            CallPiece(1, "{}"),
        ],
    ),
    "a search of the provider": ([SEARCH, message("Found.")], [Other({"output_item": SEARCH}), Text("Found.")]),
    "probabilities": ([message("Hi", logprobs=[TOKEN])], [Text("Hi", {"logprobs": {"content": [TOKEN]}})]),
    "sources": ([message("Hi", annotations=[SOURCE])], [Text("Hi"), Other({"annotations": [NESTED]})]),
    "nothing": ([], []),
}


def joined(events: list[ChatEvent]) -> list[ChatEvent]:
    """Neighbouring pieces of one thing as one."""
    found: list[ChatEvent] = []
    for key, group in groupby(events, lambda one: (type(one), one.number if isinstance(one, CallPiece) else 0)):
        run: list[Any] = list(group)
        if key[0] in (Text, Thought, Refusal, CallPiece):
            found.append(run[-1]._replace(text="".join(one.text for one in run)))
        else:
            found += run
    return found


def read(stream: bytes, size: int = 1 << 20, *, streams_calls: bool = True) -> tuple[list[ChatEvent], Answer]:
    reader, splitter = Reader(streams_calls), sse.Splitter()
    events: list[ChatEvent] = []
    for at in range(0, len(stream), size):
        events += reader.feed(splitter.feed(stream[at : at + size]))
    events += reader.finish()
    return joined(events), reader.answer


@pytest.mark.parametrize(("output", "events"), ANSWERS.values(), ids=ANSWERS)
def test_streams_and_whole_answers_say_the_same(output: list[dict[str, Any]], events: list[ChatEvent]) -> None:
    whole = Reader(True)
    assert joined([*whole.whole(json.dumps(resource(output)).encode()), *whole.finish()]) == events
    found, answer = read(b"".join(pieces(*output)))
    assert found == events
    assert answer.finish == whole.answer.finish == ("tool_calls" if answer.calls else "stop")
    assert answer.calls == whole.answer.calls
    for size in (1, 7, 64):
        assert read(b"".join(pieces(*output)), size)[0] == events


def test_calls_wait_for_the_end_where_nobody_asked_for_their_pieces() -> None:
    found, answer = read(b"".join(pieces(call(), call("g", "{}", "call_2"))), streams_calls=False)
    assert found == []
    assert [(one.id, one.name, one.arguments) for one in answer.calls] == [
        ("call_1", "weather", '{"city":"Oslo"}'),
        ("call_2", "g", "{}"),
    ]


def test_items_of_which_no_piece_came_are_told_when_they_are_done() -> None:
    told = Told()
    for at, item in enumerate((reasoning("Hm."), message("Yes."), call())):
        told.add("response.output_item.done", output_index=at, item=item)
    told.add("response.completed", response=resource())
    assert read(b"".join(told.pieces))[0] == [
        Thought("Hm."),
        Text("Yes."),
        CallBegun(0, "call_1", "weather"),
        CallPiece(0, '{"city":"Oslo"}'),
    ]


@pytest.mark.parametrize("kind", ["response.reasoning_text.delta", "response.reasoning.delta"])
def test_thoughts_in_their_own_words_are_thoughts(kind: str) -> None:
    told = Told()
    told.add(kind, item_id="rs_1", output_index=0, content_index=0, delta="Hm.")
    assert read(b"".join(told.pieces))[0] == [Thought("Hm.")]


@pytest.mark.parametrize(("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter")])
def test_an_incomplete_answer_says_why(reason: str, finish: str) -> None:
    stream = pieces(message("Hel"), last="response.incomplete", incomplete_details={"reason": reason})
    assert read(b"".join(stream))[1].finish == finish


def test_what_is_told_beside_the_answer_is_kept() -> None:
    answer = read(b"".join(pieces(message(), service_tier="flex", system_fingerprint="fp_1")))[1]
    assert answer.beside == {"service_tier": "flex", "system_fingerprint": "fp_1"}


def test_a_failure_inside_an_answer_is_an_error() -> None:
    error = {"code": "server_error", "message": "It burnt."}
    with pytest.raises(UpstreamFault, match="It burnt"):
        read(b"".join(pieces(message("Hel"), last="response.failed", error=error)))
    with pytest.raises(UpstreamFault, match="It burnt"):
        read(b'event: error\ndata: {"type":"error","code":"x","message":"It burnt.","param":null}\n\n')
    with pytest.raises(UpstreamFault, match="It burnt"):
        list(Reader().whole(json.dumps(resource(status="failed", error=error)).encode()))


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"output":7}'])
def test_what_is_no_answer_is_garbled(body: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        list(Reader().whole(body))


def test_events_that_are_new_are_passed_over() -> None:
    told = Told()
    told.add("response.new_thing.delta", delta="x")
    told.add("response.output_text.delta", output_index=0, delta="Hi")
    assert read(b"".join(told.pieces))[0] == [Text("Hi")]
