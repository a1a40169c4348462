"""The tools of a Responses request as values, and back; and the names of tools that stand in a namespace.

No other API knows namespaces: what stands in one is offered under one flat name, which is turned back where the model
calls it. Pure: knows nothing of items and answers.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from headgate.core.chat_request import Choice, ForeignTool, Function
from headgate.core.errors import InvalidField
from headgate.dialects.fields import Losses, array, mapping

_FUNCTION = frozenset(("type", "name", "description", "parameters", "strict"))
_MODES = ("auto", "none", "required")
_LONGEST_NAME = 64
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


class Home(NamedTuple):
    """Where a flat name comes from."""

    namespace: str
    name: str


def flat_name(namespace: str, name: str) -> str:
    """One name for a tool in a namespace: what all APIs take, the same each time, and another one for another tool."""
    joined = f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"
    if len(joined) <= _LONGEST_NAME and not _UNFIT.search(joined):
        return joined
    digest = hashlib.sha256(f"{namespace}\0{name}".encode()).hexdigest()[:8]
    return f"{_UNFIT.sub('_', joined)[: _LONGEST_NAME - 9]}_{digest}"


def parse_tools(told: object) -> tuple[Function | ForeignTool, ...]:
    """Raises InvalidField naming the tool that cannot be read."""
    if told is None:
        return ()
    tools: list[Function | ForeignTool] = []
    for number, tool in enumerate(array(told, "tools")):
        where = f"tools[{number}]"
        kind = mapping(tool, where).get("type")
        if kind == "function" or (kind is None and "name" in tool):
            tools.append(_function(where, tool))
        elif kind == "namespace" and _is_flat(tool):
            tools += _namespace(where, tool)
        else:
            tools.append(ForeignTool(tool))
    return tuple(tools)


def homes(told: object) -> dict[str, Home]:
    """The tools of a request that stand in namespaces, by their flat names."""
    found = {}
    for tool in told if isinstance(told, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "namespace" and _is_flat(tool):
            home = str(tool.get("name") or "")
            for inner in tool["tools"]:
                found[flat_name(home, str(inner.get("name")))] = Home(home, str(inner.get("name")))
    return found


def parse_choice(told: object) -> Choice | None:
    """`allowed_tools` is a hard limit: a list that holds none of the caller's functions forbids them all."""
    if told is None:
        return None
    if told in _MODES:
        return Choice(told)  # type: ignore[arg-type]
    if not isinstance(told, dict):
        expected = "'auto', 'none', 'required' or an object with a 'type'"
        raise InvalidField(f"The field 'tool_choice' must be {expected}.", param="tool_choice")
    kind = told.get("type")
    if kind == "function":
        return Choice("required", _named("tool_choice", told))
    if kind != "allowed_tools":
        return Choice(beside=told)
    mode: Any = told.get("mode") or "auto"
    if mode not in _MODES:
        raise InvalidField("The field 'tool_choice.mode' must be 'auto', 'none' or 'required'.", param="tool_choice")
    listed = [
        mapping(tool, f"tool_choice.tools[{number}]")
        for number, tool in enumerate(array(told.get("tools"), "tool_choice.tools"))
    ]
    names = tuple(_named("tool_choice.tools", tool) for tool in listed if tool.get("type") == "function")
    others = [tool for tool in listed if tool.get("type") != "function"]
    beside = {"tools": others} if others else {}
    return Choice(mode, among=names, beside=beside) if names else Choice("none", beside=beside)


def render_tools(tools: Iterable[Function | ForeignTool], own: bool, lost: Losses) -> list[dict[str, Any]]:
    """`own`: they come from this API, so that what only it knows is written back."""
    rendered = []
    for number, tool in enumerate(tools):
        if isinstance(tool, ForeignTool):
            if own:
                rendered.append(dict(tool.fields))
            else:
                lost.add(f"tools[{number}]")
            continue
        fields: dict[str, Any] = {"type": "function", "name": tool.name}
        if tool.description:
            fields["description"] = tool.description
        fields["parameters"] = tool.schema
        # Left out, it means true here and false elsewhere.
        if tool.strict is not None or not own:
            fields["strict"] = bool(tool.strict)
        if own:
            fields |= tool.beside
        else:
            lost.beside(tool.beside, f"tools[{number}].")
        rendered.append(fields)
    return rendered


def render_choice(choice: Choice, own: bool, lost: Losses) -> str | dict[str, Any] | None:
    """None where nothing is left to be said."""
    if choice.beside and not own:
        lost.add("tool_choice")
    if choice.among:
        others = choice.beside.get("tools", []) if own else []
        tools = [{"type": "function", "name": name} for name in choice.among]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": [*tools, *others]}
    if choice.name:
        return {"type": "function", "name": choice.name}
    if own and "type" in choice.beside:
        return dict(choice.beside)
    if own and "tools" in choice.beside:
        return {"type": "allowed_tools", "mode": "auto", "tools": choice.beside["tools"]}
    return choice.mode


def _function(where: str, tool: Mapping[str, Any]) -> Function:
    """Also as chat completions have it, one level deeper, for clients take the one for the other."""
    inner = tool.get("function")
    if isinstance(inner, dict) and "name" not in tool:
        tool = {**tool, **inner}
        del tool["function"]
    name, schema, strict = _name(where, tool), tool.get("parameters"), tool.get("strict")
    if schema is not None and type(schema) is not dict:
        raise InvalidField(f"The field '{where}.parameters' must be an object.", param=f"{where}.parameters")
    if strict is not None and type(strict) is not bool:
        raise InvalidField(f"The field '{where}.strict' must be true or false.", param=f"{where}.strict")
    beside = {key: value for key, value in tool.items() if key not in _FUNCTION}
    return Function(name, str(tool.get("description") or ""), schema, strict, beside)


def _namespace(where: str, tool: Mapping[str, Any]) -> list[Function]:
    """What is said of the namespace as a whole goes to the first of its tools."""
    home, about = _name(where, tool), str(tool.get("description") or "")
    found = []
    for number, inner in enumerate(tool["tools"]):
        function = _function(f"{where}.tools[{number}]", inner)
        description = "\n\n".join(filter(None, (about, function.description)))
        about = ""
        found.append(
            Function(flat_name(home, function.name), description, function.schema, function.strict, function.beside)
        )
    return found


def _is_flat(tool: Mapping[str, Any]) -> bool:
    """Whether a namespace holds functions only."""
    inner = tool.get("tools")
    return isinstance(inner, list) and all(isinstance(one, dict) and one.get("type") == "function" for one in inner)


def _named(where: str, tool: Mapping[str, Any]) -> str:
    name = _name(where, tool)
    home = tool.get("namespace")
    return flat_name(home, name) if isinstance(home, str) and home else name


def _name(where: str, tool: Mapping[str, Any]) -> str:
    name = tool.get("name")
    if type(name) is not str or not name:
        raise InvalidField(f"The field '{where}.name' must be a string that is not empty.", param=f"{where}.name")
    return name
