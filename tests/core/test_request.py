"""What is read of a body, what is refused with the field named, and how the body goes on."""

import json
from typing import Any

import pytest

from headgate.core.errors import (
    DuplicateField,
    HeadgateError,
    InvalidField,
    InvalidJson,
    JsonTooComplex,
    JsonTooDeep,
    MissingField,
)
from headgate.core.request import parse_form, parse_json
from headgate.core.surfaces import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RERANK, SPEECH, TRANSCRIPTIONS, Surface
from tests.requirements import covers

MESSAGES = [{"role": "user", "content": "Hi"}]
MINIMAL: dict[Surface, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": MESSAGES},
    COMPLETIONS: {"model": "m", "prompt": "Hi"},
    EMBEDDINGS: {"model": "m", "input": "Hi"},
    RERANK: {"model": "m", "query": "q", "documents": ["a"]},
}
WRONG: dict[str, list[Any]] = {
    "model": ["", 1, True, [], {}],
    "stream": ["true", 1, 0, [], {}],
    "stream_options": ["x", 1, [], True],
    "messages": ["x", [], {}, 1, True],
    "tools": ["x", {}, 1],
    "functions": [{}, False],
    "metadata": [[], "x", 1],
    "response_format": [[], 1, True],
    "logit_bias": [[], "x"],
    "max_tokens": [-1, 1.5, "1", True, 2**31, 10**30, []],
    "max_completion_tokens": [-1, "1", 1e3],
    "n": [-1, 0.5, "1", True, 2**64],
    "top_logprobs": ["x", -1],
    "seed": ["1", 1.5, True, 2**70],
    "temperature": ["1", True, [], 1e300, -1e7],
    "top_p": ["1", {}, 10**400],
    "presence_penalty": ["0", False],
    "frequency_penalty": [[], "0"],
    "parallel_tool_calls": ["true", 1],
}
HARMLESS: dict[str, Any] = {
    "stream": None,
    "tools": [],
    "max_tokens": 0,
    "temperature": -1,
    "top_p": 1.0,
    "seed": -(2**62),
    "n": 2**31 - 1,
    "stream_options": {"x": 1},
    "response_format": "json",
    "user": 5,
    "stop": [],
    "unknown": {"deep": [{}]},
}

UNREADABLE = [
    b"",
    b" ",
    b"null",
    b"[]",
    b'"x"',
    b"1",
    b"{",
    b"}",
    b'{"model":"m",}',
    b"{'model':'m'}",
    b"{} {}",
    b"\xff\xfe{}",
]
UNREADABLE += [b"\xef\xbb\xbf{}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e999}', b'{"a":"\\ud800"}', b'{"a":"\xff"}']
UNREADABLE += [
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":01}',
    b'{"a":"\n"}',
    b'{"a":"\x00"}',
    b"\x00",
    b'{"a":1}\x00',
    b'{"a":.5}',
]


def refused(surface: Surface, body: bytes) -> HeadgateError:
    with pytest.raises(HeadgateError) as caught:
        parse_json(surface, body)
    return caught.value


def text_of(surface: Surface, **fields: Any) -> bytes:
    return json.dumps({**MINIMAL[surface], **fields}).encode()


@covers("fuzz", "20")
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_with_its_field_named(name: str, value: Any) -> None:
    error = refused(CHAT, text_of(CHAT, **{name: value}))
    if value == 10**400:  # no reader of JSON can hold it
        assert isinstance(error, InvalidJson)
        return
    assert isinstance(error, InvalidField)
    assert error.param == name
    assert name in error.message


@covers("fuzz")
@pytest.mark.parametrize("name", HARMLESS)
def test_an_unusual_but_possible_value_is_the_providers_to_judge(name: str) -> None:
    assert parse_json(CHAT, text_of(CHAT, **{name: HARMLESS[name]})).fields[name] == HARMLESS[name]


@covers("fuzz", "20")
@pytest.mark.parametrize(
    ("messages", "where"),
    [
        (["x"], "messages[0]"),
        ([None], "messages[0]"),
        ([*MESSAGES, 1], "messages[1]"),
        ([{}], "messages[0].role"),
        ([{"role": 1}], "messages[0].role"),
        ([{"role": None}], "messages[0].role"),
        ([{"role": "user", "content": 1}], "messages[0].content"),
        ([{"role": "user", "content": {}}], "messages[0].content"),
        ([{"role": "user", "content": [1]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "text"}, []]}], "messages[0].content[1]"),
    ],
)
def test_a_wrong_message_is_refused_with_its_place_named(messages: list[Any], where: str) -> None:
    error = refused(CHAT, text_of(CHAT, messages=messages))
    assert isinstance(error, InvalidField)
    assert error.param == where


@covers("fuzz")
@pytest.mark.parametrize("usage", ["true", 1, [], {}])
def test_include_usage_must_be_true_or_false(usage: Any) -> None:
    assert refused(CHAT, text_of(CHAT, stream_options={"include_usage": usage})).param == "stream_options.include_usage"


@covers("fuzz", "20")
@pytest.mark.parametrize(
    ("surface", "name"), [(surface, name) for surface, fields in MINIMAL.items() for name in fields]
)
@pytest.mark.parametrize("absent", ["missing", "null"])
def test_a_required_field_that_is_not_there_is_named(surface: Surface, name: str, absent: str) -> None:
    fields = {key: value for key, value in MINIMAL[surface].items() if key != name}
    error = refused(surface, json.dumps(fields if absent == "missing" else {**fields, name: None}).encode())
    assert isinstance(error, MissingField)
    assert error.param == name


@covers("20")
@pytest.mark.parametrize(
    ("extra", "name"),
    [
        (b'"model":"x"', "model"),
        (b'"mod\\u0065l":"x"', "model"),
        (b'"x":1,"x":1', "x"),
        (b'"a/b":1,"a\\/b":2', "a/b"),
        (b'"messages":[]', "messages"),
    ],
)
def test_a_field_that_occurs_twice_is_named(extra: bytes, name: str) -> None:
    error = refused(CHAT, text_of(CHAT)[:-1] + b"," + extra + b"}")
    assert isinstance(error, DuplicateField)
    assert error.param == name


@covers("fuzz", "20")
def test_an_empty_field_that_occurs_twice_hides_no_second_model() -> None:
    body = b'{"":0,"":1,"model":"small","model":"other","messages":[{"role":"user","content":"Hi"}]}'
    assert isinstance(refused(CHAT, body), DuplicateField)


@covers("fuzz", "20")
@pytest.mark.parametrize(
    "body",
    UNREADABLE,
)
def test_bytes_that_are_no_json_object_are_refused(body: bytes) -> None:
    assert isinstance(refused(CHAT, body), InvalidJson)


@covers("20")
def test_nesting_is_accepted_to_1024_levels_and_refused_beyond() -> None:
    def nested(levels: int) -> bytes:
        return text_of(CHAT)[:-1] + b',"x":' + b"[" * levels + b"]" * levels + b"}"

    assert parse_json(CHAT, nested(1000)).model == "m"
    for levels in (1025, 100_000):
        assert isinstance(refused(CHAT, nested(levels)), JsonTooDeep)
    assert isinstance(refused(CHAT, b'{"a":' * 100_000 + b"1" + b"}" * 100_000), JsonTooDeep)


@covers("1")
def test_a_body_for_a_model_of_the_same_name_is_the_very_body() -> None:
    body = b' { "model" :"m","messages" :[{"role":"user"}] }\n'
    assert parse_json(CHAT, body).body_for("m") == (b"application/json", body)


@covers("1", "splice")
@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[{"role":"user","content":"\\"model\\":\\"m\\""}]}',
        b'{"messages":[{"role":"user","model":"m"}],\n"model"\t:\t"m"}',
        b'{"x":{"model":"m"},"\\u006dodel":"m","messages":[{"role":"user"}]}',
    ],
)
def test_only_the_models_name_is_changed(body: bytes) -> None:
    _, changed = parse_json(CHAT, body).body_for('new "name" \u00e9')
    assert json.loads(changed) == {**json.loads(body), "model": 'new "name" \u00e9'}
    assert len(changed) == len(body) - 3 + len('"new \\"name\\" é"'.encode())


@covers("22", "2")
@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "x": [1]}}, {"include_usage": True, "x": [1]}),
        ({"stream_options": {"include_usage": True}}, {"include_usage": True}),
    ],
)
def test_usage_is_asked_for_whatever_the_caller_said(options: dict[str, Any], asked: dict[str, Any]) -> None:
    _, body = parse_json(CHAT, text_of(CHAT, stream=True, **options)).body_for("up", ask_usage=True)
    assert json.loads(body) == {**MINIMAL[CHAT], "stream": True, "model": "up", "stream_options": asked}


@covers("22")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model_at", ["first", "last"])
def test_each_turn_reaches_the_provider_as_a_prolongation_of_the_one_before(stream: bool, model_at: str) -> None:
    messages: list[dict[str, str]] = []
    before = b""
    for turn in range(6):
        messages.append({"role": "user" if turn % 2 == 0 else "assistant", "content": f"turn {turn} é \"model\": 'x'"})
        fields = {"model": "m", "stream": stream, "messages": messages}
        if model_at == "last":
            fields = {"stream": stream, "messages": messages, "model": "m"}
        _, sent = parse_json(CHAT, json.dumps(fields).encode()).body_for("provider/model", ask_usage=stream)
        assert sent.startswith(before)
        assert json.loads(sent)["messages"] == messages
        before = sent[: sent.rindex(json.dumps(messages[-1]).encode()) + len(json.dumps(messages[-1]))]


@covers("surfaces")
def test_a_surface_with_a_default_model_needs_none() -> None:
    request = parse_json(MODERATIONS, b'{"input":"x"}')
    assert request.model == "omni-moderation-latest"
    assert request.body_for("up")[1] == b'{"model":"up","input":"x"}'
    assert parse_json(MODERATIONS, b'{"input":"x","model":null}').body_for("up")[1] == b'{"input":"x","model":"up"}'


@covers("surfaces")
@pytest.mark.parametrize(
    ("surface", "fields", "streams"),
    [
        (CHAT, {"stream": True}, True),
        (CHAT, {"stream": False}, False),
        (EMBEDDINGS, {"stream": True}, False),
        (SPEECH, {"stream_format": "sse"}, True),
        (SPEECH, {}, False),
    ],
)
def test_whether_a_call_streams(surface: Surface, fields: dict[str, Any], streams: bool) -> None:
    body = {"model": "m", **({"messages": MESSAGES} if surface is CHAT else {"input": "x"}), **fields}
    assert parse_json(surface, json.dumps(body).encode()).stream is streams


@covers("surfaces", "fuzz")
@pytest.mark.parametrize("text", ["", None])
def test_a_form_without_a_model_is_refused(text: str | None) -> None:
    part = "" if text is None else f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{text}\r\n'
    body = f'{part}--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n--b--\r\n'.encode()
    with pytest.raises(MissingField) as caught:
        parse_form(TRANSCRIPTIONS, body, "multipart/form-data; boundary=b")
    assert caught.value.param == "model"


@covers("fuzz", "20")
def test_a_body_that_would_hold_up_everybody_is_refused_at_once() -> None:
    body = b'{"model":"small","messages":[' + b"[]," * 500_000 + b"[]]}"
    assert isinstance(refused(CHAT, body), JsonTooComplex)
    harmless = json.dumps({"model": "small", "messages": [{"role": "user", "content": "[{" * 200_000}]}).encode()
    assert parse_json(CHAT, harmless).model == "small"
