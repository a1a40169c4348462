"""Answers in chat completions: what is told of calls, thoughts and ends, to clients of today and of before there were
tools. What becomes of whole streams is shown in tests/conformance.
"""

from typing import Any

import orjson
import pytest

from headgate.core.chat import Call, CallBegun, CallPiece, ChatEvent, Ended, Other, Sealed, Text, Thought
from headgate.core.errors import UpstreamBroke, UpstreamGarbled
from headgate.core.tokens import Tokens
from headgate.dialects.chat import StreamWriter, WholeWriter
from headgate.dialects.chat_reader import Reader
from headgate.dialects.types import Occasion
from tests.requirements import covers

pytestmark = covers("dialects")
TOKENS = Tokens(20, 8, 4, 2, 3)
CALLED: list[ChatEvent] = [
    CallBegun(0, "call_a", "get_weather"),
    CallPiece(0, '{"city":'),
    CallPiece(0, '"Paris"}'),
    CallBegun(1, "call_b", "get_time"),
    Ended("tool_calls", "", TOKENS),
]
FUNCTIONS = {"functions": [{"name": "get_weather"}]}


def chunk(delta: dict[str, Any], finish: str | None = None, **choice: Any) -> bytes:
    told = {"id": "chatcmpl-9", "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **choice}]}
    return b"data: %b\n\n" % orjson.dumps(told)


def piece(index: int | None, id_: str = "", name: str = "", arguments: str = "") -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    call: dict[str, Any] = {"function": function} if index is None else {"index": index, "function": function}
    return {"tool_calls": [{**call, "id": id_} if id_ else call]}


def read(*chunks: bytes, streams_calls: bool = True) -> tuple[list[ChatEvent], Reader]:
    reader = Reader(streams_calls)
    return [*(event for one in chunks for event in reader.feed(one)), *reader.finish()], reader


def chunks_of(events: list[ChatEvent], **fields: Any) -> list[dict[str, Any]]:
    writer = StreamWriter(Occasion("r1", "small", 1750000000, fields, usage=True, extensions=False))
    stream = b"".join(map(writer.feed, events)) + writer.end()
    return [orjson.loads(event[6:]) for event in stream.split(b"\n\n") if event not in (b"", b"data: [DONE]")]


def whole_of(events: list[ChatEvent], **fields: Any) -> dict[str, Any]:
    writer = WholeWriter(Occasion("r1", "small", 1750000000, fields, usage=True, extensions=False))
    for event in events:
        writer.feed(event)
    return dict(orjson.loads(writer.end()))


def test_calls_are_told_while_they_are_made_only_to_those_who_ask() -> None:
    stream = [chunk(piece(0, "call_a", "f", '{"a"')), chunk(piece(0, arguments=":1}")), chunk({}, "tool_calls")]
    events, reader = read(*stream)
    assert events == [CallBegun(0, "call_a", "f"), CallPiece(0, '{"a"'), CallPiece(0, ":1}")]
    assert reader.answer.calls == (Call("call_a", "f", '{"a":1}'),)
    events, reader = read(*stream, streams_calls=False)
    assert events == []
    assert reader.answer.calls == (Call("call_a", "f", '{"a":1}'),)


@pytest.mark.parametrize("streams_calls", [False, True])
def test_a_call_without_an_id_gets_one_of_its_own(streams_calls: bool) -> None:
    stream = [chunk(piece(0, "", "f", "{}")), chunk(piece(1, "", "f", "{}")), chunk({}, "stop")]
    ids = [call.id for call in read(*stream, streams_calls=streams_calls)[1].answer.calls]
    assert ids == ["call_chatcmpl-9_0", "call_chatcmpl-9_1"]


def test_calls_that_share_an_id_are_told_apart() -> None:
    _, reader = read(chunk(piece(0, "x", "f", "{}")), chunk(piece(1, "x", "f", "{}")))
    assert [call.id for call in reader.answer.calls] == ["x", "x_2"]


def test_pieces_of_one_call_that_repeat_its_head_stay_one_call() -> None:
    _, reader = read(chunk(piece(0, "x", "f", '{"a"')), chunk(piece(0, "x", "f", ":1}")))
    assert reader.answer.calls == (Call("x", "f", '{"a":1}'),)


def test_a_call_that_never_gets_a_name_cannot_be_passed_on() -> None:
    with pytest.raises(UpstreamGarbled):
        read(chunk(piece(0, "x", "", "{}")))


def test_an_answer_cut_within_a_call_is_told_as_cut() -> None:
    _, reader = read(chunk(piece(0, "x", "f", '{"a"')), chunk({}, "length"))
    assert reader.answer.finish == "length"


def test_a_call_of_a_custom_tool_passes_as_it_is() -> None:
    custom = {"index": 0, "id": "x", "type": "custom", "custom": {"name": "patch", "input": "***"}}
    events, reader = read(chunk({"tool_calls": [custom]}), chunk({}, "tool_calls"))
    assert events == [Other({"tool_calls": [custom]})]
    assert reader.answer.finish == "tool_calls"


def test_only_the_first_of_several_answers_is_read() -> None:
    other = b'data: {"choices":[{"index":1,"delta":{"content":"B"}}]}\n\n'
    assert read(chunk({"content": "A"}), other)[0] == [Text("A")]


def test_an_error_inside_a_stream_breaks_it() -> None:
    with pytest.raises(UpstreamBroke, match="Overloaded"):
        read(b'data: {"error": {"message": "Overloaded"}}\n\n')


def test_clients_of_before_there_were_tools_are_told_of_one_function_call() -> None:
    told = chunks_of(CALLED, **FUNCTIONS)
    deltas = [one["choices"][0]["delta"] for one in told if one["choices"]]
    assert [delta["function_call"] for delta in deltas if "function_call" in delta] == [
        {"name": "get_weather", "arguments": ""},
        {"arguments": '{"city":'},
        {"arguments": '"Paris"}'},
    ]
    assert told[-2]["choices"][0]["finish_reason"] == "function_call"
    choice = whole_of(CALLED, **FUNCTIONS)["choices"][0]
    assert choice["message"]["function_call"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "function_call"


def test_clients_that_give_tools_are_told_of_tool_calls() -> None:
    message = whole_of(CALLED, tools=[{}], **FUNCTIONS)["choices"][0]["message"]
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["get_weather", "get_time"]


def test_a_signed_thought_is_told_whole_when_its_seal_comes() -> None:
    told = chunks_of(
        [Thought("a"), Thought("b"), Sealed("s"), Thought("c"), Sealed(sealed="d"), Ended("stop", "", None)]
    )
    blocks = [block for one in told for block in one["choices"][0]["delta"].get("thinking_blocks", ())]
    assert blocks == [
        {"index": 0, "type": "thinking", "thinking": "ab", "signature": "s"},
        {"index": 1, "type": "thinking", "thinking": "c", "data": "d"},
    ]


def test_what_stopped_the_model_and_what_was_written_to_a_cache_are_told() -> None:
    ended = Ended("stop", "", TOKENS, {"stop_sequence": "END", "id": "not ours", "service_tier": "flex"})
    *_, end, usage = chunks_of([Text("x"), ended])
    assert (end["choices"][0]["stop_reason"], end["id"], end["service_tier"]) == ("END", "chatcmpl-r1", "flex")
    assert usage["usage"]["prompt_tokens_details"] == {"cached_tokens": 4, "cache_write_tokens": 3}


def test_fields_of_a_provider_never_stand_in_the_place_of_our_own() -> None:
    told = chunks_of([Other({"role": "user", "content": {"x": 1}, "mood": "calm"}), Ended("stop", "", None)])
    assert told[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "mood": "calm"}


def test_fields_that_come_in_pieces_are_put_together() -> None:
    events: list[ChatEvent] = [
        Text("a", {"logprobs": {"content": [1]}}),
        Text("b", {"logprobs": {"content": [2]}}),
        Other({"annotations": [{"n": 1}]}),
        Other({"annotations": [{"n": 2}]}),
        Ended("stop", "", None),
    ]
    choice = whole_of(events)["choices"][0]
    assert choice["logprobs"] == {"content": [1, 2]}
    assert choice["message"]["annotations"] == [{"n": 1}, {"n": 2}]
