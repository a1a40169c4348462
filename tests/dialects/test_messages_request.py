"""Requests of Anthropic's Messages API are read whole, written back as they were, and into other words without loss."""

from dataclasses import replace
from typing import Any

import pytest

from headgate.core.chat_request import (
    Choice,
    FilePart,
    ForeignItem,
    ForeignPart,
    ForeignTool,
    Format,
    Function,
    ImagePart,
    Message,
    TextPart,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.core.errors import InvalidField
from headgate.dialects.messages_request import parse, render
from tests.requirements import covers

pytestmark = covers("157")
CACHED = {"cache_control": {"type": "ephemeral"}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, 2.5, None]}}


def asked(*content: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    """A request with one message."""
    return {"model": "m", "max_tokens": 100, "messages": [{"role": role, "content": list(content)}], **more}


def items(*content: Any, role: str = "user") -> tuple[Any, ...]:
    return parse(asked(*content, role=role)).items


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "text", "text": "Hi", **CACHED}, TextPart("Hi", CACHED)),
        (PNG, ImagePart("data:image/png;base64,AAAA")),
        ({"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}, ImagePart("https://a/b.png")),
        (
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            ForeignPart({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
        ),
        ({**PDF, "title": "T"}, FilePart("data:application/pdf;base64,BBBB", "", "T")),
        ({"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}, FilePart("https://a/b.pdf")),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, FilePart("", "file_1")),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hé"}},
            FilePart("data:text/plain;base64,SMOp"),
        ),
        ({"type": "search_result", "source": "s", "title": "t", "content": []}, ForeignPart),
        ({"type": "container_upload", "file_id": "file_1"}, ForeignPart),
    ],
)
def test_parts_of_a_user_are_read_and_written_back(block: dict[str, Any], part: Any) -> None:
    (message,) = items(block)
    (found,) = message.parts
    assert found == part or type(found) is part
    assert render(parse(asked(block))).fields["messages"][0]["content"] == [block]


def test_what_an_assistant_said_is_a_row_of_items() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "sealed"},
        {"type": "text", "text": "A", "citations": [{"type": "char_location"}]},
        {"type": "text", "text": "B"},
        SEARCH,
        FOUND,
        {**CALL, "caller": {"type": "direct"}},
    ]
    assert items(*blocks, role="assistant") == (
        Thinking("Hm", "sig"),
        Thinking(sealed="sealed"),
        Message("assistant", (TextPart("A", {"citations": [{"type": "char_location"}]}), TextPart("B"))),
        ForeignItem(SEARCH),
        ForeignItem(FOUND),
        ToolCall("toolu_1", "f", '{"a":[1,2.5,null]}', {"caller": {"type": "direct"}}),
    )
    rendered = render(parse(asked(*blocks, role="assistant")))
    assert rendered.fields["messages"] == [{"role": "assistant", "content": blocks}]
    assert rendered.lost == ()


def test_results_of_tools_hold_text_or_pictures_and_say_whether_they_failed() -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1"}
    found = items(
        {**result, "content": "fine", **CACHED},
        {**result, "content": [{"type": "text", "text": "no"}, PNG], "is_error": True},
        result,
        {"type": "text", "text": "Go on"},
    )
    assert found == (
        ToolResult("toolu_1", (TextPart("fine"),), beside=CACHED),
        ToolResult("toolu_1", (TextPart("no"), ImagePart("data:image/png;base64,AAAA")), failed=True),
        ToolResult("toolu_1", ()),
        Message("user", (TextPart("Go on"),)),
    )


@pytest.mark.parametrize("beside", [{}, CACHED])
def test_the_system_text_is_a_string_or_blocks(beside: dict[str, Any]) -> None:
    block = {"type": "text", "text": "Be kind.", **beside}
    for system in [[block]] if beside else ["Be kind.", [block]]:
        request = parse(asked({"type": "text", "text": "Hi"}, system=system))
        assert request.items[0] == Message("system", (TextPart("Be kind.", beside),))
        assert render(request).fields["system"] == [block]


def test_system_messages_among_the_others_keep_their_place() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "system", "content": "The date is today."},
        {"role": "user", "content": [{"type": "text", "text": "Well?"}]},
    ]
    fields = {"model": "m", "max_tokens": 9, "messages": messages}
    assert [one.role for one in parse(fields).items] == ["user", "system", "user"]  # type: ignore[union-attr]
    assert render(parse(fields)).fields["messages"] == messages
    other = render(replace(parse(fields), dialect="chat")).fields
    assert other["system"] == [{"type": "text", "text": "The date is today."}]
    assert [one["role"] for one in other["messages"]] == ["user"]


def test_tools_need_no_type_and_server_tools_are_the_providers() -> None:
    schema = {"type": "object", "properties": {}}
    web = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    tools: list[dict[str, Any]] = [
        {"name": "f", "input_schema": schema, **CACHED},
        {"name": "g", "description": "G", "input_schema": schema, "strict": True},
        web,
    ]
    assert parse(asked(tools=[{"type": "custom", **tools[1]}])).tools == parse(asked(tools=[tools[1]])).tools
    found = parse(asked(tools=tools)).tools
    assert found == (
        Function("f", "", schema, None, CACHED),
        Function("g", "G", schema, True),
        ForeignTool(web),
    )
    assert render(parse(asked(tools=tools))).fields["tools"] == tools
    assert render(replace(parse(asked(tools=tools)), dialect="chat")).lost == ("tools[2]",)


@pytest.mark.parametrize(
    ("told", "choice", "parallel"),
    [
        ({"type": "auto"}, Choice(), None),
        ({"type": "any", "disable_parallel_tool_use": True}, Choice("required"), False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, Choice("required", "f"), True),
        ({"type": "none"}, Choice("none"), None),
    ],
)
def test_the_choice_of_tools_is_read_and_written_back(told: Any, choice: Choice, parallel: bool | None) -> None:
    request = parse(asked(tools=[{"name": "f", "input_schema": {"type": "object"}}], tool_choice=told))
    assert (request.choice, request.parallel) == (choice, parallel)
    assert render(request).fields["tool_choice"] == told


@pytest.mark.parametrize(
    ("told", "thinks", "effort", "form"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}}, 2000, None, None),
        ({"thinking": {"type": "disabled"}}, 0, None, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, None, "xhigh", None),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}, "task_budget": {"total": 9}}},
            None,
            None,
            Format({"a": 1}),
        ),
    ],
)
def test_thinking_effort_and_format_are_read_and_written_back(told: Any, thinks: Any, effort: Any, form: Any) -> None:
    request = parse(asked(**told))
    assert (request.thinks, request.effort, request.format) == (thinks, effort, form)
    fields = render(request).fields
    assert {name: fields[name] for name in told} == told


def test_everything_else_goes_back_as_it_came() -> None:
    more: dict[str, Any] = {
        "stop_sequences": ["X"],
        "metadata": {"user_id": "u"},
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "service_tier": "standard_only",
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "container": "c",
        "mcp_servers": [{"type": "url", "url": "https://m", "name": "m"}],
        "betas": ["b"],
        **CACHED,
        "stream": True,
        "a_field_of_tomorrow": {"x": 1},
    }
    request = parse(asked({"type": "text", "text": "Hi"}, **more))
    assert (request.user, request.stop, request.top_k, request.stream) == ("u", ("X",), 3, True)
    assert render(request).fields == {**asked({"type": "text", "text": "Hi"}), **more}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (asked({"type": "text"}), "messages[0].content[0].text"),
        (asked({"type": "image"}), "messages[0].content[0].source"),
        (asked({"type": "tool_result"}), "messages[0].content[0].tool_use_id"),
        (
            asked({"type": "tool_use", "id": "a", "name": "f", "input": "x"}, role="assistant"),
            "messages[0].content[0].input",
        ),
        (asked(3), "messages[0].content[0]"),
        (asked(tools=[{"input_schema": {}}]), "tools[0].name"),
        (asked(tool_choice={"type": "some"}), "tool_choice.type"),
        (asked(thinking={"type": "enabled", "budget_tokens": "x"}), "thinking.budget_tokens"),
        (asked(system=7), "system"),
        (asked(stop_sequences=[1]), "stop_sequences[0]"),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as told:
        parse(fields)
    assert told.value.param == path
