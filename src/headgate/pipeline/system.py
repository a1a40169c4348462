"""An agent's part of the system message: its prompt with the calls in it answered, then its skills.

Templates are read once, when the configuration is. Only the prompt is one: skills, what tools say and what callers
write are put in as they are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from headgate.agents.skills import Skills, told
from headgate.agents.template import Faulty, Template, parse
from headgate.agents.template import ToolCall as PromptCall
from headgate.agents.types import AgentSettings
from headgate.core.agent_errors import PromptFailed
from headgate.core.errors import InvalidField
from headgate.core.run import Run, ToolCall, now
from headgate.tools.runner import ToolBounds, failure, run_tool
from headgate.tools.types import Caller, Tool, ToolResult

FindTools = Callable[[AgentSettings, Run, Sequence[str]], Awaitable[Mapping[str, Tool]]]
"""Tools by name, of those that prompts may call; what is not there is left out."""
Defuses = Callable[[str, Run], bool]
"""Whether a model, by its name, reads marks in any text; then they are broken up in what tools say."""
_MOST_SHOWN = 300


def _never(_: str, __: Run) -> bool:
    return False


class SystemPrompts:
    """All agents' templates, read; raises Faulty for one that is none."""

    def __init__(
        self,
        agents: Iterable[AgentSettings],
        skills: Skills,
        find: FindTools,
        allowed: Iterable[str] = (),
        defuses: Defuses = _never,
    ) -> None:
        self._find = find
        self._defuses = defuses
        self._allowed = frozenset(allowed)
        self._parts = {one.name: (parse(one.system_prompt), told(skills.of(one))) for one in agents}

    async def __call__(self, agent: AgentSettings, run: Run) -> str:
        """Raises PromptFailed when a tool fails whose agent cannot do without."""
        if agent.name not in self._parts:  # a plain model that is steered has no prompt
            return agent.system_prompt
        template, skills = self._parts[agent.name]
        results = await self._results(template, agent, run, await self._tools(template, agent, run))
        prompt = _filled(template, results, agent.template_errors, agent.variables)
        return "\n\n".join(filter(None, (prompt.strip(), skills)))

    async def evaluate(
        self, text: str, variables: Mapping[str, Any], agent: AgentSettings | None, run: Run
    ) -> tuple[str, list[tuple[PromptCall, bool]]]:
        """A text's value, and whether each call failed. Calls only what just reads, or is allowed.

        Raises InvalidField for a text that is no template, or calls what it must not.
        """
        agent = agent or AgentSettings(name="template")
        try:
            template = parse(text)
        except Faulty as error:
            raise InvalidField(f"Line {error.line}: {error.message}", param="template") from None
        variables = {**agent.variables, **variables}
        for one in template.variables:
            if one.name not in variables:
                raise InvalidField(f"Line {one.line}: there is no variable '{one.name}'.", param="template")
        tools = await self._tools(template, agent, run)
        for call in template.calls:
            self._refuse(call, tools.get(call.name))
        results = await self._results(template, agent, run, tools)
        calls = [(call, result.failed) for call, result in zip(template.calls, results, strict=True)]
        return _filled(template, results, "show", variables), calls

    def _refuse(self, call: PromptCall, tool: Tool | None) -> None:
        if tool is None:
            raise InvalidField(f"Line {call.line}: there is no tool '{call.name}'.", param="template")
        if tool.info.hints.read_only is not True and call.name not in self._allowed:
            message = f"Line {call.line}: '{call.name}' may do more than read; add it to `strategies.template_tools`."
            raise InvalidField(message, param="template")

    async def _tools(self, template: Template, agent: AgentSettings, run: Run) -> Mapping[str, Tool]:
        return await self._find(agent, run, [call.name for call in template.calls]) if template.calls else {}

    async def _results(
        self, template: Template, agent: AgentSettings, run: Run, tools: Mapping[str, Tool]
    ) -> list[ToolResult]:
        """Those of all calls, which run side by side."""
        return await asyncio.gather(*(self._result(call, tools, agent, run) for call in template.calls))

    async def _result(self, call: PromptCall, tools: Mapping[str, Tool], agent: AgentSettings, run: Run) -> ToolResult:
        tool = tools.get(call.name)
        if tool is None:
            return failure("there is no such tool now.")
        caller = Caller(run.who, run.id, agent.name, run.depth, run.trace.traceparent)
        model = run.inherits if agent.model == "inherit" else agent.model or agent.name
        bounds = ToolBounds(
            agent.bounds.tool_seconds, agent.bounds.result_characters, defuses=self._defuses(model, run)
        )
        started = now()
        result = await run_tool(tool, call.arguments, caller, bounds)
        run.tools += (ToolCall(call.name, "failed" if result.failed else "ok", now() - started),)
        return result


def _filled(template: Template, results: Sequence[ToolResult], errors: str, variables: Mapping[str, Any]) -> str:
    shown = [_shown(call, result, errors) for call, result in zip(template.calls, results, strict=True)]
    return template.filled(iter(shown), variables)


def _shown(call: PromptCall, result: ToolResult, errors: str) -> str:
    if not result.failed:
        return result.text
    if errors == "fail":
        why = result.text.removeprefix("Error: ")[:_MOST_SHOWN]
        raise PromptFailed(f"The tool '{call.name}', which the agent's prompt calls, failed: {why}")
    return f"[{call.name} failed: {' '.join(result.text.removeprefix('Error: ').split())[:_MOST_SHOWN]}]"
