"""The story of one request. Knows no HTTP, no SQL and no provider."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from headgate.agents.types import AgentSettings
from headgate.core.chat import ChatEvent
from headgate.core.errors import HeadgateError
from headgate.core.events import Event, Opened, Whole
from headgate.core.request import ModelRequest
from headgate.core.run import Run, now
from headgate.core.surfaces import COMPACTION, RESPONSES
from headgate.pipeline.admit import admit
from headgate.pipeline.attempts import first_answer
from headgate.pipeline.background import stored_response
from headgate.pipeline.context import Deps
from headgate.pipeline.diary import follow
from headgate.pipeline.kept import KeptStream
from headgate.pipeline.mirror import mirror
from headgate.pipeline.remember import remembered
from headgate.pipeline.resolve import resolve
from headgate.pipeline.settle import Settling, account
from headgate.pipeline.steer import steer, steer_plain
from headgate.pipeline.strategy import decide
from headgate.pipeline.translate import as_chat


def execute(request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
    """One request, top to bottom. Settled when the iterator ends, on success, error and disconnect alike."""
    if run.continues is None:
        story = story_of(request, run, deps)
    else:
        story = (stored_response if request.surface in (RESPONSES, COMPACTION) else remembered)(
            story_of, request, run, deps
        )
    return story if deps.note is None else follow(story, request, run, deps.note)


def story_of(request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
    """The events of a request: those of an agent or a strategy, or a plain model's answer."""
    agent = deps.agents.find(request.model) if deps.agents is not None else None
    if agent is None and not run.mode:
        return relay(request, run, deps) if deps.inject is None else plain(request, run, deps)
    return decided(agent, request, run, deps)


def plain(request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
    """A plain model, with the tools that a setting adds if it does."""
    if deps.inject is None:
        return relay(request, run, deps)
    chat, lost = as_chat(request)
    model = deps.inject(chat, run)
    if model is None:
        return relay(request, run, deps)
    run.lost = lost
    return steer_plain(model, chat, run, deps)


async def decided(
    agent: AgentSettings | None, request: ModelRequest, run: Run, deps: Deps
) -> AsyncGenerator[Event | ChatEvent]:
    """The same where a strategy has to be chosen first."""
    with Settling(run, deps):
        chat, lost = as_chat(request)
        run.strategy = await decide(agent, chat, run, deps)
        if agent is None and run.strategy.name == "passthrough":
            story: AsyncGenerator[Event | ChatEvent] = plain(request, run, deps)
        else:
            run.lost = lost
            made = deps.reasoner if run.strategy.name == "reasoning" else deps.orchestrator
            story = steer(agent or made.on(request.model), chat, run, deps)
        async with aclosing(story):
            async for event in story:
                yield event


async def relay(request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event | ChatEvent]:
    """A plain model's answer as its provider gives it."""
    with Settling(run, deps):
        plan = await resolve(request, run, deps)
        run.label = plan.model.label or plan.model.name
        run.fields = request.fields
        await admit(plan, request, run, deps)
        if plan.model.mirror is not None:
            mirror(plan, request, run, deps)
        answer, attempt = await first_answer(plan, request, run, deps)
        if isinstance(answer, Whole):
            if attempt.tokens is None:
                attempt.text_bytes = len(answer.body)
            if deps.keeps_answers:
                attempt.answer = bytearray(answer.body[: deps.keeps_answers])
            account(run, deps)
            yield answer
            return
        run.breaks_off = getattr(answer, "broken", None)
        stream = KeptStream(answer, attempt, deps.keeps_answers) if deps.keeps_answers else answer
        stream.before_end = partial(account, run, deps)
        left = True
        try:
            yield Opened(stream.content_type, stream.events, stream.pour)
            while piece := await stream.next():
                yield piece
            left = False
        except HeadgateError as error:
            attempt.error = error
            left = False
            raise
        finally:
            attempt.ended = now()
            stream.close()
            deps.book.end(attempt, plan.ask.surface, blameless=left)
