"""Agents as tools of other agents: each call is a run of its own below the one that asked, under the same key.

Of what happens in it, the agent that asked is told the answer, and its caller only which calls wait for an approval.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headgate.agents.types import AgentSettings, History
from headgate.core.run import Run
from headgate.pipeline.asking import keeps
from headgate.pipeline.below import Below, Steer, agent_called, delegates_of, inheriting
from headgate.pipeline.context import Deps
from headgate.pipeline.prepare import Prompt
from headgate.tools.types import Caller, Hints, ToolInfo, ToolResult

_ASKS = Hints(read_only=False, destructive=False, idempotent=False, open_world=False)
"""Asking destroys nothing; what the other agent does is held back by its own policies."""
_MOST_TOLD = 20
_LONGEST_TOLD = 500
_LONGEST_NAME = 60


def add_delegates(prompt: Prompt, run: Run, deps: Deps, steer: Steer) -> None:
    """Give a prompt the tools by which its agent asks others."""
    for name, settings in delegates_of(prompt.agent):
        agent = inheriting(agent_called(name, deps), prompt.model)
        tool = Delegate(_info(agent, prompt.schemas), agent, settings.history, prompt, run, deps, steer)
        prompt.tools = {**prompt.tools, tool.info.name: tool}
        prompt.schemas.insert(len(prompt.tools) - 1, tool.info.schema)


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
        below = Below.begin(self.agent, self.prompt, self.run, caller)
        if self.agent.strategy == "passthrough" and (keeps(self.run) or self.run.held is not None):
            below.run.held = []
        messages = [*shown(self.prompt.messages, self.history), {"role": "user", "content": arguments["request"]}]
        async for _ in below.follow(messages, self.deps, self.steer):
            pass
        return below.result


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
        if one.get("role") in ("user", "assistant") and (text := words_of(one.get("content")))
    ]
    if not lines:
        return []
    left = f"[{len(lines) - _MOST_TOLD} earlier ones left out]\n" if len(lines) > _MOST_TOLD else ""
    told = "\n".join(lines[-_MOST_TOLD:])
    return [{"role": "user", "content": f"The conversation so far, shortened:\n{left}{told}"}]


def words_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return " ".join(
        str(part.get("text", "")) for part in parts if isinstance(part, dict) and part.get("type") == "text"
    )


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]} [...]"
