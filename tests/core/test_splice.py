"""Splicing agrees with a slow, obviously correct reader of JSON, whatever the spelling."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core import splice
from tests.requirements import covers

pytestmark = covers("splice")

SPACE = st.text(" \t\r\n", max_size=3)
KEYS = st.sampled_from(
    ["model", "messages", "a", "", "mo", 'q"t', "s/l", "back\\", "é", "ж", "tab\t", "{", "]:,", "😀"]
)
TEXTS = st.one_of(
    KEYS, st.text(max_size=8), st.sampled_from(['"model":', "}]", '{"model":1}', '\\"model\\":', "\\u00"])
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1e6, 1e6))


def spelled(text: str, draw: st.DrawFn) -> str:
    """A JSON string for a text, each character spelled plainly or as an escape, by chance."""
    return f'"{"".join(spelled_character(character, draw) for character in text)}"'


def spelled_character(character: str, draw: st.DrawFn) -> str:
    plain = json.dumps(character, ensure_ascii=False)[1:-1]
    if draw(st.integers(0, 5)):
        return plain
    if character == "/":
        return "\\/"
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def spelled_value(depth: int, draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 3 if depth else 1))
    if kind == 0:
        return json.dumps(draw(SCALARS))
    if kind == 1:
        return spelled(draw(TEXTS.filter(lambda text: text.isprintable() or "\t" in text)), draw)
    if kind == 2:
        items = [spelled_value(depth - 1, draw) for _ in range(draw(st.integers(0, 3)))]
        return "[" + ",".join(draw(SPACE) + item + draw(SPACE) for item in items) + "]"
    return spelled_object(depth - 1, draw)


def spelled_object(depth: int, draw: st.DrawFn) -> str:
    pairs = [(spelled(draw(KEYS), draw), spelled_value(depth, draw)) for _ in range(draw(st.integers(0, 5)))]
    gap = (draw(SPACE), draw(SPACE), draw(SPACE), draw(SPACE))
    inner = ",".join(f"{gap[0]}{key}{gap[1]}:{gap[2]}{value}{gap[3]}" for key, value in pairs)
    return "{" + (inner or gap[0]) + "}"


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """The text of a JSON object with any spelling, and often with keys that occur twice."""
    return (draw(SPACE) + spelled_object(3, draw) + draw(SPACE)).encode()


def reference(text: bytes) -> list[tuple[str, Any, int, int, int]]:
    """(key, value, start, end, start of the key) of each outermost member, in bytes, by the standard library."""
    plain = text.decode()
    decoder = json.JSONDecoder()
    found = []
    at = skip(plain, plain.index("{") + 1)
    while plain[at] != "}":
        key_at = at
        key, at = decoder.raw_decode(plain, at)
        start = skip(plain, skip(plain, at) + 1)
        value, end = decoder.raw_decode(plain, start)
        found.append((key, value, *(len(plain[:place].encode()) for place in (start, end, key_at))))
        at = skip(plain, end)
        at = skip(plain, at + 1) if plain[at] == "," else at
    return found


def skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


@given(objects())
@settings(max_examples=300, deadline=None, database=None)
def test_members_are_those_of_the_reference(text: bytes) -> None:
    assert list(splice.members(text)) == [(key, start, end, at) for key, _, start, end, at in reference(text)]


@given(objects(), KEYS)
@settings(max_examples=300, deadline=None, database=None)
def test_the_first_member_of_a_name_is_located(text: bytes, key: str) -> None:
    expected = next(((start, end) for name, _, start, end, _ in reference(text) if name == key), None)
    assert splice.locate(text, key) == expected


def twice(text: bytes) -> str | None:
    """The first key that occurs twice, found as requests are read: a plain text is not walked."""
    return None if splice.is_plain(text, orjson.loads(text)) else splice.duplicate(text)


@given(objects())
@settings(max_examples=300, deadline=None, database=None)
def test_in_a_plain_text_each_member_is_found_where_it_stands(text: bytes) -> None:
    if splice.is_plain(text, orjson.loads(text)):
        for name, _, start, end, _ in reference(text):
            assert splice.locate_plain(text, name) == (start, end)


def test_the_plain_text_of_a_request_is_plain() -> None:
    text = b'{"messages":[{"content":"\\"model\\": 1"}],"model": "a", "stream":true,"stream_options":{"b":[]}}'
    assert splice.is_plain(text, orjson.loads(text))
    for key, value in (("model", b'"a"'), ("stream", b"true"), ("stream_options", b'{"b":[]}')):
        assert text[slice(*splice.locate_plain(text, key))] == value


@given(objects())
@settings(max_examples=300, deadline=None, database=None)
def test_a_duplicate_is_found_when_there_is_one_and_only_then(text: bytes) -> None:
    names = [key for key, *_ in reference(text)]
    expected = next((name for at, name in enumerate(names) if name in names[:at]), None)
    assert twice(text) == expected


@given(objects(), KEYS, st.text(max_size=20))
@settings(max_examples=200, deadline=None, database=None)
def test_an_edit_changes_its_span_and_nothing_else(text: bytes, key: str, value: str) -> None:
    at = splice.locate(text, key)
    if at is None:
        return
    changed = splice.apply(text, [(*at, orjson.dumps(value))])
    assert (changed[: at[0]], changed[len(changed) - len(text) + at[1] :]) == (text[: at[0]], text[at[1] :])
    first = next(given for name, given, *_ in reference(changed) if name == key)
    assert first == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"\\u006dodel":"x"}', b'"x"'),
        (b'{"\\u006dode\\u006C" : 1 , "b":2}', b"1"),
        (b'{"a":"\\"model\\": 1","model":2}', b"2"),
        (b'{"a":"model","b":"model", "model" :3}', b"3"),
        (b'{"a":{"model":1},"model":{"model":4}}', b'{"model":4}'),
        (b'{"a":["model"],"model":"]}"}', b'"]}"'),
        (b'{"a":"}{","model":[1,"]",{"x":"[{"}]}', b'[1,"]",{"x":"[{"}]'),
        (b'{"a":"\\\\","model":5}', b"5"),
        (b'{"a":"\\\\\\"model\\":","model":6}', b"6"),
        (b'\n{ "model":-1.5e+3}', b"-1.5e+3"),
        (b'{"model":null}', b"null"),
    ],
)
def test_the_value_of_model_is_found_in(text: bytes, value: bytes) -> None:
    at = splice.locate(text, "model")
    assert at is not None
    assert text[slice(*at)] == value


@pytest.mark.parametrize(
    "text", [b"{}", b'{"a":"model"}', b'{"a":{"model":1}}', b'{"a":"\\"model\\":1"}', b'{"Model":1}']
)
def test_no_model_is_found_in(text: bytes) -> None:
    assert splice.locate(text, "model") is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","\\u006dodel":"b"}', "model"),
        (b'{"a/b":1,"a\\/b":2}', "a/b"),
        ('{"ж":1,"\\u0436":2}'.encode(), "ж"),
        (b'{"":1,"":2}', ""),
        (b'{"a\\"":1,"a\\u0022":2}', 'a"'),
        (b'{"a\\\\":1,"a\\\\":2,"b":"a\\""}', "a\\"),
    ],
)
def test_a_key_spelled_in_two_ways_is_still_a_duplicate(text: bytes, key: str) -> None:
    assert twice(text) == key


@pytest.mark.parametrize("text", [b'{"a":"a"}', b'{"a":{"a":1}}', b'{"a":"\\"a\\":1"}', b'{"a":1,"A":2}', b"{}"])
def test_a_key_that_only_looks_repeated_is_none(text: bytes) -> None:
    assert twice(text) is None


def test_many_edits_are_made_in_the_order_of_the_text() -> None:
    assert splice.apply(b"0123456789", [(8, 9, b"Z"), (1, 3, b""), (5, 5, b"+")]) == (b"034+567Z9")


@pytest.mark.timeout(20)
def test_many_keys_and_many_escapes_are_read_in_one_pass() -> None:
    """With a count per key, or a match frame per escape, either text would take minutes or gigabytes."""
    many = {f"key{number:06}": "x" * 20 for number in range(100_000)}
    assert twice(orjson.dumps(many)) is None
    text = b'{"x":"{' + b"\\n" * 8_000_000 + b'","model":"m"}'
    assert splice.locate(text, "model") == (len(text) - 4, len(text) - 1)
