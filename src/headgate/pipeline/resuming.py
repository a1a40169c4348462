"""Agents that waited for a person go on: the one that wanted the call first, then each that had asked the one below it.

What each of them had said and found out stands in the action; nothing of it is done again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headgate.conversations.store import State
from headgate.conversations.types import Action, ActionQuery
from headgate.core.errors import HeadgateError
from headgate.core.run import Run
from headgate.pipeline.below import Below, Steer, agent_called, inheriting
from headgate.pipeline.context import Deps
from headgate.pipeline.inner import inner_run
from headgate.tools.runner import failure
from headgate.tools.types import Caller, Held, ToolResult

_SYSTEM = ("system", "developer")


async def resumed(action: Action, made: ToolResult, run: Run, deps: Deps, steer: Steer) -> ToolResult:
    """What the agent that was asked first answers, now that the call came to something; or that it waits for more."""
    assert deps.state is not None
    frames: list[Mapping[str, Any]] = action.within["frames"]
    told = made.text
    if any(one.frames for one in made.held):
        return replace(made, held=tuple(_below(one, tuple(frames)) for one in made.held))
    beside = await _beside(action, deps.state)
    waiting = [one.tool for one in beside if one.status == "pending"]
    if waiting:
        await deps.state.actions.noted(action, told)
        return ToolResult(f"{told}\n[The agent waits for somebody to decide on: {', '.join(waiting)}]")
    results = {_call_of(one): str(one.answer["result"]) for one in beside if "result" in one.answer}
    results[_call_of(action)] = told
    result = ToolResult("")
    for at, frame in enumerate(frames):
        result = await _answered(frame, results, len(frames) - at, run, deps, steer)
        if any(one.frames for one in result.held):
            above = tuple(frames[at + 1 :])
            return replace(result, held=tuple(_below(one, above) for one in result.held))
        if at + 1 < len(frames):
            results = {frames[at + 1]["call"]: result.text}
    return result


def _below(held: Held, above: tuple[Mapping[str, Any], ...]) -> Held:
    """The same with the agents above it, if anybody can go on with it."""
    return held._replace(frames=(*held.frames, *above)) if held.frames else held


async def _answered(
    frame: Mapping[str, Any], results: Mapping[str, str], level: int, run: Run, deps: Deps, steer: Steer
) -> ToolResult:
    agent = inheriting(agent_called(frame["agent"], deps), frame["model"])
    caller = Caller(run.who, run.id, depth=run.depth + level - 1, traceparent=run.trace.traceparent)
    child = inner_run(caller, "delegated", agent.name)
    child.held = []
    below = Below(agent, child, run)
    try:
        async for _ in below.follow(_with(frame["messages"], results), deps, steer):
            pass
    except HeadgateError as error:
        return failure(f"{error.message} ({error.code})")
    return below.result


def _with(messages: list[dict[str, Any]], results: Mapping[str, str]) -> list[dict[str, Any]]:
    """The messages of an agent with these results in them, and without its system text, which it gets anew."""
    first = next((at for at, one in enumerate(messages) if one.get("role") not in _SYSTEM), len(messages))
    told = [dict(one) for one in messages[first:]]
    left = dict(results)
    for one in reversed(told):  # ids of calls may come again; the last ones wait
        if one.get("role") == "tool" and one.get("tool_call_id") in left:
            one["content"] = left.pop(one["tool_call_id"])
    return told


async def _beside(action: Action, state: State) -> list[Action]:
    """The other actions that the same agent waits for."""
    found = await state.actions.page(action.owner, ActionQuery(limit=100, run=action.run))
    where = (action.within["call"]["id"], [one["call"] for one in action.within["frames"][1:]])
    return [
        one
        for one in found
        if one.id != action.id
        and one.within
        and (one.within["call"]["id"], [each["call"] for each in one.within["frames"][1:]]) == where
    ]


def _call_of(action: Action) -> str:
    """The id of the call itself, in the words of the agent that wanted it."""
    return str(action.within["frames"][0]["call"])
