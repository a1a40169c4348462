"""A tool made of a function, and short words for the schemas of those that come with the gateway."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headgate.tools.types import Caller, Hints, ToolInfo, ToolResult

Function = Callable[[Mapping[str, Any], Caller], Awaitable[ToolResult] | ToolResult]
PURE = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """`function` takes the arguments, which were checked against the schema; a ValueError of its is told as it is."""

    info: ToolInfo
    function: Function

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        try:
            result = self.function(arguments, caller)
            return result if isinstance(result, ToolResult) else await result
        except ValueError as error:
            return ToolResult(f"Error: {error}.", failed=True)


def builtin(name: str, description: str, parameters: dict[str, Any], group: str, hints: Hints = PURE) -> ToolInfo:
    """What one of the gateway's own says of itself."""
    return ToolInfo(name, description, parameters, "builtin", group, hints)


def schema(*optional: str, **properties: Any) -> dict[str, Any]:
    """An object with these members and no others, all required but the `optional` ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def number(description: str, kind: str = "integer", **more: Any) -> dict[str, Any]:
    return {"type": kind, "description": description, **more}
