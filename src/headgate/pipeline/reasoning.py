"""The reasoning strategy: the model thinks and uses tools in visible steps, then answers with the whole conversation.

Steps are native tool calls where the model can make them, else JSON; the events are the same. A step that cannot be
read is asked for once more, then the answer is written with what there is; so it is when a bound ends the steps, or a
later one of them fails.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import orjson

from headgate.agents.written import json_in
from headgate.core.chat import (
    Asking,
    Call,
    ChatEvent,
    Ended,
    Other,
    Step,
    StopReason,
    ToolEnded,
    ToolHeld,
    ToolStarted,
)
from headgate.core.errors import UpstreamError
from headgate.core.run import Run
from headgate.core.tokens import Tokens
from headgate.dialects import chat
from headgate.pipeline.asking import asked, asked_for
from headgate.pipeline.context import Deps
from headgate.pipeline.final_answer import final_answer
from headgate.pipeline.prepare import Prompt
from headgate.pipeline.settle import account
from headgate.pipeline.tools import note_tool
from headgate.pipeline.turns import Turn, Watch, tool_bounds, total_tokens
from headgate.tools.runner import Batch, Outcome

Action = Literal["continue_thinking", "use_tools", "finished"]
_GO_ON = "CONTINUE"
ONLY_FOR_ANSWERS = frozenset(
    ("tool_choice", "parallel_tool_calls", "response_format", "logprobs", "top_logprobs", "stop")
)
"""Fields of the caller that are meant for the answer, not for the steps."""


class Planned(NamedTuple):
    """One step as the model wants it. `why` has a reason for each call, in their order."""

    thought: str
    action: Action
    calls: tuple[Call, ...] = ()
    why: tuple[str, ...] = ()
    concurrent: bool = True


class Unreadable(ValueError):
    """The model's step is not one."""


@dataclass(slots=True)
class Reasoning:
    """One run of it. `notes` are the messages that the steps left behind, `stop` the bound that ended them."""

    prompt: Prompt
    run: Run
    deps: Deps
    watch: Watch
    native: bool
    notes: list[dict[str, Any]] = field(default_factory=list)
    stop: StopReason = ""
    held: bool = False
    """A call waits for a person: nothing is answered before."""
    made: list[ToolStarted | ToolEnded] = field(default_factory=list)
    """The calls of the steps, as they are kept if the run has to wait."""
    called: int = 0
    """Tool calls of the steps so far: told with running numbers, or OpenAI's SDKs could not put them together."""

    async def steps(self) -> AsyncGenerator[ChatEvent]:
        """All steps, until the model is finished or a bound is met."""
        while True:
            number = self.watch.turns + 1
            planned: Planned | None = None
            async for event in self._plan(number):
                if isinstance(event, Planned):
                    planned = event
                else:
                    yield event
            if planned is None:
                return
            if planned.calls:
                async for event in self._use_tools(number, planned):
                    yield event
            names = [call.name for call in planned.calls]
            yield Step("iteration_complete", number, {"tools": names, "had_tools": bool(names)})
            if planned.action == "finished" or self.held:
                return
            self.stop = self._stop(planned.calls)
            if self.stop:
                return

    async def _plan(self, number: int) -> AsyncGenerator[ChatEvent | Planned]:
        """Ask for the step; one that cannot be read is asked for once more."""
        for attempt in (1, 2):
            before = total_tokens(self.run) or Tokens()
            turn = Turn(self._request(), self.watch)
            self.watch.turns = number
            told = attempt == 2
            try:
                async for event in turn.take(self.run, self.deps):
                    if isinstance(event, Asking) and not told:
                        told = True
                        yield Step("iteration_start", number, {"tools": []})
            except UpstreamError as error:
                self.stop = self.watch.exceeded()
                if number == 1 and not self.stop:
                    raise  # nothing was found out, and the caller can still be told by a status
                if not told:
                    yield Step("iteration_start", number, {"tools": []})
                yield Step("error", number, error=f"{error.message} ({error.code})")
                return
            account(self.run, self.deps, over=False)
            try:
                planned = self._read(turn)
            except Unreadable as error:
                if attempt == 2:
                    yield Step("error", number, error=f"The step could not be read: {error}.")
                    return
                self._ask_again(turn, error)
                continue
            yield _planning(number, planned, spent(before, total_tokens(self.run)))
            yield planned
            return

    def _read(self, turn: Turn) -> Planned:
        answer = turn.answer
        if not self.native:
            planned = read_step(answer.text, number=len(self.notes))
            self.notes.append({"role": "assistant", "content": answer.text})
            return planned
        calls = answer.calls[: self.prompt.agent.bounds.calls_per_turn]
        self.notes.append(chat.message_of(answer, calls))
        goes_on = answer.text.rstrip().endswith(_GO_ON)
        thought = answer.text.rstrip().removesuffix(_GO_ON).strip() or answer.thought.strip()
        action: Action = "use_tools" if calls else "continue_thinking" if goes_on else "finished"
        return Planned(thought, action, calls, ("",) * len(calls), self.prompt.agent.parallel_tools)

    def _ask_again(self, turn: Turn, error: Unreadable) -> None:
        said = turn.answer.text or turn.answer.refusal or "(nothing)"
        self.notes += (
            {"role": "assistant", "content": said},
            {"role": "user", "content": f"That could not be read: {error}. Answer with the one JSON object only."},
        )

    async def _use_tools(self, number: int, planned: Planned) -> AsyncGenerator[ChatEvent]:
        calls = planned.calls[: self.prompt.agent.bounds.calls_per_turn]
        names = [call.name for call in calls]
        first = self.called
        self.called += len(calls)
        predictions = [
            {"index": at, "tool_name": call.name, "arguments": _arguments(call), "reasoning": why}
            for at, (call, why) in enumerate(zip(calls, planned.why, strict=False), first)
        ]
        told = {"tools": names, "tool_predictions": predictions, "concurrent_execution": planned.concurrent}
        yield Step("tool_execution_start", number, told)
        bounds, caller = tool_bounds(self.watch, self.run, self.deps)
        batch = Batch(calls, self.prompt.tools, replace(bounds, parallel=planned.concurrent), caller, number)
        async with aclosing(batch.run()) as events:
            async for event in events:
                note_tool(event, self.prompt, self.run)
                if isinstance(event, ToolHeld):
                    event = await asked(event, self.prompt, self.run, self.deps)
                    self.held = self.held or bool(event.action)
                    yield event
                else:
                    self.made.append(event)
        results = [{"index": at, **_result(one)} for at, one in enumerate(batch.outcomes, first)]
        yield Step("tool_result", number, {"tools": names, "tool_results": results})
        for outcome in batch.outcomes:
            self._note_result(outcome.call, outcome.result.text)
            for held in outcome.result.held:
                told_held = await asked_for(held, ToolHeld(outcome.call, number), self.run, self.deps)
                self.held = self.held or bool(told_held.action)
                yield told_held
        if images := [image for outcome in batch.outcomes for image in outcome.images]:
            self.notes.append(chat.images_of(images))
        if pictures := [image for outcome in batch.outcomes for image in outcome.result.shown]:
            yield Other({"images": chat.pictures_of(pictures, self.prompt.pictures)})
            self.prompt.pictures += len(pictures)

    def _note_result(self, call: Call, result: str) -> None:
        if self.native:
            self.notes.append(chat.result_of(call, result))
            return
        told = f"Result of the tool {call.name}:\n{result}"
        if self.notes[-1]["role"] == "user":
            self.notes[-1]["content"] += f"\n\n{told}"
        else:
            self.notes.append({"role": "user", "content": told})

    def _request(self) -> Any:
        """The next step's call: without the caller's system text, which is for the answer."""
        prompt, prompts = self.prompt, self.deps.prompts
        how = prompts["reasoning_tools"] if self.native else f"{prompts['reasoning_json']}\n\n{_listed(prompt)}"
        conversation = [message for message in prompt.messages if message.get("role") not in ("system", "developer")]
        system = {"role": "system", "content": f"{prompts['reasoning']}\n\n{how}"}
        fields = {name: value for name, value in prompt.fields.items() if name not in ONLY_FOR_ANSWERS}
        if self.deps.step_temperature is not None:
            fields["temperature"] = self.deps.step_temperature
        if not self.native:
            fields["response_format"] = {"type": "json_object"}
        schemas = [tool.info.schema for tool in prompt.tools.values()] if self.native else []
        messages = [system, *conversation, *self.notes]
        return replace(prompt, messages=messages, fields=fields, schemas=schemas, stream=False).request()

    def _stop(self, calls: tuple[Call, ...]) -> StopReason:
        return self.watch.exceeded() or (self.watch.tiring(calls) if calls else self.watch.tired())


async def reason(prompt: Prompt, run: Run, deps: Deps) -> AsyncGenerator[ChatEvent]:
    """The whole of it; the last event is Ended."""
    watch = Watch(prompt, run)
    native = deps.calls_tools(prompt.model) and bool(prompt.tools)
    reasoning = Reasoning(prompt, run, deps, watch, native)
    async for event in reasoning.steps():
        yield event
    yield Step("reasoning_complete", 0, {"total_steps": watch.turns})
    if reasoning.held:
        for event in reasoning.made:  # so that they stand in the conversation, and are told when it goes on
            yield event
        yield Ended("stop", "requires_action", total_tokens(run))
        return
    async for event in _answer(reasoning):
        yield event


async def _answer(reasoning: Reasoning) -> AsyncGenerator[ChatEvent]:
    """The answer, with the caller's own system text."""
    prompt, run, watch = reasoning.prompt, reasoning.run, reasoning.watch
    closing = {"role": "user", "content": reasoning.deps.prompts["final_answer"]}
    messages = [*prompt.messages, *reasoning.notes, closing]
    native = reasoning.native and bool(prompt.schemas)
    final = replace(prompt, messages=messages, schemas=prompt.schemas if native else [])
    watch.answering = True
    turn = Turn(final.request(tool_choice="none") if native else final.request(), watch)
    async for event in final_answer(turn, run, reasoning.deps, reasoning.stop):
        yield event


def read_step(text: str, number: int = 0) -> Planned:
    """A step that the model wrote as JSON; raises Unreadable. Fences around it do no harm."""
    try:
        step = json_in(text)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    if not isinstance(step, dict):
        raise Unreadable("it is not a JSON object")
    action = step.get("next_action")
    if action not in ("continue_thinking", "use_tools", "finished"):
        raise Unreadable("next_action must be continue_thinking, use_tools or finished")
    wanted = step.get("tools_to_use") or []
    if not isinstance(wanted, list) or not all(isinstance(one, dict) and one.get("tool_name") for one in wanted):
        raise Unreadable("tools_to_use must be a list of objects with a tool_name")
    if action != "use_tools":
        wanted = []
    calls = tuple(
        Call(f"call_{number}_{at}", str(one["tool_name"]), orjson.dumps(one.get("arguments") or {}).decode())
        for at, one in enumerate(wanted)
    )
    why = tuple(str(one.get("reasoning") or "") for one in wanted)
    return Planned(str(step.get("thought") or ""), action, calls, why, step.get("concurrent_execution") is not False)


def _planning(number: int, planned: Planned, tokens: Tokens) -> Step:
    names = [call.name for call in planned.calls]
    return Step("planning", number, {"thought": planned.thought, "tools_planned": names, "tools": names}, tokens=tokens)


def _result(outcome: Outcome) -> Mapping[str, Any]:
    result = outcome.result
    return {
        "tool_name": outcome.call.name,
        "success": not result.failed,
        "result": None if result.failed else result.text,
        "error": result.text if result.failed else None,
        "execution_time_ms": round(outcome.seconds * 1000, 1),
    }


def _arguments(call: Call) -> Any:
    try:
        return orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        return call.arguments


def _listed(prompt: Prompt) -> str:
    tools = [orjson.dumps(tool.info.schema["function"]).decode() for tool in prompt.tools.values()]
    return "Tools:\n" + ("\n".join(tools) or "none")


def spent(before: Tokens, after: Tokens | None) -> Tokens:
    return Tokens(*(now - then for now, then in zip(after or before, before, strict=True)))
