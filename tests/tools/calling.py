"""Calls a tool as a run would, and finds one by name."""

from typing import Any

from headgate.core.principal import Principal
from headgate.tools.builtin.registry import builtin_tools
from headgate.tools.ports import Ports
from headgate.tools.runner import ToolBounds, run_tool
from headgate.tools.settings import ToolSettings
from headgate.tools.types import Caller, Tool, ToolResult

WHO = Caller(Principal("key_test"), "req_test")


def found(name: str, settings: ToolSettings | None = None, ports: Ports | None = None) -> Tool:
    tools = {tool.info.name: tool for tool in builtin_tools(settings or ToolSettings(), ports or Ports())}
    return tools[name]


async def call(name: str, **arguments: Any) -> ToolResult:
    """One of the tools that need nothing else."""
    return await run_tool(found(name), arguments, WHO, ToolBounds())


async def said(name: str, **arguments: Any) -> str:
    """What it says; it must not fail."""
    result = await call(name, **arguments)
    assert not result.failed, result.text
    return result.text
