"""All MCP servers, and which of their tools somebody has who names servers or tools."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from headgate.core.tool_errors import McpNotFound, McpUnavailable
from headgate.tools.mcp_client import McpServer, McpTool
from headgate.tools.mcp_names import candidates, matches, passes
from headgate.tools.mcp_types import McpSettings, McpStatus


class Filter(Protocol):
    """Patterns of tools' own names; the whitelist comes first."""

    whitelist: list[str]
    blacklist: list[str]


class Found(NamedTuple):
    """Tools, and why those of some servers are absent, by server."""

    tools: list[McpTool]
    absent: dict[str, str]


class McpPool:
    """`folder` is where logins are kept. Servers that are set as in a former pool are taken from it, as they are."""

    def __init__(self, settings: McpSettings, folder: Path | None = None, former: "McpPool | None" = None) -> None:
        names = list(settings.servers)
        # the names of tools depend on those of all servers
        known: Mapping[str, McpServer] = (
            former.servers if former is not None and set(former.servers) == set(names) else {}
        )
        self.servers: dict[str, McpServer] = {
            name: known[name] if name in known and known[name].settings == one else McpServer(name, one, names, folder)
            for name, one in settings.servers.items()
        }

    async def tools_of(self, wanted: Mapping[str, Filter | None] | Iterable[str], *, lenient: bool = False) -> Found:
        """The tools of some servers, in their order; all are asked at once.

        Raises McpUnavailable for one that is down and `required`, unless `lenient`; McpNotFound for one that is not
        set.
        """
        filters = wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted)
        servers = [self.server(name) for name in filters]
        lists = await asyncio.gather(*(one.tools() for one in servers), return_exceptions=True)
        tools: list[McpTool] = []
        absent: dict[str, str] = {}
        for server, filter_, found in zip(servers, filters.values(), lists, strict=True):
            if isinstance(found, McpUnavailable) and (lenient or not server.settings.required):
                absent[server.name] = found.message
            elif isinstance(found, BaseException):
                raise found
            else:
                tools += (one for one in found if _passes(one, filter_))
        return Found(tools, absent)

    async def named(self, names: Iterable[str]) -> Found:
        """Tools by the names that models call them by, or patterns of these; what means none is passed over."""
        wanted = dict.fromkeys(names)
        servers = [server for name in wanted for server in candidates(name, self.servers)]
        found = await self.tools_of(dict.fromkeys(servers))
        return Found([one for one in found.tools if matches(one.info.name, wanted)], found.absent)

    def server(self, name: str) -> McpServer:
        """Raises McpNotFound."""
        if name not in self.servers:
            raise McpNotFound(f"There is no MCP server '{name}'. Servers: {', '.join(self.servers) or 'none'}.")
        return self.servers[name]

    def statuses(self) -> list[McpStatus]:
        return [server.status() for server in self.servers.values()]

    async def close(self) -> None:
        """End every connection and child."""
        await asyncio.gather(*(server.close() for server in self.servers.values()))


def _passes(tool: McpTool, filter_: Filter | None) -> bool:
    return filter_ is None or passes(tool.info.origin, filter_.whitelist, filter_.blacklist)
