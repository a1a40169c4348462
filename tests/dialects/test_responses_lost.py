"""Requests of the Responses API that cannot be read, and what is lost between it and chat completions."""

from typing import Any

import pytest

from headgate.core.errors import InvalidField
from headgate.core.state_errors import PreviousResponseNotFound
from headgate.dialects import chat_request
from headgate.dialects.responses_render import render
from tests.dialects.test_responses_request import CALL, ITEMS, PARTS, request, result
from tests.requirements import covers

pytestmark = covers("responses")
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "input": ({"input": 7}, "input"),
    "an item": ({"input": ["x"]}, "input[0]"),
    "a type": ({"input": [{"id": "x"}]}, "input[0].type"),
    "a role": ({"input": [{"role": "king", "content": ""}]}, "input[0].role"),
    "content": ({"input": [{"role": "user", "content": 3}]}, "input[0].content"),
    "a part": ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    "a picture": ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
    "a call": ({"input": [{**CALL, "name": ""}]}, "input[0].name"),
    "a result without its call": ({"input": [result("call_1", "x")]}, "input[0].call_id"),
    "what is stored elsewhere": ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
    "a tool": ({"tools": [{"type": "function"}]}, "tools[0].name"),
    "parameters": ({"tools": [{"type": "function", "name": "f", "parameters": 1}]}, "tools[0].parameters"),
    "a choice": ({"tool_choice": "maybe"}, "tool_choice"),
    "a schema": ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
    "reasoning": ({"reasoning": "much"}, "reasoning"),
    "a number": ({"temperature": "hot"}, "temperature"),
    "a conversation": ({"conversation": "conv_1"}, "conversation"),
    "a prompt": ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    "what only a connection can hold": ({"generate": False}, "generate"),
    "background": ({"background": True}, "background"),
}


@pytest.mark.parametrize(("told", "param"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_read_is_named(told: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as fault:
        request(**told)
    assert fault.value.param == param


def test_a_response_that_is_not_kept_cannot_be_gone_on_from() -> None:
    with pytest.raises(PreviousResponseNotFound, match="send the whole conversation"):
        request(previous_response_id="resp_1")


def test_what_a_chat_does_not_know_is_told_as_lost() -> None:
    rendered = chat_request.render(
        request(
            input=[
                ITEMS["a search of the provider"][0],
                {"role": "user", "content": [PARTS["a part nobody knows"][0]]},
            ],
            tools=[{"type": "web_search"}],
            truncation="auto",
            client_metadata={"c": 1},
            max_tool_calls=3,
        )
    )
    assert set(rendered.lost) == {
        "input[].web_search_call",
        "input[].content[].input_video",
        "tools[0]",
        "truncation",
        "client_metadata",
        "max_tool_calls",
    }


def test_a_chat_is_neither_stored_nor_made_strict_on_its_way() -> None:
    told = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi", "name": "ann"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "stop": ["x"],
        "seed": 3,
        "reasoning_effort": "high",
        "response_format": {"type": "json_schema", "json_schema": {"schema": {}}},
        "verbosity": "low",
        "logprobs": True,
    }
    rendered = render(chat_request.parse(told))
    assert rendered.fields["store"] is False
    assert rendered.fields["tools"] == [{"type": "function", "name": "f", "parameters": None, "strict": False}]
    assert rendered.fields["reasoning"] == {"effort": "high"}
    assert rendered.fields["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert rendered.fields["text"] == {
        "format": {"type": "json_schema", "name": "answer", "schema": {}},
        "verbosity": "low",
    }
    assert set(rendered.lost) == {"messages[].name", "stop", "seed"}
