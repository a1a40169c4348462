"""The JSON Schema for editors says what the tree says."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from headgate.config.schema import json_schema
from headgate.config.tree import Settings
from tests.requirements import covers

pytestmark = covers("schema")

TARGET = {"upstream": "a", "model": "b"}
GOOD: list[dict[str, Any]] = [
    {},
    {"server": {"port": 0, "workers": 2, "limits": {"body": 2048}}},
    {"auth": {"required": False, "master_key": "k", "tokens": ["a"]}},
    {"upstreams": [{"name": "a", "provider": "ollama", "headers": {"x": "y"}, "timeouts": {"read": 1}}]},
    {"models": [{"name": "m", "targets": [TARGET], "constraints": {"accepts_image_url": False}}]},
]
BAD: list[dict[str, Any]] = [
    {"x": 1},
    {"server": {"port": -1}},
    {"server": {"prot": 1}},
    {"server": []},
    {"auth": {"tokens": "a"}},
    {"upstreams": [{"name": "a/b", "provider": "ollama"}]},
    {"upstreams": [{"provider": "ollama"}]},
    {"models": [{"name": "m", "targets": []}]},
    {"models": [{"name": "", "targets": [TARGET]}]},
    {"models": [{"name": "m", "targets": [TARGET], "retries": 11}]},
]


def is_valid(data: dict[str, Any]) -> bool:
    valid: bool = Draft202012Validator(json_schema()).is_valid(data)
    return valid


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("data", GOOD)
def test_what_the_tree_takes_the_schema_takes(data: dict[str, Any]) -> None:
    Settings.model_validate(data)
    assert is_valid(data)


@pytest.mark.parametrize("data", BAD)
def test_what_the_tree_refuses_the_schema_refuses(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(data)
    assert not is_valid(data)


def test_an_unknown_provider_is_refused_by_the_schema() -> None:
    assert is_valid({"upstreams": [{"name": "a", "provider": "openai"}]})
    assert not is_valid({"upstreams": [{"name": "a", "provider": "opnai"}]})


def sections() -> Iterator[tuple[str, dict[str, Any]]]:
    schema = json_schema()
    yield "Settings", schema
    yield from ((name, section) for name, section in schema["$defs"].items() if "properties" in section)


@pytest.mark.parametrize(("name", "section"), list(sections()))
def test_every_section_is_closed_and_every_setting_says_what_it_is(name: str, section: dict[str, Any]) -> None:
    assert section["additionalProperties"] is False
    for setting, schema in section["properties"].items():
        assert "description" in schema or "$ref" in schema or setting in ("name", "targets"), f"{name}.{setting}"
