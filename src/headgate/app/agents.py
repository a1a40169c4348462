"""The agents' side: tools of every source in one registry, which of them each agent has, and the strategies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headgate.agents.book import Agents
from headgate.agents.prompts import Prompts
from headgate.agents.reasoner import Reasoner
from headgate.agents.skills import Skills, load
from headgate.agents.template import Faulty
from headgate.agents.types import AgentSettings
from headgate.app.skills import reader_of
from headgate.config.tree import Settings
from headgate.core.errors import StartupError
from headgate.core.run import Run
from headgate.pipeline.classify import Classifier
from headgate.pipeline.context import Deps, pass_through
from headgate.pipeline.system import FindTools, SystemPrompts
from headgate.tools.builtin.function import FunctionTool
from headgate.tools.builtin.registry import builtin_tools
from headgate.tools.registry import Registry
from headgate.tools.types import Tool

Toolbox = Callable[[AgentSettings], Sequence[Tool]]


def steer_with(deps: Deps, settings: Settings, skills: Skills) -> SystemPrompts:
    """Hand the pipeline what it needs for runs that the gateway steers itself; raises StartupError."""
    strategies = settings.strategies
    deps.agents = Agents(settings.agents) if settings.agents else None
    deps.toolbox = with_skills(toolbox_of(settings), skills, settings.agents)
    allowed = strategies.template_tools
    try:
        deps.system_prompt = prompts = SystemPrompts(settings.agents, skills, find_tools(deps), allowed)
    except Faulty as error:
        raise StartupError(f"An agent's prompt is no template: {error.message}") from None
    deps.prompts = Prompts(Path(strategies.prompts) if strategies.prompts else None)
    deps.reasoner = Reasoner(strategies.reasoning)
    deps.step_temperature = strategies.reasoning.temperature
    deps.calls_tools = _calls_tools(settings, deps)
    chooses = strategies.classifier.model is not None
    deps.classify = Classifier(strategies.classifier, deps.prompts).classify if chooses else pass_through
    return prompts


def toolbox_of(_settings: Settings) -> Callable[[AgentSettings], Sequence[Tool]]:
    """Which of the gateway's tools an agent has."""
    registry = Registry(builtin_tools())

    def toolbox(agent: AgentSettings) -> Sequence[Tool]:
        wanted = [one if isinstance(one, str) else one["function"]["name"] for one in agent.tools]
        listed = [tool for name in wanted if (tool := registry.get(name)) is not None]
        told = {one["function"]["name"]: one["function"] for one in agent.tools if not isinstance(one, str)}
        listed = [retold(tool, told.get(tool.info.name)) for tool in listed]
        grouped = [tool for tool in registry if tool.info.group in agent.tool_groups and tool.info.name not in wanted]
        return [*listed, *grouped]

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

    def with_reader(agent: AgentSettings) -> Sequence[Tool]:
        reader = readers.get(agent.name)
        return toolbox(agent) if reader is None else [*toolbox(agent), reader]

    return with_reader


def find_tools(deps: Deps) -> FindTools:
    """Tools that prompts may call: any that comes with the gateway, and those that the agent has."""
    builtin = {tool.info.name: tool for tool in builtin_tools()}

    async def find(agent: AgentSettings, _: Run, names: Sequence[str]) -> Mapping[str, Tool]:
        own = {tool.info.name: tool for tool in deps.toolbox(agent)}
        return {name: tool for name in names if (tool := own.get(name) or builtin.get(name)) is not None}

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
