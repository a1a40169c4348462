"""What else there is to ask."""

from collections.abc import Mapping
from typing import Any

from headgate.tools.builtin.function import FunctionTool, builtin, schema, text
from headgate.tools.ports import ListModels
from headgate.tools.types import Caller, ToolResult

_MOST = 500


def list_models_tool(names_for: ListModels) -> FunctionTool:
    async def list_models(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        wanted = arguments.get("contains", "").lower()
        names = [name for name in await names_for(caller.who) if wanted in name.lower()]
        more = [f"[{len(names) - _MOST} more]"] if len(names) > _MOST else []
        return ToolResult("\n".join([*names[:_MOST], *more]) or "There are none.", structured={"models": names[:_MOST]})

    return FunctionTool(
        builtin(
            "list_models",
            "The names of the models and agents that may be used here.",
            schema("contains", contains=text("Only names that hold this.")),
            "discovery",
        ),
        list_models,
    )
