"""What the tool calls of a run are bound by, and what is remembered of them."""

from headgate.core.chat import ChatEvent, ToolEnded, ToolHeld
from headgate.core.run import Run, ToolCall
from headgate.pipeline.context import Deps
from headgate.pipeline.prepare import Prompt
from headgate.tools.policy import Policies
from headgate.tools.runner import ToolBounds


def bounds_of(prompt: Prompt, run: Run, deps: Deps, seconds_left: float | None) -> ToolBounds:
    """As the agent sets them, and within the time that is left to the run; None for all of it."""
    agent = prompt.agent
    seconds = min(agent.bounds.tool_seconds, seconds_left or agent.bounds.tool_seconds)
    return ToolBounds(
        seconds,
        agent.bounds.result_characters,
        agent.parallel_tools,
        Policies(agent.tool_policy, agent.tool_policies),
        defuses(prompt.model, run, deps),
        seconds_left or 0.0,
    )


def note_tool(event: ChatEvent, prompt: Prompt, run: Run) -> None:
    """Remember a tool call for the log and the metrics, which show no name that a model made up."""
    if type(event) is ToolEnded:
        name = event.call.name if event.call.name in prompt.tools else "unknown"
        run.tools += (ToolCall(name, "failed" if event.failed else "ok", event.seconds),)
    elif type(event) is ToolHeld:
        run.tools += (ToolCall(event.call.name, "held", 0.0),)


def defuses(model: str, run: Run, deps: Deps) -> bool:
    """Whether a target that answered, or may answer next, reads marks in any text."""
    if not deps.reads_marks:
        return False
    configured = deps.catalog.configured(model)
    targets = [target.upstream for target in configured.targets] if configured is not None else []
    return any(name in deps.reads_marks for name in (*targets, *(attempt.upstream for attempt in run.attempts)))
