"""The agents' side: tools of every source in one registry, and which of them each agent has."""

from collections.abc import Callable, Sequence

from headgate.agents.types import AgentSettings
from headgate.tools.registry import Registry
from headgate.tools.types import Tool


def toolbox_of(registry: Registry) -> Callable[[AgentSettings], Sequence[Tool]]:
    """Which of the gateway's tools an agent has."""

    def toolbox(agent: AgentSettings) -> Sequence[Tool]:
        wanted = [one if isinstance(one, str) else one["function"]["name"] for one in agent.tools]
        listed = [tool for name in wanted if (tool := registry.get(name)) is not None]
        grouped = [tool for tool in registry if tool.info.group in agent.tool_groups and tool not in listed]
        return [*listed, *grouped]

    return toolbox
