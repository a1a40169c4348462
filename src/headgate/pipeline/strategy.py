"""How a request is answered: by the rule, the header, the agent's own way, or a classifier; and why."""

from typing import get_args

from headgate.agents.types import AgentSettings, Strategy
from headgate.core.errors import InvalidHeader
from headgate.core.request import ModelRequest
from headgate.core.run import Run, StrategyChoice
from headgate.core.surfaces import CHAT
from headgate.pipeline.context import Deps

_MODES = (*get_args(Strategy), "auto")


async def decide(agent: AgentSettings | None, request: ModelRequest, run: Run, deps: Deps) -> StrategyChoice:
    """Raises InvalidHeader for an unknown mode, and for one that an agent does not allow."""
    mode = run.mode.strip().lower()
    if mode and mode not in _MODES:
        raise InvalidHeader(f"The header x-routing-mode must be one of {', '.join(_MODES)}.", param="x-routing-mode")
    if agent is not None:
        return _for_agent(agent, mode)
    if request.surface is not CHAT:
        return StrategyChoice("passthrough", "passthrough_rule", "only chat can be answered in another way")
    for name in ("tools", "response_format"):
        if request.fields.get(name):
            return StrategyChoice("passthrough", "passthrough_rule", f"the request has {name}")
    if not mode:
        return StrategyChoice("passthrough", "default")
    if mode == "auto":
        return await deps.classify(request, run, deps)
    return StrategyChoice(mode, "header_override")


def _for_agent(agent: AgentSettings, mode: str) -> StrategyChoice:
    if not mode or mode == "auto":
        return StrategyChoice(agent.strategy, "agent_default")
    allowed = {agent.strategy, *agent.strategies}
    if mode not in allowed:
        message = f"The agent '{agent.name}' answers by {', '.join(sorted(allowed))} only."
        raise InvalidHeader(message, param="x-routing-mode")
    return StrategyChoice(mode, "header_override")
