"""Which agents may take part in a request that several share: by the agent that divides it, and by the key."""

from collections.abc import Iterable
from dataclasses import dataclass

from headgate.agents.orchestrator import plain
from headgate.agents.types import AgentSettings, DelegateSettings, History
from headgate.core.principal import Principal
from headgate.identity.access import may_use
from headgate.pipeline.below import agent_called, delegates_of, inheriting
from headgate.pipeline.context import Deps
from headgate.pipeline.prepare import Prompt

_LONGEST_DESCRIPTION = 500
_MOST_TOOLS = 20


@dataclass(frozen=True, slots=True)
class Participant:
    """`history` is how much of the conversation it is shown."""

    agent: AgentSettings
    history: History = "off"

    @property
    def line(self) -> str:
        """As a model is told of it that has to choose."""
        agent = self.agent
        servers = [f"those of {name}" for name in agent.mcp_servers]
        tools = [one if isinstance(one, str) else one["function"]["name"] for one in agent.tools]
        able = [*tools, *agent.tool_groups, *servers][:_MOST_TOOLS]
        about = " ".join(agent.description.split())[:_LONGEST_DESCRIPTION] or "Works by itself."
        return f"- {agent.name}: {about} Tools: {', '.join(able) or 'none'}."


def participants(prompt: Prompt, who: Principal, deps: Deps) -> dict[str, Participant]:
    """By their names: the agent's delegates, or else all agents but itself, as far as the key may use them.

    A plain model is among its own; so it is where there would be nobody.
    """
    agent = prompt.agent
    named = [(agent_called(name, deps), settings) for name, settings in delegates_of(agent)]
    found: dict[str, Participant] = {}
    for one, settings in named or _others(agent, deps):
        if may_ask(who, one, deps):
            found[one.name] = Participant(inheriting(one, prompt.model), settings.history)
    if not found or not is_agent(agent, deps):
        worker = plain(prompt.model)
        found[worker.name] = Participant(worker)
    return found


def is_agent(agent: AgentSettings, deps: Deps) -> bool:
    """Whether it is a configured one, and not a plain model as one."""
    return deps.agents is not None and deps.agents.find(agent.name) is not None


def may_ask(who: Principal, agent: AgentSettings, deps: Deps) -> bool:
    """Whether the key may use the agent's name and its model."""
    if not who.is_choosy:
        return True
    name = agent.model or agent.name
    model = deps.catalog.configured(name)
    may_model = agent.model == "inherit" or may_use(who, name, *(model.known_as if model is not None else ()))
    return may_model and (not is_agent(agent, deps) or may_use(who, *agent.known_as))


def _others(agent: AgentSettings, deps: Deps) -> Iterable[tuple[AgentSettings, DelegateSettings]]:
    for one in deps.agents.all() if deps.agents is not None else ():
        if one.name != agent.name:
            yield one, DelegateSettings()
