"""The agents' side: tools of every source in one registry, which of them each agent has, and the strategies."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from headgate.agents.book import Agents
from headgate.agents.prompts import Prompts
from headgate.agents.reasoner import Reasoner
from headgate.agents.types import AgentSettings
from headgate.config.secrets import may_be_secret
from headgate.config.tree import Settings
from headgate.core.run import Run
from headgate.pipeline.classify import Classifier
from headgate.pipeline.context import Deps
from headgate.telemetry.redact import conceal
from headgate.tools.mcp_pool import McpPool
from headgate.tools.registry import Registry
from headgate.tools.types import Tool

log = logging.getLogger(__name__)


def steer_with(deps: Deps, settings: Settings, registry: Registry, mcp: McpPool | None) -> None:
    """Hand the pipeline what it needs for runs that the gateway steers itself."""
    strategies = settings.strategies
    deps.agents = Agents(settings.agents) if settings.agents else None
    deps.toolbox = toolbox_of(registry, mcp)
    deps.prompts = Prompts(Path(strategies.prompts) if strategies.prompts else None)
    deps.reasoner = Reasoner(strategies.reasoning)
    deps.step_temperature = strategies.reasoning.temperature
    deps.calls_tools = _calls_tools(settings, deps)
    if strategies.classifier.model is not None:
        deps.classify = Classifier(strategies.classifier, deps.prompts).classify


def mcp_of(settings: Settings, folder: Path | None) -> McpPool | None:
    """The MCP servers, none of them connected yet; None where none is set."""
    if not settings.mcp.servers:
        return None
    for server in settings.mcp.servers.values():
        for value in server.headers.values():
            conceal(value.removeprefix("Bearer ").strip())
        for name, value in server.env.items():
            if may_be_secret(name):
                conceal(value)
    return McpPool(settings.mcp, folder)


def toolbox_of(registry: Registry, mcp: McpPool | None) -> Callable[[AgentSettings, Run], Awaitable[Sequence[Tool]]]:
    """Which of the gateway's tools an agent has."""

    async def toolbox(agent: AgentSettings, run: Run) -> Sequence[Tool]:
        wanted = [one if isinstance(one, str) else one["function"]["name"] for one in agent.tools]
        listed = [tool for name in wanted if (tool := registry.get(name)) is not None]
        grouped = [tool for tool in registry if tool.info.group in agent.tool_groups and tool not in listed]
        if mcp is None:
            return [*listed, *grouped]
        return [*listed, *grouped, *await _of_mcp(agent, run, mcp, wanted)]

    return toolbox


def _calls_tools(settings: Settings, deps: Deps) -> Callable[[str], bool]:
    """As set; else what is known of the model's capabilities."""
    steps = settings.strategies.reasoning.steps

    def calls_tools(name: str) -> bool:
        if steps != "auto":
            return steps == "tools"
        model = deps.catalog.configured(name)
        return bool(model and model.settings and model.settings.capabilities.tools)

    return calls_tools


def offered_of(registry: Registry, mcp: McpPool | None) -> Callable[[], Awaitable[Sequence[Tool]]]:
    """All tools that the gateway may offer to others: its own, and those of the MCP servers that are up."""

    async def offered() -> Sequence[Tool]:
        if mcp is None:
            return [*registry]
        used = [name for name, one in mcp.servers.items() if one.settings.enabled]
        return [*registry, *(await mcp.tools_of(used, lenient=True)).tools]

    return offered


async def _of_mcp(agent: AgentSettings, run: Run, mcp: McpPool, wanted: Sequence[str]) -> Sequence[Tool]:
    """Those of the servers that the agent names, then those that it names one by one."""
    found = await mcp.tools_of(agent.mcp_servers)
    singly = await mcp.named(name for name in wanted if name.startswith("mcp_"))
    tools: dict[str, Tool] = {tool.info.name: tool for tool in (*found.tools, *singly.tools)}
    for server, why in (found.absent | singly.absent).items():
        run.absent[server] = why
        log.warning("agent %s goes on without MCP server %s: %s", agent.name, server, why)
    return list(tools.values())
