"""Arguments against a tool's schema: the field is named, and a schema that means harm costs nothing."""

import time
from typing import Any

import pytest

from headgate.tools.arguments import problem
from tests.requirements import covers
from tests.tools.calling import call

pytestmark = covers("arguments")
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "days": {"type": "integer", "minimum": 1},
        "unit": {"enum": ["C", "F"]},
        "at": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "city"),
        ({"city": 5}, "city"),
        ({"city": "x"}, "city"),
        ({"city": "Rome", "days": "2"}, "days"),
        ({"city": "Rome", "days": 0}, "days"),
        ({"city": "Rome", "unit": "K"}, "unit"),
        ({"city": "Rome", "at": {}}, "at.lat"),
        ({"city": "Rome", "tags": ["a", 1]}, "tags.1"),
        ({"city": "Rome", "town": "Rome"}, "town"),
    ],
)
def test_the_field_at_fault_is_named(arguments: dict[str, Any], field: str) -> None:
    found = problem(SCHEMA, arguments)
    assert found is not None
    assert found[0] == field


def test_good_arguments_have_no_problem() -> None:
    assert problem(SCHEMA, {"city": "Rome", "days": 2, "unit": "C", "at": {"lat": 1}, "tags": []}) is None
    assert problem({}, {"anything": 1}) is None


async def test_a_model_is_told_the_field_and_the_tool_does_not_run() -> None:
    result = await call("calculator", expresion="1+1")
    assert result.text == "Error: The argument 'expression' is not right: it is required."
    assert result.failed


def doubling(levels: int) -> dict[str, Any]:
    """Each level asks for the next one twice."""
    parts = {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(levels)}
    return {"$defs": {**parts, f"d{levels}": {"type": "object"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$dynamicRef": "#"},
        {"properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
        {"patternProperties": {"(a+)+$": {"type": "integer"}}},
        {"type": "nonsense"},
        {"type": 5},
        {"properties": []},
        {"$schema": "http://unknown.test/schema"},
        doubling(40),
    ],
    ids=range(13),
)
def test_a_schema_that_cannot_be_used_finds_nothing_wrong_and_ends_at_once(schema: dict[str, Any]) -> None:
    began = time.perf_counter()
    assert problem(schema, {"a": "a" * 40 + "!", "a" * 40 + "!": 1}) is None
    assert time.perf_counter() - began < 1


def test_older_drafts_are_checked_by_their_own_rules() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"n": {"type": "integer"}},
        "properties": {"a": {"$ref": "#/definitions/n"}},
    }
    found = problem(schema, {"a": "x"})
    assert found is not None
    assert found[0] == "a"
