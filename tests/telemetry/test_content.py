"""Prompts and answers as attributes: in whatever form they came, without keys, and bounded."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.telemetry.content import LONGEST, of_call, of_request
from headgate.telemetry.spans import Content
from tests.harness.messages import message, pieces
from tests.harness.stub import DONE, chat, chunk
from tests.requirements import covers

pytestmark = covers("135")
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
DELTAS: list[dict[str, Any]] = [
    {"role": "assistant", "content": None},
    {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "add", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
]
TOLD = {
    "llm.output_messages.0.message.tool_calls.0.tool_call.id": "call_1",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "add",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"a":1}',
}


def content(fields: Mapping[str, Any], answer: bytes = b"") -> Content:
    return Content("chat", fields, answer, len(answer))


def asked(*messages: object) -> Content:
    return content({"messages": list(messages)})


def test_messages_are_told_with_role_and_text() -> None:
    found = of_call(asked({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}))
    assert found["llm.input_messages.0.message.role"] == "system"
    assert found["llm.input_messages.1.message.content"] == "Hi"
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Hi"}]},
    ]


def test_parts_other_than_text_are_named_only() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    found = of_call(asked({"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}))
    assert found["llm.input_messages.0.message.content"] == "What is it?\n[image_url]"
    assert "AAAA" not in str(found)


def test_calls_of_tools_are_told_whole_or_streamed() -> None:
    whole = chat("").body.replace(
        b'"content": ""', b'"content": null, "tool_calls": [' + json.dumps(CALL).encode() + b"]"
    )
    streamed = b"".join(chunk(delta) for delta in DELTAS) + DONE
    for answer in (whole, streamed):
        found = of_call(content({"messages": []}, answer))
        assert {name: found.get(name) for name in TOLD} == TOLD


def test_a_streamed_answer_is_put_together_also_when_its_end_is_missing() -> None:
    events = b"".join(chunk({"content": word}) for word in ("Hel", "lo", " there"))
    assert of_request(content({"messages": []}, events + DONE))["output.value"] == "Hello there"
    assert of_request(content({"messages": []}, events[:-9]))["output.value"] == "Hello"


def test_answers_in_anthropics_words_are_told_whole_or_streamed() -> None:
    for answer in (message().body, b"".join(pieces())):
        assert of_request(content({"messages": []}, answer))["output.value"] == "Hello there."


def test_prompts_of_other_surfaces_are_told_as_text() -> None:
    assert of_request(content({"prompt": "Once"}, b'{"choices":[{"text":" upon"}]}')) == {
        "input.value": "Once",
        "input.mime_type": "text/plain",
        "output.value": " upon",
        "output.mime_type": "text/plain",
    }
    assert of_request(content({"input": ["a", "b"]}))["input.value"] == "a\nb"


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    found = of_call(asked({"role": "user", "content": "x" * (LONGEST + 7)}))
    text = found["llm.input_messages.0.message.content"]
    assert text == "x" * LONGEST + "… [7 more characters]"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "sk-abcdefgh12345678"},
        {"role": "user", "content": [{"type": "text", "text": "sk-abcdefgh12345678"}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"k":"sk-abcdefgh12345678"}'}}]},
    ],
)
def test_keys_are_taken_out_wherever_they_stand(message: object) -> None:
    assert "sk-abcdefgh12345678" not in str(of_call(asked(message)))
    assert "[redacted]" in str(of_call(asked(message)))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"choices":[null]}',
        b'{"choices":{}}',
        b"data: {]\n\n",
        b"data: null\n\n",
        b'data: {"choices":5}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[null]}}]}\n\n',
    ],
)
def test_an_answer_that_cannot_be_read_is_left_out(answer: bytes) -> None:
    found = of_call(content({"messages": []}, answer))
    assert "output.value" not in found
    assert ("headgate.answer_not_told" in found) is bool(answer)


def test_an_answer_that_was_not_kept_to_its_end_says_so() -> None:
    kept = Content("chat", {"messages": []}, chunk({"content": "Hello"}), 9, is_cut=True)
    found = of_call(kept)
    assert found["output.value"] == "Hello"
    assert found["headgate.answer_not_told"].startswith("what came after the first")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "text", "type", "tool_calls", "function", "index", "id"])
            | st.sampled_from(["choices", "delta", "message", "name", "arguments", "prompt", "input"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["messages", "prompt", "input", "query"]), JSON), JSON)
def test_what_has_a_wrong_form_harms_nothing(fields: dict[str, Any], answer: object) -> None:
    """Attributes are texts, whatever a caller or a provider sends."""
    text = json.dumps(answer).encode()
    for given_answer in (text, b"data: " + text + b"\n\n"):
        found = of_call(content(fields, given_answer))
        assert all(isinstance(value, str) for value in found.values())
