"""The grammar of prompts: every kind of value, what is left alone, and what is refused with its line."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.agents.template import Faulty, ToolCall, parse
from tests.requirements import covers

pytestmark = covers("55")


def arguments(text: str) -> Any:
    [call] = parse(text).calls
    return dict(call.arguments)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"plain"', "plain"),
        ("'single'", "single"),
        ('"with ) inside"', "with ) inside"),
        ('"with }} inside"', "with }} inside"),
        ('"{{other()}}"', "{{other()}}"),
        (r'"a \"quoted\" word"', 'a "quoted" word'),
        (r"'it\'s'", "it's"),
        (r'"line\nbreak \\ \u00e4"', "line\nbreak \\ ä"),
        ('"two\nlines"', "two\nlines"),
        ('""', ""),
        ("0", 0),
        ("-7", -7),
        ("12.5", 12.5),
        ("-0.25", -0.25),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("[]", []),
        ('[1, -2, "a)", [true]]', [1, -2, "a)", [True]]),
        ("{}", {}),
        ('{"a": {"b": [null]}, "c": "}}"}', {"a": {"b": [None]}, "c": "}}"}),
    ],
)
def test_every_kind_of_value_is_read(written: str, value: Any) -> None:
    found = arguments("Before {{tool(x=" + written + ")}} after")["x"]
    assert (found, type(found)) == (value, type(value))


def test_space_does_not_matter_and_several_calls_keep_their_order() -> None:
    template = parse("A {{ one( a = 1 ,b= 'x' ) }}\nB {{two()}} C {{who}}")
    assert [(call.name, dict(call.arguments), call.line) for call in template.calls] == [
        ("one", {"a": 1, "b": "x"}, 1),
        ("two", {}, 2),
    ]
    assert template.filled(iter(["first", "{{two()}}"]), {"who": "{{x}}"}) == "A first\nB {{two()}} C {{x}}"


@pytest.mark.parametrize("text", ["", "plain {x} }}", '{"a": {"b": 1}}', '{{"a": 1}}', "{{}}", "{{ 1 + 1 }}", "{{{"])
def test_what_no_name_follows_is_plain_text(text: str) -> None:
    assert parse(text).filled(iter(()), {}) == text


def test_an_escaped_placeholder_is_plain_text() -> None:
    assert parse(r"write \{{tool()}} so").filled(iter(()), {}) == "write {{tool()}} so"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("{{tool(}}", 1, "name of an argument"),
        ("a\nb {{tool(x=)}}", 2, "Expected a text in quotes"),
        ("{{tool(x=yes)}}", 1, "not 'yes'"),
        ("{{tool(x=True)}}", 1, "not 'True'"),
        ("{{tool(x=1 y=2)}}", 1, "',' or ')'"),
        ("{{tool(x=1, x=2)}}", 1, "given twice"),
        ("{{tool(1)}}", 1, "name of an argument"),
        ("{{tool('a')}}", 1, "name of an argument"),
        ('{{tool(x="never ends)}}', 1, "does not end"),
        (r'{{tool(x="\q")}}', 1, "no escape"),
        ("{{tool(x=[1, 2)}}", 1, "',' or ']'"),
        ("{{tool(x={a: 1})}}", 1, "name in quotes"),
        ("{{tool(x=1)", 1, "'}}'"),
        ("{{tool(x=01)}}", 1, "number"),
        ("{{tool(x=1.2.3)}}", 1, "number"),
        ("{{tool(x=1e999)}}", 1, "too large"),
        ("{{tool(x=" + "[" * 40, 1, "too deeply"),
        ("{{name.attribute}}", 1, "'}}'"),
        ("{{name | filter}}", 1, "'}}'"),
        ("{{a + b}}", 1, "'}}'"),
        ("{{tool().__class__}}", 1, "'}}'"),
        ("{{unclosed", 1, "'}}'"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(Faulty) as caught:
        parse(text)
    assert caught.value.line == line
    assert words in caught.value.message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def written(value: Any) -> str:
    """A value in the grammar, by other means than the parser's."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return "{" + ", ".join(f"{written(key)} : {written(one)}" for key, one in value.items()) + "}"


@given(VALUES, st.text(alphabet="ab }\n", max_size=12))
def test_any_value_comes_out_as_it_was_written(value: Any, around: str) -> None:
    text = f"{around}{{{{tool(x={written(value)})}}}}"
    [call] = parse(text).calls
    assert call == ToolCall("tool", {"x": value}, call.line)


@given(st.text(alphabet='{}()=,"\\ab1-[]: \n', max_size=40))
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    try:
        template = parse(text)
    except Faulty as error:
        told = error.line
    else:
        told = 1
        values = dict.fromkeys((one.name for one in template.variables), "v")
        template.filled(iter(["r"] * len(template.calls)), values)
    assert 1 <= told <= text.count("\n") + 1
