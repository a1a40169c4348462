"""Requests of chat callers in the words of Anthropic's Messages API: nothing that it refuses, and losses told."""

from dataclasses import replace
from typing import Any

import pytest

from headgate.core.chat_request import (
    ChatRequest,
    Choice,
    Function,
    ToolCall,
)
from headgate.dialects import chat_request
from headgate.dialects.messages_request import USUAL_ANSWER, parse, render
from tests.requirements import covers

pytestmark = covers("157")
CACHED = {"cache_control": {"type": "ephemeral"}}


def said(**fields: Any) -> ChatRequest:
    """A chat caller's request with one message, and these fields."""
    return chat_request.parse({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields})


def test_ids_that_anthropic_refuses_are_spelled_so_that_they_can_be_read_back() -> None:
    calls = [{"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"},
    ]
    fields = render(chat_request.parse({"model": "m", "messages": messages})).fields
    id_ = fields["messages"][1]["content"][0]["id"]
    assert id_.replace("_", "").replace("-", "").isalnum()
    assert fields["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": id_, "content": "1"}]
    assert [one.id for one in parse(fields).items if isinstance(one, ToolCall)] == ["functions.f:0"]


def test_results_of_parallel_calls_stand_first_and_in_one_message() -> None:
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in (1, 2)]
    results = [{"role": "tool", "tool_call_id": f"c{n}", "content": str(n)} for n in (1, 2)]
    said = {"role": "user", "content": "Go on"}
    for answers in ([*results, said], [said, *results], [results[0], said, results[1]]):
        messages = [{"role": "assistant", "tool_calls": calls}, *answers]
        last = render(chat_request.parse({"model": "m", "messages": messages})).fields["messages"][-1]
        assert [block["type"] for block in last["content"]] == ["tool_result", "tool_result", "text"]


@pytest.mark.parametrize(
    ("fields", "thinking", "lost"),
    [
        ({"reasoning_effort": "low"}, {"type": "enabled", "budget_tokens": 2048}, ()),
        ({"reasoning_effort": "none"}, {"type": "disabled"}, ()),
        ({"reasoning_effort": "high", "max_tokens": 4096}, {"type": "enabled", "budget_tokens": 3072}, ()),
        ({"reasoning_effort": "high", "max_tokens": 1500}, None, ("reasoning_effort",)),
        ({"thinking": {"type": "adaptive"}}, {"type": "adaptive"}, ()),
        (
            {"reasoning_effort": "low", "temperature": 0.5, "top_k": 2},
            {"type": "enabled", "budget_tokens": 2048},
            ("temperature", "top_k"),
        ),
    ],
)
def test_effort_becomes_a_budget_below_the_bound_of_the_answer(fields: Any, thinking: Any, lost: Any) -> None:
    rendered = render(said(**fields))
    assert rendered.fields.get("thinking") == thinking
    assert rendered.lost == lost
    most = rendered.fields["max_tokens"]
    assert most == fields.get("max_tokens", USUAL_ANSWER + (thinking or {}).get("budget_tokens", 0))


def test_nothing_is_thought_amid_a_turn_that_began_without_a_signed_thought() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c", "content": "1"}
    signed = [{"type": "thinking", "thinking": "Hm", "signature": "s"}]

    def rendered(**more: Any) -> Any:
        messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [call], **more}, result]
        return render(chat_request.parse({"model": "m", "messages": messages, "reasoning_effort": "low"}))

    assert rendered(reasoning_content="Hm").lost == ("messages[].reasoning", "reasoning_effort")
    assert "thinking" in rendered(thinking_blocks=signed).fields
    forced = said(
        reasoning_effort="low", tools=[{"type": "function", "function": {"name": "f"}}], tool_choice="required"
    )
    assert render(forced).lost == ("reasoning_effort",)


def test_what_anthropic_cannot_be_told_is_named() -> None:
    parts = [
        {"type": "text", "text": "Hi", **CACHED},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    messages = [{"role": "user", "name": "ann", "content": parts}]
    told = chat_request.parse(
        {
            "model": "m",
            "messages": messages,
            "seed": 1,
            "n": 1,
            "stream_options": {"include_usage": True},
            "logprobs": False,
            "response_format": {"type": "json_object"},
            "temperature": 1.5,
            "service_tier": "flex",
        }
    )
    rendered = render(told)
    assert set(rendered.lost) == {
        "messages[].name",
        "messages[].content[].input_audio",
        "messages[].content[].file",
        "seed",
        "response_format",
        "temperature",
        "service_tier",
    }
    assert rendered.fields["temperature"] == 1.0
    assert rendered.fields["messages"][0]["content"] == [{"type": "text", "text": "Hi", **CACHED}]


def test_only_the_allowed_tools_are_offered() -> None:
    tools = tuple(Function(name) for name in "fgh")
    request = replace(said(), tools=tools, choice=Choice("required", among=("f", "h")), parallel=False)
    fields = render(request).fields
    assert [tool["name"] for tool in fields["tools"]] == ["f", "h"]
    assert fields["tools"][0]["input_schema"] == {"type": "object"}
    assert fields["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
