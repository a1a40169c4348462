"""Tools of one's own in Python: a function with type hints becomes a tool.

    from headgate.tools.plugin import tool

    @tool(read_only=True)
    async def weather(city: str, days: int = 1) -> str:
        \"\"\"The weather of a city.\"\"\"
        ...

The docstring is the description, the hints are the schema. A parameter hinted `Caller` is not part of it and is given
who calls. A result may be text, a ToolResult, or anything that becomes JSON. A class with `info` and `call`, as in
`types.Tool`, is a tool as well.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints, overload

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from headgate.tools.types import Caller, Hints, ToolInfo, ToolResult

__all__ = ["Caller", "Hints", "ToolResult", "tool"]
AnyFunction = Callable[..., Any]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class PluginTool:
    """A function, and what its hints say of it. One that is not async runs in a thread."""

    info: ToolInfo
    function: AnyFunction
    arguments: type[BaseModel]
    caller: str

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        try:
            read = self.arguments.model_validate(arguments)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            return ToolResult(f"Error: The argument '{where}' is not right: {first['msg']}.", failed=True)
        given = {name: getattr(read, name) for name in type(read).model_fields}
        if self.caller:
            given[self.caller] = caller
        if inspect.iscoroutinefunction(self.function):
            return _result(await self.function(**given))
        return _result(await asyncio.to_thread(self.function, **given))


@overload
def tool(function: AnyFunction, /) -> PluginTool: ...


@overload
def tool(
    *,
    name: str = "",
    description: str = "",
    group: str = "",
    read_only: bool | None = None,
    destructive: bool | None = None,
) -> Callable[[AnyFunction], PluginTool]: ...


def tool(
    function: AnyFunction | None = None,
    /,
    *,
    name: str = "",
    description: str = "",
    group: str = "",
    read_only: bool | None = None,
    destructive: bool | None = None,
) -> PluginTool | Callable[[AnyFunction], PluginTool]:
    """Make a tool of a function. A tool that says neither `read_only=True` nor `destructive=False` counts as one that
    may destroy something, whose calls wait for an approval under the policy `auto`.
    """
    hints = Hints(read_only, destructive)

    def made(function: AnyFunction) -> PluginTool:
        called = name or function.__name__
        said = inspect.cleandoc(description or function.__doc__ or "")
        arguments, caller = _arguments(function, called)
        info = ToolInfo(called, said, _schema(arguments), "plugin", group, hints)
        return PluginTool(info, function, arguments, caller)

    return made if function is None else made(function)


def _arguments(function: AnyFunction, name: str) -> tuple[type[BaseModel], str]:
    """The arguments as a model, and the name of the parameter that wants the caller."""
    hints = get_type_hints(function, include_extras=True)
    caller = ""
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"The tool '{name}' has the parameter '{parameter.name}', which has no name in a call.")
        if parameter.name not in hints:
            raise TypeError(f"The parameter '{parameter.name}' of the tool '{name}' has no type.")
        if hints[parameter.name] is Caller:
            caller = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    return create_model(name, __config__=_STRICT, **fields), caller


def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    schema = arguments.model_json_schema()
    schema.pop("title", None)
    for field in schema.setdefault("properties", {}).values():
        field.pop("title", None)
    return schema


def _result(value: object) -> ToolResult:
    if isinstance(value, ToolResult):
        return value
    if isinstance(value, str):
        return ToolResult(value)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    return ToolResult(text, structured=value if isinstance(value, dict) else None)
