"""Chat completions requests as values and back: what a request says is kept, and what another dialect loses is told."""

from dataclasses import replace
from typing import Any

import pytest

from headgate.core.chat_request import (
    AudioPart,
    ChatRequest,
    Choice,
    FilePart,
    ForeignItem,
    ForeignPart,
    ForeignTool,
    Format,
    Function,
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.core.errors import InvalidField
from headgate.dialects.chat_request import parse, render
from tests.requirements import covers

pytestmark = covers("dialects")
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def said(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages), **more}


def items(*messages: dict[str, Any]) -> tuple[Any, ...]:
    return parse(said(*messages)).items


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def call(id_: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


PARTS = [
    ("hello", TextPart("hello")),
    ({"type": "text", "text": "a", "cache_control": {"type": "e"}}, TextPart("a", {"cache_control": {"type": "e"}})),
    ({"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}, ImagePart(PICTURE, "low")),
    ({"type": "image_url", "image_url": PICTURE}, ImagePart(PICTURE)),
    ({"type": "image_url", "image_url": {"url": PICTURE, "x": 1}}, ImagePart(PICTURE, "", {"image_url": {"x": 1}})),
    ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, AudioPart("AA", "wav")),
    ({"type": "file", "file": {"file_id": "file-1"}}, FilePart("", "file-1")),
    (
        {"type": "file", "file": {"filename": "a.txt", "file_data": "AAAA"}},
        FilePart("data:text/plain;base64,AAAA", "", "a.txt"),
    ),
    ({"type": "video_url", "video_url": {"url": "u"}}, ForeignPart({"type": "video_url", "video_url": {"url": "u"}})),
]


@pytest.mark.parametrize(("sent", "read"), PARTS)
def test_every_kind_of_part_is_read_and_written_back(sent: Any, read: Any) -> None:
    (message,) = items(user([sent, "x"]))
    assert message == Message("user", (read, TextPart("x")))
    request = parse(said(user([sent, "x"])))
    assert parse(render(request).fields) == request


def test_an_assistant_message_is_a_run_of_thoughts_words_and_calls() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}]
    message = {"role": "assistant", "content": "Let me see", "reasoning_content": "hm", "thinking_blocks": blocks}
    assert items({**message, "tool_calls": [call("c1", "f"), call("c2", "g")]}) == (
        Thinking("hm", "s"),
        Thinking(sealed="d"),
        Message("assistant", (TextPart("Let me see"),)),
        ToolCall("c1", "f", "{}"),
        ToolCall("c2", "g", "{}"),
    )


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_without_a_signature_is_a_thought(name: str) -> None:
    assert items({"role": "assistant", "content": "a", name: "hm"})[0] == Thinking("hm")


def test_a_refusal_is_a_part_of_what_was_said() -> None:
    refused = {"role": "assistant", "content": None, "refusal": "No."}
    assert items(refused) == (Message("assistant", (RefusalPart("No."),)),)
    assert render(parse(said(refused))).fields["messages"] == [refused]


def test_members_of_calls_that_nobody_knows_are_kept() -> None:
    signed = {**call("c1", "f"), "extra_content": {"google": {"thought_signature": "s"}}}
    request = parse(said({"role": "assistant", "content": None, "tool_calls": [signed]}))
    assert request.items == (ToolCall("c1", "f", "{}", {"extra_content": {"google": {"thought_signature": "s"}}}),)
    assert render(request).fields["messages"][0]["tool_calls"] == [signed]


def test_arguments_as_an_object_become_json() -> None:
    odd = {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}
    assert items({"role": "assistant", "tool_calls": [odd]}) == (ToolCall("c", "f", '{"a":1}'),)


def test_functions_of_old_become_tools_and_their_results_find_their_calls() -> None:
    request = parse(
        said(
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "3"},
            functions=[{"name": "f", "parameters": {"type": "object"}}],
            function_call={"name": "f"},
        )
    )
    assert request.items == (ToolCall("call_0_0", "f", "{}"), ToolResult("call_0_0", (TextPart("3"),)))
    assert request.tools == (Function("f", schema={"type": "object"}),)
    assert request.choice == Choice("required", "f")
    assert parse(render(request).fields) == request


def test_custom_calls_and_their_results_are_kept_and_told_as_lost_elsewhere() -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "g", "input": "x"}}
    result = {"role": "tool", "tool_call_id": "c1", "content": "done"}
    request = parse(said({"role": "assistant", "content": None, "tool_calls": [custom]}, result))
    assert request.items == (ForeignItem(custom), ForeignItem(result))
    assert render(request).fields["messages"][1] == result
    assert render(replace(request, dialect="responses")).lost == ("input[].custom", "input[].tool")


TOOLS = [
    (
        {"type": "function", "function": {"name": "f", "description": "d", "strict": True}},
        Function("f", "d", None, True),
    ),
    ({"function": {"name": "f", "parameters": {}}}, Function("f", schema={})),
    ({"name": "f", "parameters": {}}, Function("f", schema={})),
    ({"type": "web_search"}, ForeignTool({"type": "web_search"})),
]


@pytest.mark.parametrize(("sent", "read"), TOOLS)
def test_tools_with_and_without_a_type(sent: Any, read: Any) -> None:
    request = parse(said(user("x"), tools=[sent]))
    assert request.tools == (read,)
    assert parse(render(request).fields) == request


CHOICES = [
    ("auto", Choice()),
    ("any", Choice("required")),
    ({"type": "function", "function": {"name": "f"}}, Choice("required", "f")),
    (
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
        Choice("auto", among=("f",)),
    ),
    (
        {"type": "custom", "custom": {"name": "g"}},
        Choice("required", beside={"type": "custom", "custom": {"name": "g"}}),
    ),
]


@pytest.mark.parametrize(("sent", "read"), CHOICES)
def test_every_choice_of_tools(sent: Any, read: Choice) -> None:
    request = parse(said(user("x"), tool_choice=sent))
    assert request.choice == read
    assert parse(render(request).fields) == request


def test_only_some_tools_allowed_holds_for_servers_that_do_not_know_it() -> None:
    tools = (Function("f"), Function("g"))
    rendered = render(ChatRequest("responses", "m", (), tools=tools, choice=Choice("required", among=("g",))))
    assert [tool["function"]["name"] for tool in rendered.fields["tools"]] == ["g"]
    assert rendered.fields["tool_choice"] == "required"
    assert rendered.lost == ()


def test_a_tool_that_is_lost_can_not_be_demanded() -> None:
    request = ChatRequest("responses", "m", (), tools=(ForeignTool({"type": "x"}),), choice=Choice("required"))
    assert render(request).fields == {"model": "m", "messages": []}
    assert render(request).lost == ("tools[0]", "tool_choice")


def test_pictures_of_tools_are_shown_by_the_user_behind_all_results() -> None:
    request = ChatRequest(
        "messages",
        "m",
        (
            ToolCall("a", "f", "{}"),
            ToolCall("b", "f", "{}"),
            ToolResult("a", (TextPart("one"), ImagePart(PICTURE)), failed=True),
            ToolResult("b", (ImagePart(PICTURE),)),
            Message("user", (TextPart("and?"),)),
        ),
    )
    messages = render(request).fields["messages"]
    assert [message["role"] for message in messages] == ["assistant", "tool", "tool", "user", "user"]
    assert [message["content"] for message in messages[1:3]] == ["one", "The tool gave back what is shown below."]
    assert [part["type"] for part in messages[3]["content"]] == ["text", "image_url", "image_url"]
    assert render(request).lost == ("messages[].is_error",)


def test_what_is_said_behind_a_call_stands_in_one_message_with_it() -> None:
    """The results of calls must follow the message that made them at once."""
    turn = (ToolCall("a", "f", "{}"), Message("assistant", (TextPart("now b"),)), ToolCall("b", "f", "{}"))
    request = ChatRequest("messages", "m", (*turn, ToolResult("a", ()), ToolResult("b", ())))
    first, *results = render(request).fields["messages"]
    assert (first["content"], [one["id"] for one in first["tool_calls"]]) == ("now b", ["a", "b"])
    assert [result["tool_call_id"] for result in results] == ["a", "b"]


FORMATS = [
    ({"type": "text"}, None),
    ({"type": "json_object"}, Format()),
    (
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}},
        Format({"type": "object"}, "n", "", True),
    ),
]


@pytest.mark.parametrize(("sent", "read"), FORMATS)
def test_forms_of_the_answer(sent: Any, read: Format | None) -> None:
    request = parse(said(response_format=sent))
    assert request.format == read
    assert parse(render(request).fields) == request


def test_a_form_that_nobody_else_knows_is_kept() -> None:
    grammar = {"type": "grammar", "grammar": "root ::= x"}
    request = parse(said(response_format=grammar))
    assert render(request).fields["response_format"] == grammar
    assert render(replace(request, dialect="responses")).lost == ("response_format",)


def test_bounds_effort_and_the_rest() -> None:
    request = parse(
        said(
            max_completion_tokens=9,
            stop="x",
            reasoning_effort="xhigh",
            thinking={"type": "enabled", "budget_tokens": 2000},
            temperature=0,
            seed=1,
            user="u",
            top_k=None,
        )
    )
    assert (request.max_tokens, request.stop, request.effort, request.thinks) == (9, ("x",), "xhigh", 2000)
    assert (request.temperature, request.user, request.top_k, request.beside) == (0, "u", None, {"seed": 1})
    assert render(request).fields["max_tokens"] == 9
    assert parse(render(request).fields) == request


def test_two_bounds_that_differ_are_both_kept() -> None:
    request = parse(said(max_completion_tokens=9, max_tokens=7))
    assert request.max_tokens == 9
    fields = render(request).fields
    assert (fields["max_completion_tokens"], fields["max_tokens"]) == (9, 7)


def test_fields_of_another_dialect_are_carried_by_name_or_told() -> None:
    beside = {"metadata": {"a": "b"}, "top_logprobs": 2, "truncation": "auto", "service_tier": "standard_only", "x": []}
    rendered = render(ChatRequest("messages", "m", (), thinks=9000, beside=beside))
    assert rendered.fields == {
        "model": "m",
        "messages": [],
        "reasoning_effort": "high",
        "metadata": {"a": "b"},
        "top_logprobs": 2,
        "logprobs": True,
        "service_tier": "default",
    }
    assert rendered.lost == ("truncation",)


WRONG = [
    ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"role": 1}]}, "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [user([{"type": "image_url", "image_url": {}}])]}, "messages[0].content[0].image_url.url"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        "messages[0].tool_calls[0].function.name",
    ),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"tool_choice": "sometimes"}, "tool_choice"),
    ({"stop": [1]}, "stop[0]"),
    ({"temperature": "hot"}, "temperature"),
]


@pytest.mark.parametrize(("fields", "path"), WRONG)
def test_what_cannot_be_read_is_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse({"model": "m", **fields})
    assert caught.value.param == path
