"""Ollama's words, both ways: what a request means, and what lines an answer becomes."""

import json
from typing import Any

import pytest

from headgate.core.chat import (
    Call,
    CallBegun,
    CallPiece,
    Ended,
    Other,
    Refusal,
    Sealed,
    Step,
    Text,
    Thought,
    ToolStarted,
)
from headgate.core.chat_request import Format, Function, ImagePart, Message, TextPart, Thinking, ToolCall, ToolResult
from headgate.core.errors import InvalidField
from headgate.core.tokens import Tokens
from headgate.dialects import chat_request
from headgate.dialects.ollama_request import parse_chat, parse_generate
from headgate.dialects.table import FACADES
from headgate.dialects.types import Occasion
from tests.requirements import covers

pytestmark = covers("ollama")
CALL = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
HI = {"role": "user", "content": "Hi"}
PIXEL = "iVBORw0KGgo="


def chat(*messages: dict[str, Any], **more: Any) -> Any:
    return parse_chat({"model": "small", "messages": list(messages) or [HI], **more})


def sent(*messages: dict[str, Any], **more: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """As chat completions, and what is lost."""
    rendered = chat_request.render(chat(*messages, **more))
    return {name: value for name, value in rendered.fields.items() if name not in ("model", "messages")}, rendered.lost


def lines(*events: Any, dialect: str = "ollama", extensions: bool = False) -> list[dict[str, Any]]:
    """What a stream says, without the times."""
    writer = FACADES[dialect].streamed(Occasion("run", "small", 1, {}, usage=True, extensions=extensions))
    written = b"".join(map(writer.feed, events)) + writer.end()
    assert written.endswith(b"\n")
    return [untimed(json.loads(line)) for line in written.splitlines()]


def whole(*events: Any, dialect: str = "ollama") -> dict[str, Any]:
    writer = FACADES[dialect].whole(Occasion("run", "small", 1, {}, usage=True, extensions=True))
    assert b"".join(map(writer.feed, events)) == b""
    return untimed(json.loads(writer.end()))


def untimed(line: dict[str, Any]) -> dict[str, Any]:
    assert line.pop("created_at").endswith("Z")
    assert line.pop("model") == "small"
    for name in [name for name in line if name.endswith("_duration")]:
        assert line.pop(name) >= 0
    return line


def test_messages_of_all_roles_are_read_with_pictures_thoughts_and_calls() -> None:
    found = chat(
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What is it?", "images": [PIXEL, "/9j/4AAQ"]},
        {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [CALL]},
        {"role": "tool", "content": "5 degrees", "tool_name": "weather"},
    )
    assert found.items == (
        Message("system", (TextPart("Be kind."),)),
        Message(
            "user",
            (
                TextPart("What is it?"),
                ImagePart(f"data:image/png;base64,{PIXEL}"),
                ImagePart("data:image/jpeg;base64,/9j/4AAQ"),
            ),
        ),
        Thinking("Hm."),
        ToolCall("call_0", "weather", '{"city":"Oslo"}'),
        ToolResult("call_0", (TextPart("5 degrees"),)),
    )


def test_results_find_their_calls_by_id_by_name_or_in_order() -> None:
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("a", "b", "a")]
    asked = {"role": "assistant", "content": "", "tool_calls": [*calls, {"id": "own", **calls[0]}]}
    results = [
        {"role": "tool", "content": "1", "tool_call_id": "own"},
        {"role": "tool", "content": "2", "tool_name": "b"},
        {"role": "tool", "content": "3"},
        {"role": "tool", "content": "4", "name": "a"},
    ]
    found = chat(HI, asked, *results).items
    assert [one.call for one in found if isinstance(one, ToolResult)] == ["own", "call_1", "call_0", "call_2"]


def test_ids_do_not_change_as_the_conversation_grows() -> None:
    turn = [HI, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "x"}]
    assert chat(*turn, *turn).items[: len(turn)] == chat(*turn).items


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([HI, {"role": "user", "images": "x"}], "messages[1].images"),
        ([{"role": "tool", "content": "x"}], "messages[0]"),
        ([{"role": "tool", "content": "x", "tool_name": "gone"}], "messages[0]"),
        ([{"role": "assistant", "tool_calls": [{}]}], "messages[0].tool_calls[0].function"),
        ([{"role": "assistant", "tool_calls": [{"function": {}}]}], "messages[0].tool_calls[0].function.name"),
        (["Hi"], "messages[0]"),
    ],
)
def test_what_cannot_be_read_is_named(messages: Any, param: str) -> None:
    with pytest.raises(InvalidField) as error:
        chat(*messages)
    assert error.value.param == param


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("think", "loud", "think"),
        ("format", 5, "format"),
        ("options", [], "options"),
        ("options", {"stop": 5}, "options.stop"),
        ("options", {"num_predict": "many"}, "options.num_predict"),
        ("tools", [{"function": {}}], "tools[0].function.name"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(field: str, value: Any, param: str) -> None:
    with pytest.raises(InvalidField) as error:
        chat(**{field: value})
    assert error.value.param == param


def test_options_that_others_have_are_carried_and_the_rest_is_told() -> None:
    told = {"num_predict": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": "end", "seed": 7}
    more = {"presence_penalty": 1, "num_ctx": 8192, "mirostat": 1, "min_p": None}
    fields, lost = sent(options={**told, **more}, keep_alive="5m", stream=False)
    carried = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": ["end"], "seed": 7}
    assert fields == {**carried, "presence_penalty": 1}
    assert set(lost) == {"options.num_ctx", "options.mirostat", "keep_alive"}
    assert sent(options={"num_predict": -1})[0] == {"stream": True}


@pytest.mark.parametrize(
    ("think", "effort"), [(True, "medium"), (False, "none"), ("high", "high"), ("low", "low"), (None, None), ("", None)]
)
def test_thinking_is_an_effort(think: Any, effort: str | None) -> None:
    assert sent(think=think)[0].get("reasoning_effort") == effort


def test_formats_and_tools_are_carried() -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    assert chat(format="json").format == Format()
    assert chat(format=schema).format == Format(schema, "answer")
    assert chat(format="").format is None
    tool = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": schema}}
    assert chat(tools=[tool]).tools == (Function("add", "Adds.", schema),)


def test_a_prompt_is_a_conversation_of_its_own() -> None:
    found = parse_generate({"model": "small", "prompt": "Hi", "system": "Be kind.", "images": [PIXEL], "context": [1]})
    assert found.items == (
        Message("system", (TextPart("Be kind."),)),
        Message("user", (TextPart("Hi"), ImagePart(f"data:image/png;base64,{PIXEL}"))),
    )
    assert found.stream
    assert chat_request.render(found).lost == ("context",)


@pytest.mark.parametrize("field", ["raw", "suffix"])
def test_prompts_that_are_no_chat_are_refused_with_what_to_do(field: str) -> None:
    with pytest.raises(InvalidField, match="/v1/completions") as error:
        parse_generate({"model": "small", "prompt": "Hi", field: True})
    assert error.value.param == field


def test_a_stream_is_lines_and_ends_with_what_it_took() -> None:
    events = [Thought("Hm."), Sealed("sig"), Text("Hel"), Text("lo"), Ended("stop", "", Tokens(7, 3))]
    assert lines(*events) == [
        {"message": {"role": "assistant", "content": "", "thinking": "Hm."}, "done": False},
        {"message": {"role": "assistant", "content": "Hel"}, "done": False},
        {"message": {"role": "assistant", "content": "lo"}, "done": False},
        {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 7,
            "eval_count": 3,
        },
    ]


def test_generate_has_its_text_at_the_top() -> None:
    first, last = lines(Text("Hi"), Ended("length", "", None), dialect="ollama-generate")
    assert first == {"response": "Hi", "done": False}
    assert last == {"response": "", "done": True, "done_reason": "length"}
    answer = whole(Thought("Hm."), Text("Hi"), Ended("stop", "", None), dialect="ollama-generate")
    assert answer == {"response": "Hi", "thinking": "Hm.", "done": True, "done_reason": "stop"}


def test_calls_are_told_whole_with_objects_however_they_came() -> None:
    pieces = [
        CallBegun(0, "call_a", "weather"),
        CallPiece(0, '{"city"'),
        CallBegun(1, "call_b", "time"),
        CallPiece(0, ':"Oslo"}'),
        Ended("tool_calls", "", None),
    ]
    wanted = [
        {"id": "call_a", "function": {"index": 0, "name": "weather", "arguments": {"city": "Oslo"}}},
        {"id": "call_b", "function": {"index": 1, "name": "time", "arguments": {}}},
    ]
    told, last = lines(*pieces)
    assert told["message"]["tool_calls"] == wanted
    assert last["done_reason"] == "stop"
    assert whole(*pieces)["message"]["tool_calls"] == wanted
    assert whole(Call("c", "f", "[1"), Ended("tool_calls", "", None))["message"]["tool_calls"][0]["function"] == {
        "index": 0,
        "name": "f",
        "arguments": {"arguments": "[1"},
    }


def test_refusals_are_text_and_fields_that_nobody_knows_are_kept_without_harm() -> None:
    data = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    fields = {"annotations": [1], "content": "x", "images": [data, {"image_url": {"url": "https://a/b.png"}}]}
    refused, other, _ = lines(Refusal("No."), Other(fields), Ended("content_filter", "", None, {"service_tier": "x"}))
    assert refused["message"]["content"] == "No."
    assert other["message"] == {"role": "assistant", "content": "", "annotations": [1], "images": [PIXEL]}
    answer = whole(Refusal("No."), Ended("content_filter", "", None, {"service_tier": "x", "done": False}))
    assert (answer["service_tier"], answer["done"], answer["done_reason"]) == ("x", True, "content_filter")


def test_log_probabilities_are_a_plain_list() -> None:
    one = {"token": "Hi", "logprob": -0.5, "top_logprobs": []}
    said = Text("Hi", {"logprobs": {"content": [one], "refusal": None}})
    assert lines(said)[0]["logprobs"] == [one]
    assert whole(said, Ended("stop", "", None))["logprobs"] == [one]


def test_what_the_gateway_does_is_told_only_to_those_who_may_hear_it() -> None:
    events = [ToolStarted(Call("c", "clock", "{}"), 1), Step("planning", 1), Text("x")]
    assert len(lines(*events)) == 1
    tool, step, _ = lines(*events, extensions=True)
    assert tool["proxy_status"]["tool_name"] == "clock"
    assert step["reasoning_event"]["type"] == "planning"
    assert tool["message"] == step["message"] == {"role": "assistant", "content": ""}


def test_errors_are_a_text_and_a_line() -> None:
    row = FACADES["ollama"]
    error = {"message": "It broke.", "code": "upstream_broke", "param": None, "type": "x", "request_id": "req_1"}
    told = {"error": "It broke.", "code": "upstream_broke", "type": "x", "request_id": "req_1"}
    assert row.refused(502, error) == told
    assert row.broken(502, error).endswith(b"}\n")
    assert json.loads(row.broken(502, error)) == told


@pytest.mark.parametrize("dialect", FACADES)
def test_pings_are_lines_that_add_nothing(dialect: str) -> None:
    ping = json.loads(FACADES[dialect].ping)
    assert FACADES[dialect].ping.endswith(b"\n")
    assert (ping["done"], ping.get("response", ""), ping.get("message", {}).get("content", "")) == (False, "", "")
