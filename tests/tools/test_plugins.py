"""Python plug-ins: functions become tools, and one that cannot be loaded is named with its line."""

import logging
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from headgate.core.errors import StartupError
from headgate.tools.loading import plugins
from headgate.tools.runner import ToolBounds, run_tool
from headgate.tools.types import Tool, ToolResult
from tests.requirements import covers
from tests.tools.calling import WHO

pytestmark = covers("104")
GOOD = '''
from dataclasses import dataclass
from typing import Annotated, Literal
from pydantic import BaseModel, Field
from headgate.tools.plugin import Caller, ToolResult, tool
from headgate.tools.types import ToolInfo


class Place(BaseModel):
    lat: float


@tool(read_only=True, group="demo")
async def shout(text: Annotated[str, Field(description="What to say.")], times: int = 1) -> str:
    """Say something loudly.

    As often as wanted.
    """
    return text.upper() * times


@tool
def describe(place: Place, unit: Literal["C", "F"] = "C", *, caller: Caller) -> dict:
    return {"lat": place.lat, "unit": unit, "by": caller.who.key_id}


@tool(name="broken", destructive=False)
def broken_one() -> str:
    raise RuntimeError("no luck")


@dataclass
class Handmade:
    info: ToolInfo = ToolInfo("handmade", "By hand.", {"type": "object"}, "plugin")

    async def call(self, arguments, caller):
        return ToolResult("made")


handmade = Handmade()
'''


def folder(tmp_path: Path, **files: str) -> str:
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    return str(tmp_path)


def loaded(tmp_path: Path, /, *, skip: bool = False, **files: Any) -> dict[str, Tool]:
    found = plugins(folder(tmp_path, **files), packages=False, skip_broken=skip)
    return {tool.info.name: tool for tool in found}


async def run(tool: Tool, **arguments: Any) -> ToolResult:
    return await run_tool(tool, arguments, WHO, ToolBounds())


def test_a_function_is_a_tool_with_a_schema_of_its_hints(tmp_path: Path) -> None:
    tools = loaded(tmp_path, good=GOOD, _hidden="raise RuntimeError")
    assert list(tools) == ["shout", "describe", "broken", "handmade"]
    info = tools["shout"].info
    assert (info.source, info.group, info.hints.read_only) == ("plugin", "demo", True)
    assert info.description == "Say something loudly.\n\nAs often as wanted."
    assert info.parameters == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What to say."},
            "times": {"type": "integer", "default": 1},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    assert "caller" not in tools["describe"].info.parameters["properties"]


async def test_plug_ins_are_called_with_what_their_hints_say(tmp_path: Path) -> None:
    tools = loaded(tmp_path, good=GOOD)
    assert (await run(tools["shout"], text="hi", times=2)).text == "HIHI"
    described = await run(tools["describe"], place={"lat": 1})
    assert described.structured == {"lat": 1.0, "unit": "C", "by": "key_test"}
    assert (await run(tools["handmade"])).text == "made"


async def test_what_goes_wrong_in_a_plug_in_is_a_failed_result(tmp_path: Path) -> None:
    tools = loaded(tmp_path, good=GOOD)
    failed = await run(tools["broken"])
    assert (failed.failed, failed.text) == (True, "Error: The tool failed: RuntimeError: no luck")
    assert "'times'" in (await run(tools["shout"], text="hi", times="often")).text
    assert "place.lat" in (await run(tools["describe"], place={"lat": "north"})).text


BROKEN = {
    "syntax": ("x = 1\ndef f(:\n", "line 2"),
    "raises": ("x = 1\n\n1 / 0\n", "line 3: ZeroDivisionError"),
    "missing": ("import nothing_of_that_name\n", "line 1: ModuleNotFoundError"),
    "deeper": ("def f():\n    raise KeyError('x')\n\n\nf()\n", "line 2: KeyError"),
    "empty": ("x = 1\n", "holds no tool"),
    "untyped": ("from headgate.tools.plugin import tool\n\n@tool\ndef f(a):\n    pass\n", "parameter 'a'"),
    "stars": ("from headgate.tools.plugin import tool\n\n@tool\ndef f(*a: int):\n    pass\n", "'a', which has no name"),
    "named": ("from headgate.tools.plugin import tool\n\n@tool(name='a b')\ndef f():\n    pass\n", "named 'a b'"),
    "ends": ("raise SystemExit(3)\n", "SystemExit"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_plug_in_that_cannot_be_loaded_stops_the_start_with_file_and_line(name: str, tmp_path: Path) -> None:
    text, why = BROKEN[name]
    with pytest.raises(StartupError, match=why) as told:
        plugins(folder(tmp_path, **{name: text}), packages=False, skip_broken=False)
    assert f"{name}.py" in str(told.value)


def test_broken_plug_ins_are_left_out_and_logged_when_set_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        tools = loaded(tmp_path, skip=True, good=GOOD, bad="1 / 0", empty="")
    assert "shout" in tools
    assert "bad.py, line 1: ZeroDivisionError" in caplog.text
    assert "empty.py" in caplog.text


def test_a_folder_that_is_not_there_is_an_error() -> None:
    with pytest.raises(StartupError, match=r"tools\.folder"):
        plugins("/nowhere/at/all", packages=False, skip_broken=True)


@pytest.mark.parametrize("what", ["", ":shout", ":TOOLS", ":Handmade"])
def test_packages_offer_a_module_a_tool_a_list_or_a_class(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / f"offered{len(what)}.py"
    package.write_text(f"{GOOD}\nTOOLS = [shout, describe]\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", f"{package.stem}{what}", "headgate.tools")
    monkeypatch.setattr("headgate.tools.loading.entry_points", lambda group: [point])
    found = [tool.info.name for tool in plugins(None, packages=True, skip_broken=False)]
    expected = {
        "": ["shout", "describe", "broken", "handmade"],
        ":shout": ["shout"],
        ":TOOLS": ["shout", "describe"],
        ":Handmade": ["handmade"],
    }
    assert found == expected[what]


def test_an_offer_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("mine", "nothing_of_that_name:x", "headgate.tools")]
    monkeypatch.setattr("headgate.tools.loading.entry_points", lambda group: points)
    with pytest.raises(StartupError, match=r"'mine' of a package \(nothing_of_that_name:x\)"):
        plugins(None, packages=True, skip_broken=False)
