"""What an agent's model is sent: system message, conversation, and the schemas of all tools in a stable order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from headgate.agents.types import AgentSettings
from headgate.core.errors import InvalidField
from headgate.core.request import JsonRequest, ModelRequest, json_request
from headgate.core.run import Run
from headgate.core.surfaces import Surface
from headgate.pipeline.context import Deps
from headgate.tools.policy import named
from headgate.tools.types import Tool

_NOT_PASSED_ON = frozenset(("model", "messages", "tools", "stream", "stream_options"))
_SYSTEM = frozenset(("system", "developer"))


@dataclass(slots=True)
class Prompt:
    """An agent's side of one run. `messages` grows with every turn and never changes what is there already.

    `fields` are the caller's and the agent's further fields; `tools` the gateway's own by name; `schemas` those and the
    caller's, in the order in which the model is told them.
    """

    agent: AgentSettings
    model: str
    surface: Surface
    fields: Mapping[str, Any]
    messages: list[dict[str, Any]]
    tools: Mapping[str, Tool]
    schemas: list[dict[str, Any]]
    stream: bool
    pictures: int = 0
    """How many pictures of tools the caller was shown."""

    def is_own(self, name: str) -> bool:
        """Whether a call is the gateway's to answer: of its own tools, and of those that nobody offered."""
        return name in self.tools or not any(_may_mean(schema, name) for schema in self.schemas)

    def let_choose(self) -> None:
        """The gateway's tools were called that the caller had asked to be: now the model chooses, or it never ends."""
        choice = self.fields.get("tool_choice")
        function = choice.get("function") if isinstance(choice, dict) else None
        named = function.get("name") if isinstance(function, dict) else None
        if choice == "required" or named in self.tools:
            self.fields = {name: value for name, value in self.fields.items() if name != "tool_choice"}

    def request(self, **more: Any) -> JsonRequest:
        """The next turn's call. `more` are fields of this turn alone."""
        fields: dict[str, Any] = {"model": self.model, "messages": self.messages, **self.fields, **more}
        if self.schemas:
            fields["tools"] = self.schemas
        else:
            fields.pop("tool_choice", None)
            fields.pop("parallel_tool_calls", None)
        if self.stream:
            fields["stream"] = True
        return json_request(self.surface, fields)


async def prepare(agent: AgentSettings, request: ModelRequest, run: Run, deps: Deps) -> Prompt:
    """Raises InvalidField for what an agent cannot do."""
    given = request.fields
    if (given.get("n") or 1) != 1:
        raise InvalidField("An agent gives one answer: 'n' must be 1.", param="n")
    model = model_of(agent, run)
    theirs = _schemas_by_name(given.get("tools") or ())
    mine = {tool.info.name: tool for tool in await deps.toolbox(agent, run) if tool.info.name not in theirs}
    if run.narrowed is not None:
        mine = {name: tool for name, tool in mine.items() if named(tool.info, run.narrowed)}
    schemas = [*(tool.info.schema for tool in mine.values()), *(given.get("tools") or ())]
    fields = {**agent.parameters, **{name: value for name, value in given.items() if name not in _NOT_PASSED_ON}}
    system = await deps.system_prompt(agent, run)
    messages = with_system(system, given["messages"])
    return Prompt(agent, model, request.surface, fields, messages, mine, schemas, request.stream)


def model_of(agent: AgentSettings, run: Run) -> str:
    """The model that answers for an agent; raises InvalidField where nobody names one."""
    if agent.model != "inherit":
        return agent.model or agent.name
    if not run.inherits:
        message = (
            f"The agent '{agent.name}' takes its caller's model: name one in 'model' at /a1/agents/{agent.name}/chat."
        )
        raise InvalidField(message, param="model")
    return run.inherits


def with_system(system: str, messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation with the agent's system text before the caller's own; they become one message where they can."""
    conversation = [dict(message) for message in messages]
    if not system:
        return conversation
    texts = [system]
    while conversation and conversation[0].get("role") in _SYSTEM:
        text = _text_of(conversation[0].get("content"))
        if text is None:
            break
        texts.append(text)
        conversation.pop(0)
    return [{"role": "system", "content": "\n\n".join(filter(None, texts))}, *conversation]


def _text_of(content: object) -> str | None:
    """A message's text; None if it holds anything else."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(map(_is_text, content)):
        return None
    return "".join(str(part.get("text") or "") for part in content)


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _may_mean(schema: Any, name: str) -> bool:
    """Tools that are no functions may be called anything."""
    function = schema.get("function") if isinstance(schema, dict) else None
    return not isinstance(function, dict) or function.get("name") == name


def _schemas_by_name(tools: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {
        str(tool["function"].get("name")): tool
        for tool in tools
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    }
