"""Answers in the words of Anthropic's Messages API: what streams say is read, and streams are written by its rules."""

import json
from typing import Any

import pytest

from headgate.core import sse
from headgate.core.chat import (
    Call,
    CallBegun,
    CallPiece,
    ChatEvent,
    Ended,
    Finish,
    Other,
    Refusal,
    Sealed,
    Step,
    Text,
    Thought,
    ToolStarted,
)
from headgate.core.tokens import Tokens
from headgate.dialects.messages_reader import Reader
from headgate.dialects.messages_whole import WholeWriter
from headgate.dialects.messages_writer import StreamWriter
from headgate.dialects.types import Occasion
from tests.conformance.messages_rules import check_stream, check_whole
from tests.harness.events import read_events
from tests.harness.messages import CALL, TEXT, THINKING, event, message, pieces
from tests.requirements import covers

pytestmark = covers("157")
TOKENS = Tokens(127, 5, 100, 2, 20)
SEALED = {"type": "redacted_thinking", "data": "sealed"}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
PAGE = {
    "type": "web_search_result_location",
    "url": "https://a",
    "title": "A",
    "cited_text": "c",
    "encrypted_index": "e",
}
SAID: list[ChatEvent] = [
    Thought("Let me "),
    Thought("see."),
    Sealed("EqQBsignature=="),
    Sealed(sealed="sealed"),
    Text("Hello "),
    Text("there."),
    CallBegun(0, "toolu_01A", "weather"),
    CallPiece(0, '{"city": '),
    CallPiece(0, '"Berlin"}'),
]


def occasion(*, extensions: bool = True) -> Occasion:
    return Occasion("run1", "opus", 1, {}, True, extensions)


def streamed(*events: ChatEvent, finish: Finish = "stop", extensions: bool = True, **beside: Any) -> bytes:
    writer = StreamWriter(occasion(extensions=extensions))
    return b"".join(map(writer.feed, (*events, Ended(finish, "", TOKENS, beside)))) + writer.end()


def whole(*events: ChatEvent, finish: Finish = "stop", **beside: Any) -> Any:
    writer = WholeWriter(occasion())
    for one in (*events, Ended(finish, "", TOKENS, beside)):
        assert writer.feed(one) == b""
    body = writer.end()
    check_whole(body)
    return json.loads(body)


def read(stream: bytes, *, streams_calls: bool = True) -> tuple[list[ChatEvent], Reader]:
    reader = Reader(streams_calls)
    return [*reader.feed(stream), *reader.finish()], reader


def joined(events: list[ChatEvent]) -> list[ChatEvent]:
    """Neighbouring pieces of one kind as one."""
    said: list[Any] = []
    for one in events:
        last = said[-1] if said and type(said[-1]) is type(one) else None
        if last is not None and isinstance(last, Text | Thought | CallPiece):
            said[-1] = last._replace(text=last.text + one.text)  # type: ignore[union-attr]
        else:
            said.append(one)
    return said


def test_a_stream_is_read_block_by_block() -> None:
    events, reader = read(b"".join(pieces(THINKING, SEALED, TEXT, CALL, stop="tool_use")))
    assert joined(events) == joined(SAID)
    answer = reader.answer
    assert (answer.text, answer.thought, answer.finish) == ("Hello there.", "Let me see.", "tool_calls")
    assert answer.calls == (Call("toolu_01A", "weather", '{"city": "Berlin"}'),)


def test_a_whole_message_is_read_alike() -> None:
    reader = Reader(True)
    events = [*reader.whole(message(THINKING, SEALED, TEXT, CALL, stop="tool_use").body), *reader.finish()]
    assert joined(events)[:-1] == joined(SAID)[:-1]
    assert reader.answer.calls == (Call("toolu_01A", "weather", '{"city":"Berlin"}'),)


@pytest.mark.parametrize("given", [{}, {"city": "Rome"}])
def test_a_call_without_pieces_has_the_input_it_began_with(given: dict[str, Any]) -> None:
    begun = event("content_block_start", index=0, content_block={**CALL, "input": given})
    events, reader = read(begun + event("content_block_stop", index=0))
    arguments = json.dumps(given, separators=(",", ":"))
    assert events == [CallBegun(0, "toolu_01A", "weather"), CallPiece(0, arguments)]
    assert reader.answer.calls == (Call("toolu_01A", "weather", arguments),)


def test_however_a_stream_is_cut_it_says_the_same() -> None:
    stream = b"".join(pieces(THINKING, {**TEXT, "text": "Grüße 🙂"}, CALL, stop="tool_use"))
    expected = joined(read(stream)[0])
    for cut in range(len(stream)):
        splitter, reader = sse.Splitter(), Reader(True)
        events = [said for part in (stream[:cut], stream[cut:]) for said in reader.feed(splitter.feed(part))]
        assert joined([*events, *reader.finish()]) == expected, cut


def test_calls_are_whole_at_the_end_where_nobody_wants_their_pieces() -> None:
    events, reader = read(b"".join(pieces({**CALL, "input": {}}, stop="tool_use")), streams_calls=False)
    assert events == []
    assert reader.answer.calls == (Call("toolu_01A", "weather", "{}"),)


@pytest.mark.parametrize(
    ("stop", "finish", "beside"),
    [
        ("end_turn", "stop", {}),
        ("max_tokens", "length", {}),
        ("refusal", "content_filter", {}),
        ("pause_turn", "stop", {"stop_reason": "pause_turn"}),
        ("model_context_window_exceeded", "length", {"stop_reason": "model_context_window_exceeded"}),
        ("stop_sequence", "stop", {"stop_reason": "stop_sequence", "stop_sequence": "END"}),
    ],
)
def test_why_it_stopped_is_kept_both_ways(stop: str, finish: Finish, beside: dict[str, Any]) -> None:
    delta = {"stop_sequence": "END"} if stop == "stop_sequence" else {}
    _, reader = read(b"".join(pieces(stop=stop, **delta)))
    assert reader.answer.finish == finish
    assert {name: value for name, value in reader.answer.beside.items() if name != "service_tier"} == beside
    written = streamed(Text("Hi"), finish=finish, **reader.answer.beside)
    assert check_stream(written).finish == finish
    last = read_events(written)[-2].json["delta"]
    assert (last["stop_reason"], last["stop_sequence"]) == (stop, delta.get("stop_sequence"))
    assert whole(Text("Hi"), finish=finish, **reader.answer.beside)["stop_reason"] == stop


def test_a_stream_keeps_the_rules_and_tells_its_usage() -> None:
    stream = streamed(*SAID)
    said = check_stream(stream)
    assert (said.text, said.thought, said.finish) == ("Hello there.", "Let me see.", "tool_calls")
    assert said.tokens == TOKENS
    assert said.seals == [("EqQBsignature==", ""), ("", "sealed")]
    assert joined(read(stream)[0]) == joined(SAID)
    assert b"[DONE]" not in stream


def test_a_whole_message_holds_the_same() -> None:
    told = whole(*SAID)
    assert told["content"] == [THINKING, SEALED, TEXT, CALL]
    assert (told["id"], told["model"], told["stop_reason"]) == ("msg_run1", "opus", "tool_use")
    assert told["usage"] == {
        "input_tokens": 7,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 100,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 2},
    }


def test_pieces_of_calls_that_come_mixed_are_put_into_one_block_after_another() -> None:
    stream = streamed(
        CallBegun(0, "a", "f"),
        CallPiece(0, '{"x":'),
        CallBegun(1, "b", "g"),
        CallPiece(1, '{"y":'),
        CallBegun(2, "c", "h"),
        CallPiece(0, "1}"),
        CallPiece(2, "{}"),
        CallPiece(1, "2}"),
        Text("Wait."),
    )
    said = check_stream(stream)
    assert said.calls == [("a", "f", {"x": 1}), ("b", "g", {"y": 2}), ("c", "h", {})]
    assert said.text == "Wait."


def test_thoughts_that_follow_each_other_have_blocks_of_their_own() -> None:
    thoughts: list[ChatEvent] = [Thought("a"), Sealed("s1"), Thought("b"), Sealed("s2"), Sealed("s3"), Text("c")]
    assert check_stream(streamed(*thoughts)).seals == [("s1", ""), ("s2", ""), ("s3", "")]
    assert joined(read(streamed(*thoughts))[0]) == thoughts
    content = whole(*thoughts)["content"]
    assert [(block.get("thinking"), block.get("signature")) for block in content] == [
        ("a", "s1"),
        ("b", "s2"),
        ("", "s3"),
        (None, None),
    ]


def test_a_call_is_told_as_it_is_made_once_the_one_before_is_complete() -> None:
    writer = StreamWriter(occasion())
    writer.feed(CallBegun(0, "a", "f"))
    writer.feed(CallPiece(0, '{"x":"}"'))
    assert writer.feed(CallBegun(1, "b", "g")) == b""
    assert b'"index":0}' in writer.feed(CallPiece(0, "}"))
    assert b'"index":1' in writer.feed(CallPiece(1, '{"y"'))


def test_calls_without_arguments_or_with_wrong_ones_have_an_object_for_input() -> None:
    calls: list[ChatEvent] = [Call("a", "f", ""), Call("b.c", "g", "[1]"), Call("", "h", "nonsense")]
    said = check_stream(streamed(*calls))
    inputs: list[Any] = [{}, {"arguments": [1]}, {"arguments": "nonsense"}]
    assert [call[2] for call in said.calls] == inputs
    told = whole(*calls)["content"]
    assert [block["input"] for block in told] == inputs
    assert [block["id"] for block in told] == [call[0] for call in said.calls]
    assert told[0]["id"] == "a"


def test_an_empty_answer_is_a_message_without_content() -> None:
    assert check_stream(streamed()).text == ""
    assert whole()["content"] == []


def test_words_of_refusal_are_text_and_the_reason_to_stop() -> None:
    stream = streamed(Refusal("I "), Refusal("won't."))
    assert check_stream(stream).text == "I won't."
    assert read_events(stream)[-2].json["delta"]["stop_reason"] == "refusal"
    assert whole(Refusal("No."))["stop_reason"] == "refusal"


def test_searches_and_sources_of_the_provider_are_carried() -> None:
    cited = {**TEXT, "citations": [PAGE]}
    events, _ = read(b"".join(pieces(SEARCH, FOUND, cited)))
    page = {"url": "https://a", "title": "A", "start_index": 0, "end_index": 12}
    annotated = {"citations": [PAGE], "annotations": [{"type": "url_citation", "url_citation": page}]}
    assert joined(events) == [
        Other({"content_blocks": [SEARCH]}),
        Other({"content_blocks": [FOUND]}),
        Text("Hello there."),
        Other(annotated),
    ]
    assert whole(*events)["content"] == [SEARCH, FOUND, cited]
    assert [one.json for one in read_events(streamed(*events)) if "citations_delta" in (one.data or "")] == [
        {"type": "content_block_delta", "index": 2, "delta": {"type": "citations_delta", "citation": PAGE}}
    ]


def test_sources_that_openai_tells_are_citations() -> None:
    page = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A"}}
    (cited,) = whole(Text("See."), Other({"annotations": [page]}))["content"]
    assert cited["citations"][0] | {"url": "https://a", "title": "A"} == cited["citations"][0]


def test_deltas_and_events_of_tomorrow_do_no_harm() -> None:
    stream = b"".join(pieces())
    strange = event("content_block_delta", index=0, delta={"type": "mood_delta", "mood": "fine"})
    events, _ = read(stream.replace(b"event: content_block_stop", strange + b"event: content_block_stop"))
    assert Other({"content_deltas": [{"type": "mood_delta", "mood": "fine"}]}) in events
    assert joined(read(event("weather", sun=True) + stream)[0]) == [Text("Hello there.")]


@pytest.mark.parametrize("extensions", [True, False])
def test_what_the_gateway_does_is_told_in_pings_and_thoughts(extensions: bool) -> None:
    step = Step("planning", 1, {"thought": "First look.", "tools": []})
    stream = streamed(ToolStarted(Call("a", "clock", "{}"), 1), step, Text("Hi"), extensions=extensions)
    said = check_stream(stream)
    assert said.text == "Hi"
    told = [one.json for one in read_events(stream) if one.json["type"] == "ping"]
    assert [one.keys() - {"type"} for one in told] == ([{"proxy_status"}, {"reasoning_event"}] if extensions else [])
    assert said.thought == ("First look.\n" if extensions else "")
