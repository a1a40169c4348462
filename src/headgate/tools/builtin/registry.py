"""The tools that come with the gateway, by group. A tool that needs more than its arguments has a port."""

from typing import Any

from headgate.tools.builtin.calculator import CALCULATOR
from headgate.tools.builtin.clock import CLOCK
from headgate.tools.builtin.discovery import list_models_tool
from headgate.tools.builtin.image import image_tool
from headgate.tools.builtin.memory import memory_tools
from headgate.tools.builtin.query import JSON_QUERY
from headgate.tools.builtin.question import ASK_USER
from headgate.tools.builtin.rag import rag_tools
from headgate.tools.builtin.text import TEXT_STATS
from headgate.tools.builtin.web import web_tools
from headgate.tools.confirm import Confirmations
from headgate.tools.ports import Ports
from headgate.tools.settings import ToolSettings
from headgate.tools.types import Tool

SWITCHES = {
    "web_fetch": "tools.web.fetch",
    "web_search": "tools.web.search",
    "image_generate": "tools.image_model",
}
"""Tools that are there only where a setting says so, with its path."""
COMPUTE: tuple[Tool, ...] = (CALCULATOR, *CLOCK, TEXT_STATS, JSON_QUERY)


def builtin_tools(settings: ToolSettings, ports: Ports) -> list[Tool]:
    """Those that the settings and the ports make possible."""
    tools = [*COMPUTE, ASK_USER, *web_tools(settings.web)]
    if settings.image_model and ports.make_image is not None:
        tools.append(image_tool(settings.image_model, ports.make_image))
    if ports.list_models is not None:
        tools.append(list_models_tool(ports.list_models))
    if ports.memories is not None:
        tools += memory_tools(ports.memories)
    if ports.shelves is not None and ports.confirmations is not None:
        tools += rag_tools(ports.shelves, ports.confirmations)
    return tools


def known_tools(settings: ToolSettings) -> dict[str, str]:
    """The names of those that there are with these settings, each with its group."""
    tools = [tool.info for tool in builtin_tools(settings, _ANY)]
    return {name: one.group for one in tools for name in (one.name, *one.aliases)}


async def _never(*_: Any) -> Any:
    raise NotImplementedError("These tools are looked at, not called.")


class _Never:
    write = read = search = page = delete = staticmethod(_never)
    indices = index = create = drop = documents = document = add = update = remove = query = staticmethod(_never)


_ANY = Ports(_never, _never, _Never(), _Never(), Confirmations(b""))
