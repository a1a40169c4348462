"""The agents' side: which tools each agent has, of every source, what its prompt comes to, and the strategies."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from headgate.agents.book import Agents
from headgate.agents.orchestrator import Orchestrator
from headgate.agents.prompts import Prompts
from headgate.agents.reasoner import Reasoner
from headgate.agents.skills import Skills, load
from headgate.agents.template import Faulty
from headgate.agents.types import AgentSettings
from headgate.app.skills import reader_of
from headgate.app.tools import arm
from headgate.config.secrets import may_be_secret
from headgate.config.tree import Settings
from headgate.core.errors import StartupError
from headgate.core.run import Run
from headgate.pipeline.classify import Classifier
from headgate.pipeline.context import Deps, pass_through
from headgate.pipeline.passages import hand_over
from headgate.pipeline.system import FindTools, SystemPrompts
from headgate.pipeline.tools import defuses
from headgate.telemetry.redact import conceal
from headgate.tools.builtin.function import FunctionTool
from headgate.tools.mcp_pool import McpPool
from headgate.tools.registry import Registry
from headgate.tools.types import Tool

Toolbox = Callable[[AgentSettings, Run], Awaitable[Sequence[Tool]]]
log = logging.getLogger(__name__)


def steer_with(
    deps: Deps, settings: Settings, skills: Skills, registry: Registry, mcp: McpPool | None
) -> SystemPrompts:
    """Hand the pipeline what it needs for runs that the gateway steers itself; raises StartupError."""
    strategies = settings.strategies
    deps.agents = Agents(settings.agents) if settings.agents else None
    deps.toolbox = with_skills(toolbox_of(registry, mcp), skills, settings.agents)
    arm(deps, settings, registry)
    allowed = strategies.template_tools
    try:
        tools = find_tools(deps, registry)
        prompts = SystemPrompts(settings.agents, skills, tools, allowed, partial(defuses, deps=deps))
    except Faulty as error:
        raise StartupError(f"An agent's prompt is no template: {error.message}") from None
    deps.system_prompt = prompts
    deps.retrieve = hand_over
    deps.prompts = Prompts(Path(strategies.prompts) if strategies.prompts else None)
    deps.reasoner = Reasoner(strategies.reasoning)
    deps.step_temperature = strategies.reasoning.temperature
    deps.calls_tools = _calls_tools(settings, deps)
    deps.orchestrator = Orchestrator(strategies.orchestration)
    deps.keeps_schemas = partial(_keeps_schemas, deps)
    chooses = strategies.classifier.model is not None
    deps.classify = Classifier(strategies.classifier, deps.prompts).classify if chooses else pass_through
    return prompts


def mcp_of(settings: Settings, folder: Path | None, former: McpPool | None = None) -> McpPool | None:
    """The MCP servers, none of them connected but those of the former pool; None where none is set."""
    if not settings.mcp.servers:
        return None
    for server in settings.mcp.servers.values():
        for value in server.headers.values():
            conceal(value.removeprefix("Bearer ").strip())
        for name, value in server.env.items():
            if may_be_secret(name):
                conceal(value)
    return McpPool(settings.mcp, folder, former)


def toolbox_of(registry: Registry, mcp: McpPool | None) -> Toolbox:
    """Which of the gateway's tools an agent has."""

    async def toolbox(agent: AgentSettings, run: Run) -> Sequence[Tool]:
        def is_wanted(tool: Tool) -> bool:
            return any(name in wanted for name in (tool.info.name, *tool.info.aliases))

        told = {one["function"]["name"]: one["function"] for one in agent.tools if not isinstance(one, str)}
        wanted = [one if isinstance(one, str) else one["function"]["name"] for one in agent.tools]
        tools = [tool for name in wanted if (tool := registry.get(name)) is not None]
        tools += [tool for tool in registry if tool.info.group in agent.tool_groups and not is_wanted(tool)]
        if mcp is not None:
            tools += await _of_mcp(agent, run, mcp, wanted)
        return [retold(tool, told.get(tool.info.name)) for tool in tools] if told else tools

    return toolbox


def retold(tool: Tool, function: Mapping[str, Any] | None) -> Tool:
    """A tool as an agent's own words tell of it; what it does stays."""
    if function is None:
        return tool
    info = replace(
        tool.info,
        description=function.get("description", tool.info.description),
        parameters=function.get("parameters", tool.info.parameters),
    )
    return FunctionTool(info, tool.call)


def skills_of(settings: Settings) -> Skills:
    """All skills of the folder; raises StartupError for the first that is faulty."""
    folder = Path(settings.conf) / "skills" if settings.conf else None
    skills = load(folder, [agent.name for agent in settings.agents])
    for fault in skills.faults:
        raise StartupError(f"{fault.file}:{fault.line}: {fault.message} {fault.remedy}")
    return skills


def with_skills(toolbox: Toolbox, skills: Skills, agents: Sequence[AgentSettings]) -> Toolbox:
    """The same tools, and the one that reads skills for agents that were only told of theirs."""
    readers = {one.name: tool for one in agents if (tool := reader_of(skills.of(one))) is not None}
    if not readers:
        return toolbox

    async def with_reader(agent: AgentSettings, run: Run) -> Sequence[Tool]:
        reader = readers.get(agent.name)
        tools = await toolbox(agent, run)
        return tools if reader is None else [*tools, reader]

    return with_reader


def find_tools(deps: Deps, registry: Registry) -> FindTools:
    """Tools that prompts may call: any of the gateway's own, and those that the agent has."""

    async def find(agent: AgentSettings, run: Run, names: Sequence[str]) -> Mapping[str, Tool]:
        own = {tool.info.name: tool for tool in await deps.toolbox(agent, run)}
        return {name: tool for name in names if (tool := own.get(name) or registry.get(name)) is not None}

    return find


def _calls_tools(settings: Settings, deps: Deps) -> Callable[[str], bool]:
    """As set; else what is known of the model's capabilities."""
    steps = settings.strategies.reasoning.steps

    def calls_tools(name: str) -> bool:
        if steps != "auto":
            return steps == "tools"
        model = deps.catalog.configured(name)
        return bool(model and model.settings and model.settings.capabilities.tools)

    return calls_tools


def _keeps_schemas(deps: Deps, name: str) -> bool:
    model = deps.catalog.configured(name)
    return bool(model and model.settings and model.settings.capabilities.json_schema)


def offered_of(registry: Registry, mcp: McpPool | None) -> Callable[[], Awaitable[Sequence[Tool]]]:
    """All tools that the gateway may offer to others: its own, and those of the MCP servers that are up."""

    async def offered() -> Sequence[Tool]:
        own = [tool for tool in registry if not tool.info.asks]
        if mcp is None:
            return own
        used = [name for name, one in mcp.servers.items() if one.settings.enabled]
        return [*own, *(await mcp.tools_of(used, lenient=True)).tools]

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
