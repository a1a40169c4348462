"""A tool made of a function."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headgate.tools.types import Caller, ToolInfo, ToolResult

Function = Callable[[Mapping[str, Any], Caller], Awaitable[ToolResult] | ToolResult]


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """`function` takes the arguments, checked against nothing yet, and says what came of them."""

    info: ToolInfo
    function: Function

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        result = self.function(arguments, caller)
        return result if isinstance(result, ToolResult) else await result
