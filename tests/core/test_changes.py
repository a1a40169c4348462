"""A request goes on with some fields set and some left out; all others keep their bytes and their order."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core import form
from headgate.core.request import UNCHANGED, Changes, JsonRequest, parse_form, parse_json
from headgate.core.surfaces import CHAT, EMBEDDINGS, MODERATIONS, TRANSCRIPTIONS
from tests.requirements import covers

pytestmark = covers("splice", "16")

NAMES = st.sampled_from(["temperature", "x", "y y", 'q"t', "é", "s/l", "", "stop", "_", "deep"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=6)
    | st.sampled_from([1.5, -0.25, "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(NAMES.filter(lambda name: name != "temperature"), VALUES, max_size=6)
OPTIONS = {"stream_options": {"include_usage": True, "kept": 1}}


@st.composite
def spelled(draw: st.DrawFn, fields: dict[str, Any]) -> bytes:
    """A JSON text for these fields in any order, with chance spaces and escapes."""
    gap = draw(st.sampled_from(["", " ", "\n\t "]))
    members = [
        f"{json.dumps(name, ensure_ascii=draw(st.booleans()))}{gap}:{gap}{json.dumps(value)}"
        for name, value in draw(st.permutations(list(fields.items())))
    ]
    return f"{gap}{{{gap}{f'{gap},{gap}'.join(members)}{gap}}}{gap}".encode()


def request(body: bytes) -> JsonRequest:
    return JsonRequest(EMBEDDINGS, body, json.loads(body), "m", stream=False, wants_usage=False)


def kept_members(body: bytes, names: set[str]) -> list[str]:
    """The texts of some members of a flat object, in order, as the standard library finds them."""
    text = body.decode()
    decoder = json.JSONDecoder()
    found: list[str] = []
    at = text.index("{") + 1
    while True:
        at += len(text[at:]) - len(text[at:].lstrip(" \t\n,"))
        if text[at] == "}":
            return found
        begins = at
        name, at = decoder.raw_decode(text, at)
        at = text.index(":", at) + 1
        _, at = decoder.raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
        if name in names:
            found.append(text[begins:at])


@given(st.data(), FIELDS, FIELDS, st.frozensets(NAMES, max_size=3))
@settings(max_examples=300, deadline=None, database=None)
def test_what_is_put_is_there_what_is_dropped_is_not_and_the_rest_keeps_its_bytes(
    data: st.DataObject, fields: dict[str, Any], put: dict[str, Any], drop: frozenset[str]
) -> None:
    body = data.draw(spelled({"model": "m", **fields}))
    _, sent = request(body).body_for("up", changes=Changes(put, drop))
    expected = {name: value for name, value in json.loads(body).items() if name not in drop or name in put}
    assert json.loads(sent) == {**expected, **put, "model": "up"}
    untouched = set(fields) - set(put) - drop
    assert kept_members(sent, untouched) == kept_members(body, untouched)
    assert list(json.loads(sent))[: len(expected)] == list(expected), "known fields keep their place, new ones are last"


@given(st.data(), FIELDS)
@settings(max_examples=100, deadline=None, database=None)
def test_without_changes_the_bytes_are_those_of_before(data: st.DataObject, fields: dict[str, Any]) -> None:
    body = data.draw(spelled({"model": "m", **fields}))
    assert request(body).body_for("m") == request(body).body_for("m", changes=UNCHANGED) == (b"application/json", body)
    assert json.loads(request(body).body_for("m", changes=Changes())[1]) == json.loads(body)


@pytest.mark.parametrize("model", ["model", "mod\\u0065l"])
def test_the_model_is_never_among_the_changes(model: str) -> None:
    body = f'{{"{model}":"m","messages":[{{"role":"user"}}]}}'.encode()
    changes = Changes({"model": "other"}, frozenset(["model"]))
    assert json.loads(parse_json(CHAT, body).body_for("up", changes=changes)[1])["model"] == "up"


def test_a_surface_without_a_model_in_its_body_gets_one() -> None:
    _, sent = parse_json(MODERATIONS, b'{"input":"x","user":"u"}').body_for(
        "up", changes=Changes({}, frozenset(["user"]))
    )
    assert json.loads(sent) == {"input": "x", "model": "up"}


@pytest.mark.parametrize(
    ("sent", "changes", "expected"),
    [
        ({}, Changes({"x": 1}), {"include_usage": True}),
        ({"stream_options": {"a": 1}}, Changes({"x": 1}), {"a": 1, "include_usage": True}),
        ({}, Changes({"stream_options": {"b": 2}}), {"b": 2, "include_usage": True}),
        ({}, Changes({"stream_options": "wrong"}), {"include_usage": True}),
        (OPTIONS, Changes({"x": 1}), OPTIONS["stream_options"]),
        (OPTIONS, Changes({"stream_options": {"b": 2}}), {"b": 2, "include_usage": True}),
        ({}, Changes({}, frozenset(["stream_options"])), None),
        (OPTIONS, Changes({}, frozenset(["stream_options"])), None),
    ],
)
def test_usage_is_asked_for_unless_the_field_may_not_be_sent(
    sent: dict[str, Any], changes: Changes, expected: dict[str, Any] | None
) -> None:
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user"}], **sent}).encode()
    _, changed = parse_json(CHAT, body).body_for("up", ask_usage=True, changes=changes)
    assert json.loads(changed).get("stream_options") == expected


@covers("22")
def test_with_changes_each_turn_is_still_a_prolongation_of_the_one_before() -> None:
    changes = Changes({"temperature": 0.5, "max_tokens": 64}, frozenset(["user"]))
    messages: list[dict[str, str]] = []
    before = b""
    for turn in range(5):
        messages.append({"role": "user", "content": f'turn {turn} "é"'})
        body = json.dumps({"user": "u", "max_tokens": 3, "model": "m", "messages": messages}).encode()
        _, sent = parse_json(CHAT, body).body_for("up", changes=changes)
        assert sent.startswith(before)
        before = sent[: sent.rindex(json.dumps(messages[-1]).encode()) + len(json.dumps(messages[-1]))]


def test_values_that_only_yaml_has_are_sent_as_json_can() -> None:
    _, sent = parse_json(EMBEDDINGS, b'{"model":"m","input":"x"}').body_for("m", changes=Changes({"x": {1: [True]}}))
    assert json.loads(sent)["x"] == {"1": [True]}


def part(name: str, text: str, more: str = "") -> str:
    return f'--b0\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{text}\r\n'


FORM = [
    part("temperature", "0.2"),
    part("file", "RIFF--b0", '; filename="a.wav"'),
    part("tags[]", "a"),
    part("model", "m"),
    part("tags[]", "b"),
    part("prompt", "é"),
]
TYPE = "multipart/form-data; boundary=b0"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (Changes(), FORM),
        (Changes({"temperature": 0.5, "new": 1}), [part("temperature", "0.5"), *FORM[1:]]),
        (Changes({"prompt": ""}, frozenset(["prompt"])), [*FORM[:5], part("prompt", "")]),
        (Changes({}, frozenset(["temperature", "file", "model"])), FORM[1:]),
        (Changes({}, frozenset(["tags[]", "prompt"])), [FORM[0], FORM[1], FORM[3]]),
    ],
)
def test_text_fields_of_a_form_are_replaced_or_left_out_and_its_files_kept(
    changes: Changes, expected: list[str]
) -> None:
    body = ("".join(FORM) + "--b0--\r\n").encode()
    content_type, sent = parse_form(TRANSCRIPTIONS, body, TYPE).body_for("up", changes=changes)
    assert content_type.decode() == TYPE
    assert sent.decode() == "".join(expected).replace("\r\n\r\nm\r\n", "\r\n\r\nup\r\n") + "--b0--\r\n"
    assert form.parse(sent, TYPE).texts["model"] == "up"
