"""The agents' side: tools of every source in one registry, which of them each agent has, and the strategies."""

from collections.abc import Callable, Sequence
from pathlib import Path

from headgate.agents.book import Agents
from headgate.agents.prompts import Prompts
from headgate.agents.reasoner import Reasoner
from headgate.agents.types import AgentSettings
from headgate.config.tree import Settings
from headgate.pipeline.classify import Classifier
from headgate.pipeline.context import Deps
from headgate.tools.registry import Registry
from headgate.tools.types import Tool


def steer_with(deps: Deps, settings: Settings, registry: Registry) -> None:
    """Hand the pipeline what it needs for runs that the gateway steers itself."""
    strategies = settings.strategies
    deps.agents = Agents(settings.agents) if settings.agents else None
    deps.toolbox = toolbox_of(registry)
    deps.prompts = Prompts(Path(strategies.prompts) if strategies.prompts else None)
    deps.reasoner = Reasoner(strategies.reasoning)
    deps.step_temperature = strategies.reasoning.temperature
    deps.calls_tools = _calls_tools(settings, deps)
    if strategies.classifier.model is not None:
        deps.classify = Classifier(strategies.classifier, deps.prompts).classify


def toolbox_of(registry: Registry) -> Callable[[AgentSettings], Sequence[Tool]]:
    """Which of the gateway's tools an agent has."""

    def toolbox(agent: AgentSettings) -> Sequence[Tool]:
        wanted = [one if isinstance(one, str) else one["function"]["name"] for one in agent.tools]
        listed = [tool for name in wanted if (tool := registry.get(name)) is not None]
        grouped = [tool for tool in registry if tool.info.group in agent.tool_groups and tool not in listed]
        return [*listed, *grouped]

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
