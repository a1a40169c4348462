"""An agent at work for a run above it: a run of its own under the same key, whose money and tokens count there too."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from headgate.agents.orchestrator import plain
from headgate.agents.types import AgentSettings, DelegateSettings
from headgate.core.chat import Call, ChatEvent, Ended, Refusal, Text, ToolHeld
from headgate.core.request import ModelRequest, json_request
from headgate.core.run import Run, StrategyChoice
from headgate.core.surfaces import CHAT
from headgate.core.tokens import Tokens
from headgate.core.tool_errors import DelegationTooDeep
from headgate.pipeline.context import Deps
from headgate.pipeline.inner import inner_run
from headgate.pipeline.prepare import Prompt
from headgate.pipeline.turns import total_tokens
from headgate.tools.types import Caller, Held, ToolResult

Steer = Callable[[AgentSettings, ModelRequest, Run, Deps], AsyncGenerator[ChatEvent]]


def delegates_of(agent: AgentSettings) -> Iterable[tuple[str, DelegateSettings]]:
    named = agent.delegates if isinstance(agent.delegates, Mapping) else dict.fromkeys(agent.delegates)
    for name, settings in named.items():
        yield name, settings or DelegateSettings()


def agent_called(name: str, deps: Deps) -> AgentSettings:
    """The agent of this name, or the plain model as one."""
    found = deps.agents.find(name) if deps.agents is not None else None
    return found or plain(name)


def inheriting(agent: AgentSettings, model: str) -> AgentSettings:
    """The agent with this model, if it takes that of its caller."""
    return agent.model_copy(update={"model": model}) if agent.model == "inherit" else agent


def deepest_below(prompt: Prompt, above: Run) -> int:
    return min(above.deepest, prompt.agent.bounds.depth)


@dataclass(slots=True)
class Below:
    """One agent at work. `run` is its own; `said`, `called`, `held` and `ended` are what came of it so far."""

    agent: AgentSettings
    run: Run
    above: Run
    said: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    held: list[Call] = field(default_factory=list)
    """Calls that wait for a person."""
    ended: Ended | None = None

    @classmethod
    def begin(cls, agent: AgentSettings, prompt: Prompt, above: Run, caller: Caller) -> "Below":
        """Raises DelegationTooDeep."""
        deepest = deepest_below(prompt, above)
        if caller.depth + 1 > deepest:
            raise DelegationTooDeep(f"The agent '{agent.name}' was not asked: {deepest} levels are allowed.")
        run = inner_run(caller, "delegated", agent.name)
        run.deepest = deepest
        if agent.strategy != "passthrough":
            run.strategy = StrategyChoice(agent.strategy, "agent_default")
        return cls(agent, run, above)

    async def follow(self, messages: list[dict[str, Any]], deps: Deps, steer: Steer) -> AsyncGenerator[ChatEvent]:
        """What it does, to its end. However that comes, what was spent counts above."""
        request = json_request(CHAT, {"model": self.agent.name, "messages": messages})
        self.run.bytes_in = request.size
        try:
            async with aclosing(steer(self.agent, request, self.run, deps)) as events:
                async for event in events:
                    self._note(event)
                    yield event
        finally:
            self.above.below += self.run.below + sum(attempt.cost or 0 for attempt in self.run.attempts)
            self.above.tokens_below = _added(self.above.tokens_below, total_tokens(self.run))

    def _note(self, event: ChatEvent) -> None:
        match event:
            case Text(text) | Refusal(text):
                self.said.append(text)
            case Call(_, name):
                self.called.append(name)
            case ToolHeld(call):
                self.held.append(call)
            case Ended():
                self.ended = event
                self.run.status = 200

    @property
    def result(self) -> ToolResult:
        """What it came to, as the one who asked is told."""
        text, held = "".join(self.said), self._waiting()
        if self.run.held:
            names = ", ".join(dict.fromkeys(one.call.name for one in held))
            return ToolResult(f"{text}\n[The agent waits for somebody to decide on: {names}]".strip(), held=held)
        if self.ended is not None and self.ended.stop:
            text = f"{text}\n[The agent stopped before it was done: {self.ended.stop}]".strip()
        elif not text:
            tried = f" It called {', '.join(self.called)}, which it does not have." if self.called else ""
            return ToolResult(f"Error: the agent gave no answer.{tried}", failed=True, held=held)
        return ToolResult(text, failed=not self.said, held=held)

    def _waiting(self) -> tuple[Held, ...]:
        """The calls that wait, with what is needed to go on, as far as this agent can."""
        frame = {"agent": self.agent.name, "model": self.agent.model or "", "messages": self.run.transcript}
        asked = self.run.held or ()
        can = tuple(one._replace(frames=(*one.frames, {**frame, "call": call})) for one, call in asked)
        known = [one.call for one in can]
        return (*can, *(Held(call) for call in self.held if call not in known))


def _added(before: Tokens | None, more: Tokens | None) -> Tokens | None:
    return more if before is None else before if more is None else Tokens(*map(sum, zip(before, more, strict=True)))
