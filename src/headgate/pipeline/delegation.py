"""Agents as tools of other agents: each call is a run of its own below the one that asked, under the same key.

Of what happens in it, the agent that asked is told the answer, and its caller only which calls were held back: nobody
can approve them, for nothing is kept of such a run with which it could go on.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from headgate.agents.types import AgentSettings, DelegateSettings, History
from headgate.core.chat import Call, ChatEvent, Ended, Refusal, Text, ToolHeld
from headgate.core.request import ModelRequest, json_request
from headgate.core.run import Run
from headgate.core.surfaces import CHAT
from headgate.core.tool_errors import DelegationTooDeep
from headgate.pipeline.context import Deps
from headgate.pipeline.inner import inner_run
from headgate.pipeline.prepare import Prompt
from headgate.tools.types import Caller, Hints, ToolInfo, ToolResult

Steer = Callable[[AgentSettings, ModelRequest, Run, Deps], AsyncGenerator[ChatEvent]]
_ASKS = Hints(read_only=False, destructive=False, idempotent=False, open_world=False)
"""Asking destroys nothing; what the other agent does is held back by its own policies."""
_MOST_TOLD = 20
_LONGEST_TOLD = 500
_LONGEST_NAME = 60


def add_delegates(prompt: Prompt, run: Run, deps: Deps, steer: Steer) -> None:
    """Give a prompt the tools by which its agent asks others."""
    for name, settings in _delegates(prompt.agent):
        found = deps.agents.find(name) if deps.agents is not None else None
        agent = found or AgentSettings(name=name[:128], model=name, include_global_skills=False)
        if agent.model == "inherit":
            agent = agent.model_copy(update={"model": prompt.model})
        tool = Delegate(_info(agent, prompt.schemas), agent, settings.history, prompt, run, deps, steer)
        prompt.tools = {**prompt.tools, tool.info.name: tool}
        prompt.schemas.insert(len(prompt.tools) - 1, tool.info.schema)


def _delegates(agent: AgentSettings) -> Iterable[tuple[str, DelegateSettings]]:
    named = agent.delegates if isinstance(agent.delegates, Mapping) else dict.fromkeys(agent.delegates)
    for name, settings in named.items():
        yield name, settings or DelegateSettings()


def _info(agent: AgentSettings, schemas: Sequence[Mapping[str, Any]]) -> ToolInfo:
    taken = {(schema.get("function") or {}).get("name") for schema in schemas}
    name = base = "ask_" + re.sub(r"[^A-Za-z0-9_-]+", "_", agent.name.removeprefix("augmented/"))[: _LONGEST_NAME - 4]
    number = 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    about = f" {agent.description}" if agent.description else ""
    parameters = {
        "type": "object",
        "properties": {
            "request": {"type": "string", "minLength": 1, "description": "What it should do, with all it has to know."}
        },
        "required": ["request"],
        "additionalProperties": False,
    }
    seconds = agent.bounds.seconds or 24 * 3600.0
    described = f"Ask the agent '{agent.name}'.{about}"
    return ToolInfo(name, described, parameters, "agent", "agents", _ASKS, origin=agent.name, seconds=seconds)


@dataclass(frozen=True, slots=True)
class Delegate:
    """One agent as a tool, for one run of another."""

    info: ToolInfo
    agent: AgentSettings
    history: History
    prompt: Prompt
    run: Run
    deps: Deps
    steer: Steer

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        deepest = min(self.run.deepest, self.prompt.agent.bounds.depth)
        if caller.depth + 1 > deepest:
            raise DelegationTooDeep(f"The agent '{self.agent.name}' was not asked: {deepest} levels are allowed.")
        child = inner_run(caller, "delegated", self.agent.name)
        child.deepest = deepest
        messages = [*shown(self.prompt.messages, self.history), {"role": "user", "content": arguments["request"]}]
        request = json_request(CHAT, {"model": self.agent.name, "messages": messages})
        child.bytes_in = request.size
        try:
            return await self._answer(request, child)
        finally:
            self.run.below += child.below + sum(attempt.cost or 0 for attempt in child.attempts)

    async def _answer(self, request: ModelRequest, child: Run) -> ToolResult:
        said: list[str] = []
        called: list[str] = []
        held: list[Call] = []
        ended: Ended | None = None
        async with aclosing(self.steer(self.agent, request, child, self.deps)) as events:
            async for event in events:
                match event:
                    case Text(text) | Refusal(text):
                        said.append(text)
                    case Call(_, name):
                        called.append(name)
                    case ToolHeld(call):
                        held.append(call)
                    case Ended():
                        ended = event
                        child.status = 200
        text = "".join(said)
        if ended is not None and ended.stop:
            text = f"{text}\n[The agent stopped before it was done: {ended.stop}]".strip()
        elif not text:
            tried = f" It called {', '.join(called)}, which it does not have." if called else ""
            return ToolResult(f"Error: the agent gave no answer.{tried}", failed=True, held=tuple(held))
        return ToolResult(text, failed=not said, held=tuple(held))


def shown(messages: Sequence[Mapping[str, Any]], history: History) -> list[dict[str, Any]]:
    """What of a conversation the other agent sees; the system message is never among it, nor is the call under way.

    full: all messages up to the last one of the user, and what tools said. condensed: what user and assistant said,
    shortened, as one message. off: nothing.
    """
    if history == "off":
        return []
    conversation = [dict(one) for one in messages if one.get("role") not in ("system", "developer")]
    while conversation and conversation[-1].get("tool_calls"):
        conversation.pop()
    if history == "full":
        return conversation
    lines = [
        f"{str(one['role']).capitalize()}: {_shortened(text)}"
        for one in conversation
        if one.get("role") in ("user", "assistant") and (text := _words(one.get("content")))
    ]
    if not lines:
        return []
    left = f"[{len(lines) - _MOST_TOLD} earlier ones left out]\n" if len(lines) > _MOST_TOLD else ""
    told = "\n".join(lines[-_MOST_TOLD:])
    return [{"role": "user", "content": f"The conversation so far, shortened:\n{left}{told}"}]


def _words(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return " ".join(
        str(part.get("text", "")) for part in parts if isinstance(part, dict) and part.get("type") == "text"
    )


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]} [...]"
