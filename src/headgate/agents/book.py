"""All agents by name."""

from collections.abc import Iterable

from headgate.agents.types import AgentSettings

_PREFIX = "augmented/"


class Agents:
    """What callers may name; `augmented/NAME` means the agent NAME unless one is called just that."""

    def __init__(self, agents: Iterable[AgentSettings] = ()) -> None:
        self._agents = {agent.name: agent for agent in agents}

    def find(self, name: str) -> AgentSettings | None:
        return self._agents.get(name) or (
            self._agents.get(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None
        )

    def all(self) -> list[AgentSettings]:
        return list(self._agents.values())

    def __bool__(self) -> bool:
        return bool(self._agents)
