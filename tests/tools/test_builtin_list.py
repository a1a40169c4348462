"""All tools that come with the gateway: their names, groups, schemas and hints, and that each is tested."""

import re
from pathlib import Path

import jsonschema
import pytest

from headgate.tools.builtin.function import FunctionTool, builtin, schema
from headgate.tools.builtin.registry import _ANY, builtin_tools, known_tools
from headgate.tools.policy import named
from headgate.tools.registry import Registry
from headgate.tools.settings import ToolSettings
from headgate.tools.types import ToolResult
from tests.requirements import covers

pytestmark = covers("101")
EVERYTHING = ToolSettings.model_validate({"image_model": "painter", "web": {"search": {"url": "http://127.0.0.1:9"}}})
GROUPS = {
    "compute": ("calculator", "current_time", "date_math", "text_stats", "json_query"),
    "web": ("web_fetch", "web_search"),
    "image": ("image_generate",),
    "discovery": ("list_models",),
    "memory": ("memory_write", "memory_read", "memory_search", "memory_list", "memory_delete"),
    "rag": (
        *("rag_query", "rag_list_indices", "rag_create_index", "rag_get_index", "rag_delete_index"),
        *("rag_list_documents", "rag_get_document", "rag_add_document", "rag_update_document", "rag_delete_document"),
    ),
    "question": ("ask_user",),
}
DESTROYING = {"memory_delete", "rag_delete_index", "rag_update_document", "rag_delete_document"}
TOOLS = {tool.info.name: tool for tool in builtin_tools(EVERYTHING, _ANY)}


def test_there_are_these_tools_in_six_groups_and_a_question() -> None:
    found = {group: tuple(name for name, one in TOOLS.items() if one.info.group == group) for group in GROUPS}
    assert {group: set(names) for group, names in found.items()} == {group: set(one) for group, one in GROUPS.items()}
    assert len(TOOLS) == 23 + len(("memory_search", "ask_user"))


@pytest.mark.parametrize("name", TOOLS)
def test_each_has_words_a_strict_schema_and_says_what_it_may_do(name: str) -> None:
    info = TOOLS[name].info
    jsonschema.Draft202012Validator.check_schema(info.parameters)
    assert info.description.endswith(".")
    assert info.parameters["type"] == "object"
    assert info.parameters["additionalProperties"] is False
    assert all("description" in one for one in info.parameters["properties"].values())
    assert info.hints.read_only is not None
    assert info.hints.destructive is (name in DESTROYING)
    assert bool(info.confirms) is (name in DESTROYING and name.startswith("rag_"))


@pytest.mark.parametrize("name", TOOLS)
def test_each_is_called_in_some_test(name: str) -> None:
    calls = re.compile(rf"""(?:\(|, |use\(gateway, ){re.escape('"' + name + '"')}[,)]""")
    others = [path for path in Path(__file__).parents[1].rglob("test_*.py") if path != Path(__file__)]
    assert any(calls.search(path.read_text()) for path in others)


async def test_the_clocks_former_name_is_understood_everywhere_and_listed_nowhere() -> None:
    registry = Registry(builtin_tools(EVERYTHING, _ANY))
    assert "get_current_time" not in {tool.info.name for tool in registry}
    former = registry.get("get_current_time")
    assert former is not None
    assert former.info.name == "get_current_time"  # as whoever asks for it calls it
    assert "get_current_time" in known_tools(EVERYTHING)
    assert [tool.info.name for tool in registry.chosen(["get_current_*"])] == ["current_time"]
    assert named(TOOLS["current_time"].info, ["get_current_time"])


def test_a_plug_in_may_not_take_a_former_name_unseen() -> None:
    own = FunctionTool(builtin("get_current_time", "Mine.", schema(), ""), lambda *_: ToolResult("mine"))
    registry = Registry([*builtin_tools(EVERYTHING, _ANY), own])
    assert registry.get("get_current_time") is own
