"""Model and tools take turns until the model answers, the caller has to act, or a bound is met.

Knows nothing of callers' dialects; what it says are events.

Bounds end a run, they never break it: the model is asked once more, without tools, to answer with what it has.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from headgate.core.chat import Answer, Asking, Call, ChatEvent, Ended, Finish, Other, StopReason, ToolHeld
from headgate.core.errors import HeadgateError, ToolLoopLimit, UpstreamTimeout
from headgate.core.events import Whole
from headgate.core.ports import Stream
from headgate.core.request import JsonRequest
from headgate.core.run import Attempt, Run, now
from headgate.core.tokens import Tokens
from headgate.dialects import chat, chat_reader
from headgate.pipeline.admit import admit
from headgate.pipeline.asking import asked, asked_for, keeps
from headgate.pipeline.attempts import first_answer
from headgate.pipeline.context import Deps, Plan
from headgate.pipeline.prepare import Prompt
from headgate.pipeline.resolve import resolve
from headgate.pipeline.settle import account
from headgate.pipeline.tools import bounds_of, note_tool
from headgate.tools.runner import Batch, ToolBounds
from headgate.tools.types import Caller, Image

_ANSWER_SECONDS = 60.0
_TOO_LITTLE = 0.01
"""Seconds with which nothing can be begun; clocks of timers differ by less."""


@dataclass(slots=True)
class Watch:
    """What a run has used up of its bounds."""

    prompt: Prompt
    run: Run
    turns: int = 0
    same: int = 0
    answering: bool = False
    """Its time may be over: this is the answer that is still owed."""
    last_calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def exceeded(self) -> StopReason:
        """The bound that forbids any further call of the model."""
        bounds = self.prompt.agent.bounds
        tokens = total_tokens(self.run)
        if bounds.seconds and now() - self.run.started >= bounds.seconds - _TOO_LITTLE:
            return "time_limit"
        if bounds.tokens and tokens is not None and tokens.prompt + tokens.completion >= bounds.tokens:
            return "token_limit"
        if bounds.usd and self.run.below + sum(one.cost or 0 for one in self.run.attempts) >= bounds.usd * 1e9:
            return "budget_limit"
        return ""

    def tiring(self, calls: tuple[Call, ...]) -> StopReason:
        """The bound that forbids any further tool call, now that these were made."""
        bounds = self.prompt.agent.bounds
        these = Counter((call.name, call.arguments) for call in calls)
        self.same = self.same + 1 if these == self.last_calls else 1
        self.last_calls = these
        if bounds.same_calls and self.same >= bounds.same_calls:
            return "repeated_tool_call"
        return self.tired()

    def tired(self) -> StopReason:
        """The bound on turns alone."""
        return "tool_loop_limit" if self.turns >= self.prompt.agent.bounds.turns else ""

    @property
    def seconds_left(self) -> float | None:
        seconds = self.prompt.agent.bounds.seconds
        if not seconds:
            return None
        least = min(seconds, _ANSWER_SECONDS) if self.answering else 0.001
        return max(least, seconds - (now() - self.run.started))


async def take_turns(prompt: Prompt, run: Run, deps: Deps) -> AsyncGenerator[ChatEvent]:
    """The whole of it, one event after another; the last is Ended."""
    watch = Watch(prompt, run)
    stop: StopReason = ""
    while True:
        watch.turns += 1
        turn = Turn(prompt.request(tool_choice="none") if stop and prompt.schemas else prompt.request(), watch)
        async for event in turn.take(run, deps):
            yield event
        answer = turn.answer
        own = tuple(call for call in answer.calls if prompt.is_own(call.name))
        if not own:
            for call in answer.calls:
                yield call
            yield Ended(answer.finish, stop, total_tokens(run), answer.beside)
            return
        account(run, deps, over=False)
        if stop:
            raise ToolLoopLimit(f"The model went on calling tools after the bound '{stop}' was met.")
        own = own[: prompt.agent.bounds.calls_per_turn]
        prompt.messages.append(chat.message_of(answer, own))
        prompt.let_choose()
        batch = Batch(own, prompt.tools, *tool_bounds(watch, run, deps), watch.turns)
        waits = False
        async for event in _use_tools(batch, prompt, run, deps):
            waits = waits or (type(event) is ToolHeld and event.action != "")
            yield event
        theirs = [call for call in answer.calls if not prompt.is_own(call.name)] if keeps(run) else []
        if waits or theirs or _suspended(prompt, run):
            finish: Finish = "tool_calls" if theirs else "stop"
            ended = Ended(finish, "requires_action", total_tokens(run), answer.beside)
            lasts: list[ChatEvent] = [*theirs, ended]
            for last in lasts:
                yield last
            return
        if over := watch.exceeded():
            yield Ended("length", over, total_tokens(run), answer.beside)
            return
        stop = watch.tiring(own)


def _suspended(prompt: Prompt, run: Run) -> bool:
    """Whether a run above has to ask somebody before this one goes on, which takes all of its messages."""
    if run.held:
        run.transcript = prompt.messages
    return bool(run.held)


async def _use_tools(batch: Batch, prompt: Prompt, run: Run, deps: Deps) -> AsyncGenerator[ChatEvent]:
    """Run the calls of a turn, and tell the model what came of them."""
    async with aclosing(batch.run()) as events:
        async for event in events:
            note_tool(event, prompt, run)
            yield await asked(event, prompt, run, deps) if type(event) is ToolHeld else event
    for outcome in batch.outcomes:
        prompt.messages.append(chat.result_of(outcome.call, outcome.result.text))
        for held in outcome.result.held:
            yield await asked_for(held, ToolHeld(outcome.call, batch.turn), run, deps)
    if images := [image for outcome in batch.outcomes for image in outcome.images]:
        prompt.messages.append(chat.images_of(images))
    if pictures := [image for outcome in batch.outcomes for image in outcome.result.shown]:
        yield _shown(pictures, prompt)


def _shown(pictures: Sequence[Image], prompt: Prompt) -> Other:
    """Pictures for the caller, numbered on."""
    first = prompt.pictures
    prompt.pictures += len(pictures)
    return Other({"images": chat.pictures_of(pictures, first)})


@dataclass(slots=True)
class Turn:
    """One call of the model."""

    request: JsonRequest
    watch: Watch
    reader: chat_reader.Reader = field(default_factory=chat_reader.Reader)

    @property
    def answer(self) -> Answer:
        return self.reader.answer

    async def take(self, run: Run, deps: Deps) -> AsyncGenerator[ChatEvent]:
        """What the model says, as it says it. The first turn tells nothing before somebody answers, so that what fails
        there can still be a plain error.
        """
        watch, request = self.watch, self.request
        if watch.turns > 1:
            yield Asking(watch.turns)
        plan = await self._planned(run, deps)
        await admit(plan, request, run, deps)
        run.fields = request.fields
        answer, attempt = await first_answer(plan, request, run, deps)
        if watch.turns == 1:
            yield Asking(1)
        if isinstance(answer, Whole):
            for event in self.reader.whole(answer.body):
                yield event
        else:
            async for event in self._read(answer, attempt, plan, deps):
                yield event
        for event in self.reader.finish():
            yield event
        if run.pictures:
            shown, run.pictures = run.pictures, ()
            yield _shown(shown, watch.prompt)

    async def _planned(self, run: Run, deps: Deps) -> Plan:
        plan = await resolve(self.request, run, deps)
        left = self.watch.seconds_left
        if left is None:
            return plan
        until = now() - run.started + left
        return plan._replace(timeout=min(plan.timeout or until, until))

    async def _read(self, stream: Stream, attempt: Attempt, plan: Plan, deps: Deps) -> AsyncGenerator[ChatEvent]:
        left = True
        try:
            while piece := await self._next(stream):
                for event in self.reader.feed(piece):
                    yield event
            left = False
        except HeadgateError as error:
            attempt.error = error
            left = False
            raise
        finally:
            attempt.ended = now()
            stream.close()
            deps.book.end(attempt, plan.ask.surface, blameless=left)

    async def _next(self, stream: Stream) -> bytes:
        try:
            async with asyncio.timeout(self.watch.seconds_left):
                return await stream.next()
        except TimeoutError:
            raise UpstreamTimeout("The model did not end within the time that its agent has.") from None


def tool_bounds(watch: Watch, run: Run, deps: Deps) -> tuple[ToolBounds, Caller]:
    """How the calls of a turn are run, and for whom."""
    bounds = bounds_of(watch.prompt, run, deps, watch.seconds_left)
    return bounds, Caller(run.who, run.id, watch.prompt.agent.name, run.depth, run.trace.traceparent)


def total_tokens(run: Run) -> Tokens | None:
    """Those of all attempts together, and of agents that worked for it; None if no provider told."""
    told = [attempt.tokens for attempt in run.attempts if attempt.tokens is not None]
    if run.tokens_below is not None:
        told.append(run.tokens_below)
    return Tokens(*map(sum, zip(*told, strict=True))) if told else None
