"""Requests of the Responses API as values: what each detail becomes, what comes back, and what other dialects lose."""

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
    Item,
    Message,
    Part,
    RefusalPart,
    TextPart,
    Thinking,
    ToolCall,
    ToolResult,
)
from headgate.dialects.responses_render import render
from headgate.dialects.responses_request import parse
from headgate.dialects.responses_tools import flat_name, homes
from tests.requirements import covers

pytestmark = covers("responses")
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'}
ITEMS: dict[str, tuple[dict[str, Any], Item]] = {
    "the easy form of a message": (
        {"role": "user", "content": "Hi"},
        Message("user", (TextPart("Hi"),)),
    ),
    "a message of the developer": (
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Hi"}]},
        Message("developer", (TextPart("Hi"),)),
    ),
    "what the model said, as it said it": (
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "Hi", "annotations": [{"type": "url_citation"}], "logprobs": []},
                {"type": "refusal", "refusal": "No."},
            ],
        },
        Message(
            "assistant",
            (TextPart("Hi", {"annotations": [{"type": "url_citation"}]}), RefusalPart("No.")),
            beside={"id": "msg_1", "phase": "commentary"},
        ),
    ),
    "a call": ({**CALL, "id": "fc_1"}, ToolCall("call_1", "f", '{"a":1}', {"id": "fc_1"})),
    "a thought with its summary": (
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
        Thinking("Hm", beside={"id": "rs_1"}),
    ),
    "a sealed thought": (
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"},
        Thinking(sealed="gAAAA"),
    ),
    "a thought that its provider signed": (
        {"type": "reasoning", "summary": [{"text": "Hm"}], "encrypted_content": "signed:EqQB"},
        Thinking("Hm", "EqQB"),
    ),
    "a thought in its own words": (
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
        Thinking("Hm"),
    ),
    "a search of the provider": (
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ForeignItem({"type": "web_search_call", "id": "ws_1", "status": "completed"}),
    ),
    "a result that only this API knows": (
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
        ForeignItem({"type": "custom_tool_call_output", "call_id": "c", "output": "x"}, "user"),
    ),
    "a compaction of the provider": (
        {"type": "compaction", "encrypted_content": "gAAAA"},
        ForeignItem({"type": "compaction", "encrypted_content": "gAAAA"}),
    ),
}
PARTS: dict[str, tuple[dict[str, Any], Part]] = {
    "a picture": (
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
        ImagePart("data:image/png;base64,AAAA", "low"),
    ),
    "a picture that the provider keeps": (
        {"type": "input_image", "file_id": "file_1"},
        ForeignPart({"type": "input_image", "file_id": "file_1"}),
    ),
    "a file": (
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
        FilePart("data:application/pdf;base64,AAAA", name="a.pdf"),
    ),
    "a file behind an address": (
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        FilePart("https://example.com/a.pdf"),
    ),
    "a file that the provider keeps": ({"type": "input_file", "file_id": "file_1"}, FilePart(id="file_1")),
    "a sound": (
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        AudioPart("AAAA", "wav"),
    ),
    "a part nobody knows": ({"type": "input_video", "url": "x"}, ForeignPart({"type": "input_video", "url": "x"})),
}


def request(**fields: Any) -> ChatRequest:
    return parse({"model": "m", "input": [], **fields})


@pytest.mark.parametrize(("told", "value"), ITEMS.values(), ids=ITEMS)
def test_an_item_is_read_as_what_it_is_and_comes_back(told: dict[str, Any], value: Item) -> None:
    read = request(input=[told])
    assert read.items == (value,)
    assert parse(render(read).fields) == read
    assert render(read).lost == ()


@pytest.mark.parametrize(("told", "value"), PARTS.values(), ids=PARTS)
def test_a_part_is_read_as_what_it_is_and_comes_back(told: dict[str, Any], value: Part) -> None:
    read = request(input=[{"role": "user", "content": [told]}, CALL, result("call_1", [told])])
    assert read.items[0] == Message("user", (value,))
    assert read.items[2] == ToolResult("call_1", (value,))
    assert parse(render(read).fields) == read


def result(call: str, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call, "output": output}


def test_a_text_is_a_message_and_instructions_come_first() -> None:
    read = request(instructions="Be brief.", input="Hi")
    assert read.items == (Message("system", (TextPart("Be brief."),)), Message("user", (TextPart("Hi"),)))
    assert render(read).fields["instructions"] == "Be brief."


def test_a_file_without_its_type_gets_that_of_its_name() -> None:
    part = {"type": "input_file", "filename": "a.pdf", "file_data": "AAAA"}
    (message,) = request(input=[{"role": "user", "content": [part]}]).items
    assert message == Message("user", (FilePart("data:application/pdf;base64,AAAA", name="a.pdf"),))


def test_what_was_compacted_here_is_told_to_any_model() -> None:
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "summary:They met."}
    assert request(input=[item]).items == (
        Message("user", (TextPart("Summary of the conversation until now:\n\nThey met."),)),
    )


FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bounds": ({"max_output_tokens": 9, "temperature": 0.5, "top_p": 1}, {"max_tokens": 9, "temperature": 0.5}),
    "effort": (
        {"reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
        {"effort": "high", "beside": {"reasoning.summary": "auto"}},
    ),
    "an effort that is new": ({"reasoning": {"effort": "ultra"}}, {"beside": {"reasoning.effort": "ultra"}}),
    "any object": ({"text": {"format": {"type": "json_object"}}}, {"format": Format()}),
    "a schema": (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"a": 1}, "strict": True}}},
        {"format": Format({"a": 1}, "n", strict=True)},
    ),
    "plain text": ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"beside": {"verbosity": "low"}}),
    "probabilities": (
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"beside": {"logprobs": True, "top_logprobs": 2}},
    ),
    "what else is to be told": (
        {"include": ["web_search_call.results"]},
        {"beside": {"include": ["web_search_call.results"]}},
    ),
    "what says nothing": (
        {"truncation": "disabled", "store": False, "background": False, "top_logprobs": 0, "metadata": None},
        {"beside": {}},
    ),
    "what says something": ({"truncation": "auto", "store": True}, {"beside": {"truncation": "auto", "store": True}}),
    "the rest": (
        {"metadata": {"a": "b"}, "service_tier": "flex", "client_metadata": {"c": 1}, "user": "u"},
        {"user": "u", "beside": {"metadata": {"a": "b"}, "service_tier": "flex", "client_metadata": {"c": 1}}},
    ),
    "calls side by side": ({"parallel_tool_calls": False}, {"parallel": False}),
    "a tool that must be called": (
        {"tool_choice": {"type": "function", "name": "f"}},
        {"choice": Choice("required", "f")},
    ),
    "tools that may be called": (
        {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}},
        {"choice": Choice("required", among=("f",))},
    ),
    "no function may be called": (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}},
        {"choice": Choice("none", beside={"tools": [{"type": "web_search"}]})},
    ),
    "a tool of the provider's": (
        {"tool_choice": {"type": "web_search"}},
        {"choice": Choice(beside={"type": "web_search"})},
    ),
    "functions, with what is new of them": (
        {"tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True, "defer_loading": True}]},
        {"tools": (Function("f", "", {}, True, {"defer_loading": True}),)},
    ),
    "functions without a type, or as a chat has them": (
        {"tools": [{"name": "f"}, {"type": "function", "function": {"name": "g", "strict": True}}]},
        {"tools": (Function("f"), Function("g", strict=True))},
    ),
    "other tools": (
        {"tools": [{"type": "web_search"}, {"type": "custom", "name": "patch"}]},
        {"tools": (ForeignTool({"type": "web_search"}), ForeignTool({"type": "custom", "name": "patch"}))},
    ),
}


@pytest.mark.parametrize(("told", "values"), FIELDS.values(), ids=FIELDS)
def test_a_field_is_read_as_what_it_means_and_comes_back(told: dict[str, Any], values: dict[str, Any]) -> None:
    read = request(**told)
    assert {name: getattr(read, name) for name in values} == values
    assert parse(render(read).fields) == read
    assert render(read).lost == ()


NAMESPACE = {
    "type": "namespace",
    "name": "mcp__files__",
    "description": "Files.",
    "tools": [{"type": "function", "name": "read", "description": "Reads."}, {"type": "function", "name": "list"}],
}


def test_tools_in_a_namespace_are_offered_under_one_name_each() -> None:
    read = request(
        tools=[NAMESPACE],
        input=[{**CALL, "name": "read", "namespace": "mcp__files__"}],
        tool_choice={"type": "function", "name": "list", "namespace": "mcp__files__"},
    )
    assert read.tools == (Function("mcp__files__read", "Files.\n\nReads."), Function("mcp__files__list"))
    assert read.items == (ToolCall("call_1", "mcp__files__read", '{"a":1}'),)
    assert read.choice == Choice("required", "mcp__files__list")
    assert homes([NAMESPACE])["mcp__files__read"] == ("mcp__files__", "read")


def test_names_that_are_too_long_or_odd_stay_apart() -> None:
    long = [flat_name("n" * 60, f"{'t' * 60}{number}") for number in range(2)]
    odd = [flat_name("a b", "c"), flat_name("a.b", "c")]
    assert len({*long, *odd}) == 4
    assert max(map(len, long)) <= 64
    assert flat_name("files", "read") == "files__read"
