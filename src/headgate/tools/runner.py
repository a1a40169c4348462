"""Runs the tool calls of one turn: in parallel or in order, each with a deadline; what fails becomes a result."""

import asyncio
import importlib
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from headgate.core.chat import Call, ToolEnded, ToolHeld, ToolStarted
from headgate.core.errors import HeadgateError
from headgate.tools.marks import defused
from headgate.tools.policy import HELD, Policies
from headgate.tools.types import Caller, Image, Tool, ToolResult

CAREFUL = Policies()

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToolBounds:
    """`seconds` per call, `characters` of a result that the model is told. `defuses`: marks in it are broken up."""

    seconds: float = 60.0
    characters: int = 100_000
    parallel: bool = True
    policies: Policies = CAREFUL
    defuses: bool = False
    longest: float = 0.0
    """Seconds that are left to all of them, for tools that may take longer; 0.0 for no bound."""

    def seconds_for(self, tool: Tool) -> float:
        seconds = tool.info.seconds or self.seconds
        return min(seconds, self.longest) if self.longest else seconds


@dataclass(slots=True)
class Outcome:
    """A call and what came of it."""

    call: Call
    result: ToolResult
    seconds: float

    @property
    def images(self) -> tuple[Image, ...]:
        return self.result.images


class Batch:
    """The calls of one turn. `outcomes` are in the order of the calls once `run` is through."""

    def __init__(
        self, calls: Sequence[Call], tools: Mapping[str, Tool], bounds: ToolBounds, caller: Caller, turn: int
    ) -> None:
        self._calls = calls
        self._tools = tools
        self._bounds = bounds
        self._caller = caller
        self.turn = turn
        self.outcomes: list[Outcome] = []

    async def run(self) -> AsyncGenerator[ToolStarted | ToolEnded | ToolHeld]:
        """Tells of each start and end as it happens. Closing it stops the tools that are still at work."""
        done: dict[int, Outcome] = {}
        waiting = []
        for number, call in enumerate(self._calls):
            tool = self._tools.get(call.name)
            if tool is None or not self._bounds.policies.holds(tool.info, call.arguments):
                waiting.append(number)
                continue
            done[number] = Outcome(call, failure(HELD.format(name=call.name)), 0.0)
            yield ToolHeld(call, self.turn)
        width = (len(waiting) if self._bounds.parallel else 1) or 1
        for start in range(0, len(waiting), width):
            numbers = waiting[start : start + width]
            for number in numbers:
                yield ToolStarted(self._calls[number], self.turn)
            async for number, outcome in self._at_once(numbers):
                done[number] = outcome
                result = outcome.result
                yield ToolEnded(outcome.call, self.turn, result.text, result.failed, outcome.seconds)
        self.outcomes = [done[number] for number in range(len(self._calls))]

    async def _at_once(self, numbers: Sequence[int]) -> AsyncGenerator[tuple[int, Outcome]]:
        loop = asyncio.get_running_loop()
        tasks = {loop.create_task(self._one(self._calls[number])): number for number in numbers}
        try:
            waiting = set(tasks)
            while waiting:
                ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(ended, key=tasks.__getitem__):
                    yield tasks[task], task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, call: Call) -> Outcome:
        started = monotonic()
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            result = failure(f"There is no tool named '{call.name}'. Tools: {known}.")
        else:
            result = await run_tool(tool, call.arguments, self._caller, self._bounds)
        return Outcome(call, result, monotonic() - started)


async def run_tool(tool: Tool, arguments: str | Mapping[str, Any], caller: Caller, bounds: ToolBounds) -> ToolResult:
    """One call; whatever goes wrong, the result says it."""
    try:
        given = _object(arguments)
    except ValueError as error:
        return failure(f"The arguments are not a JSON object: {error}.")
    except RecursionError:
        return failure("The arguments are nested too deep.")
    if (wrong := await problem(tool, given)) is not None:
        return failure(f"The argument '{wrong[0]}' is not right: {wrong[1]}.")
    seconds = bounds.seconds_for(tool)
    try:
        async with asyncio.timeout(seconds):
            result = await tool.call(given, caller)
    except TimeoutError:
        return failure(f"The tool did not end within {seconds:g} seconds.")
    except HeadgateError as error:
        result = failure(f"{error.message} ({error.code})")
    except Exception as error:  # noqa: BLE001 - a tool may raise anything, and none breaks a run
        log.warning("tool %s failed: %s", tool.info.name, type(error).__name__)
        result = failure(f"The tool failed: {type(error).__name__}: {error}")
    return _bounded(result, bounds)


async def problem(tool: Tool, arguments: Mapping[str, Any]) -> tuple[str, str] | None:
    """(field, what is wrong with it) by the tool's schema, or None."""
    if not _checks:
        module = await asyncio.to_thread(importlib.import_module, "headgate.tools.arguments")
        _checks.append(module.problem)
    return _checks[0](tool.info.parameters, arguments)


_checks: list[Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[str, str] | None]] = []
"""The check, once its library was imported."""


def failure(text: str) -> ToolResult:
    return ToolResult(f"Error: {text}", failed=True)


def _object(arguments: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(arguments, str):
        return arguments
    parsed = json.loads(arguments or "{}")
    if not isinstance(parsed, dict):
        raise ValueError("they are something else")
    return parsed


def _bounded(result: ToolResult, bounds: ToolBounds) -> ToolResult:
    text = result.text
    if len(text) > bounds.characters:
        text = f"{text[: bounds.characters]}\n[{len(text) - bounds.characters} characters left out]"
    if bounds.defuses:
        text = defused(text)
    return result if text is result.text else replace(result, text=text)
