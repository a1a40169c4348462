"""YAML as data with lines: variables, repeated keys and files that are none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.config.document import read
from headgate.config.draft import Draft
from headgate.config.problems import ConfigError, Problem
from tests.requirements import covers

pytestmark = covers("config")
Problems = Callable[[str], list[Problem]]
Write = Callable[[str], Path]


def expanded(file: Path, variables: dict[str, str]) -> Draft:
    """A file as a draft with its references replaced."""
    draft = read(file).draft()
    draft.expand(variables)
    return draft


def test_variables_are_replaced_wherever_text_stands(write: Write) -> None:
    file = write("a: ${ONE}\nb: ['x-${ONE}-${TWO:-two}', {c: '${ONE}${ONE}'}]\nd: $ONE ${ONE\ne: 5\nf: $${ONE}\n")
    draft = expanded(file, {"ONE": "1"})
    assert draft.data == {"a": "1", "b": ["x-1-two", {"c": "11"}], "d": "$ONE ${ONE", "e": 5, "f": "${ONE}"}
    assert not draft.problems


def test_references_are_kept_until_they_are_replaced(write: Write) -> None:
    assert read(write("a: ${ONE}\n")).draft().data == {"a": "${ONE}"}


@pytest.mark.parametrize(
    ("text", "environment", "value"),
    [
        ("${A:-x}", {}, "x"),
        ("${A:-x}", {"A": ""}, "x"),
        ("${A:-x}", {"A": "y"}, "y"),
        ("${A:-}", {}, ""),
        ("${A:-http://h:1/v1}", {}, "http://h:1/v1"),
        ("${A}", {"A": "${B}"}, "${B}"),
    ],
)
def test_a_default_counts_when_the_variable_is_unset_or_empty(
    write: Write, text: str, environment: dict[str, str], value: str
) -> None:
    draft = expanded(write(f"a: '{text}'"), environment)
    assert draft.data == {"a": value}
    assert not draft.problems


def test_an_unset_variable_is_named_with_its_place(write: Write) -> None:
    file = write("a: 1\nupstreams:\n  - api_key: ${MY_KEY}\n  - api_key: ${OTHER}-${MY_KEY}\n")
    found = expanded(file, {"OTHER": ""}).problems
    assert [(one.line, one.path, one.message) for one in found] == [
        (3, "upstreams[0].api_key", "The variable MY_KEY is not set."),
        (4, "upstreams[1].api_key", "The variable OTHER is not set."),
        (4, "upstreams[1].api_key", "The variable MY_KEY is not set."),
    ]
    assert "MY_KEY" in found[0].remedy


def test_a_repeated_key_is_told_with_the_line_of_the_second(problems: Problems) -> None:
    found = problems("server:\n  port: 1\n  host: x\n  port: 2\nserver: {}\n")
    assert [(one.line, one.path, one.message) for one in found] == [
        (4, "server.port", "The key occurs twice."),
        (5, "server", "The key occurs twice."),
    ]


def test_merge_keys_and_anchors_work(write: Write) -> None:
    document = read(write("x: &x {a: 1}\ny: {<<: *x, b: 2}\n"))
    assert document.data["y"] == {"a": 1, "b": 2}
    assert not document.problems


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("a: b: c\n", 1),
        ("a: 1\nb: !foo x\n", 2),
        ("? [a, b]\n: c\n", 1),
        ("- a\n- b\n", 1),
        ("just text", 1),
        ("a: 2024-13-45\n", 0),
        ("a: \x01", 0),
        ("a: *nowhere\n", 1),
    ],
)
def test_a_file_that_is_no_mapping_is_told_with_the_line(problems: Problems, text: str, line: int) -> None:
    (problem,) = problems(text)
    assert problem.line == line
    assert problem.file.endswith("headgate.yaml")
    assert problem.remedy


def test_a_file_that_cannot_be_read_is_told(place: Path) -> None:
    (place / "latin").write_bytes(b"a: \xff\n")
    (place / "huge").write_bytes(b"# " + b"x" * (5 << 20))
    for name, message in (
        ("missing", "No such file"),
        (".", "directory"),
        ("latin", "not UTF-8"),
        ("huge", "larger than 4 MiB"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(place / name)


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_an_empty_file_sets_nothing(write: Write, text: str) -> None:
    assert read(write(text)).data == {}


def test_an_anchor_that_holds_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "headgate.yaml").write_text("models: &a [*a]\n")
    with pytest.raises(ConfigError, match="without end"):
        read(tmp_path / "headgate.yaml")
