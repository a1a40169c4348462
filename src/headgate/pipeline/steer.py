"""A run that the gateway steers itself: an agent, or a strategy over a plain model."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from headgate.agents.types import AgentSettings
from headgate.core.chat import ChatEvent, Ended
from headgate.core.errors import NotForAgents
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.core.surfaces import CHAT
from headgate.identity.access import refuse_model
from headgate.pipeline.context import Deps
from headgate.pipeline.delegation import add_delegates
from headgate.pipeline.orchestration import orchestrate
from headgate.pipeline.participants import is_agent
from headgate.pipeline.prepare import prepare
from headgate.pipeline.reasoning import reason
from headgate.pipeline.settle import Settling, account
from headgate.pipeline.turns import take_turns

_COMPONENTS = {"reasoning": "reasoning-agent", "orchestration": "orchestrator"}


async def steer(agent: AgentSettings, request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[ChatEvent]:
    """The events of an agent's run. What it spent is in the ledger before the last of them."""
    with Settling(run, deps):
        if request.surface is not CHAT:
            raise NotForAgents(f"The agent '{agent.name}' answers chat completions only.", param="model")
        if is_agent(agent, deps):
            refuse_model(run.who, request.model, *agent.known_as)
        run.label = agent.name
        strategy = run.strategy.name if run.strategy is not None else ""
        run.component = _COMPONENTS.get(strategy, "agent")
        prompt = await prepare(agent, request, run, deps)
        retrieved = await deps.retrieve(prompt, run, deps) if agent.rag_index is not None else None
        if strategy == "orchestration":
            story = orchestrate(prompt, run, deps, steer)
        else:
            add_delegates(prompt, run, deps, steer)
            story = (reason if strategy == "reasoning" else take_turns)(prompt, run, deps)
        async with aclosing(story):
            async for event in story:
                if type(event) is Ended:
                    run.stop = event.stop
                    account(run, deps)
                yield event
                if retrieved is not None:  # not before the model has answered: what fails there is a plain error
                    yield retrieved
                    retrieved = None


async def steer_plain(model: AgentSettings, request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[ChatEvent]:
    """The events of a plain model's run with tools that a setting adds; which they are stands in `run.added`."""
    with Settling(run, deps):
        found = await deps.catalog.find(request.model)
        run.label = found.label or found.name
        run.component = "tools"
        prompt = await prepare(model, request, run, deps)
        run.added = tuple(prompt.tools)
        async for event in take_turns(prompt, run, deps):
            if type(event) is Ended:
                run.stop = event.stop
                account(run, deps)
            yield event
