"""The story of one request. Knows no HTTP, no SQL and no provider."""

from collections.abc import AsyncGenerator
from functools import partial

from headgate.core.chat import ChatEvent
from headgate.core.errors import HeadgateError
from headgate.core.events import Event, Opened, Whole
from headgate.core.request import ModelRequest
from headgate.core.run import Run, now
from headgate.pipeline.admit import admit
from headgate.pipeline.attempts import first_answer
from headgate.pipeline.context import Deps
from headgate.pipeline.mirror import mirror
from headgate.pipeline.resolve import resolve
from headgate.pipeline.settle import Settling, account
from headgate.pipeline.steer import steer, steer_plain


def execute(request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event] | AsyncGenerator[ChatEvent]:
    """One request, top to bottom. Settled when the iterator ends, on success, error and disconnect alike."""
    if deps.agents is not None and (agent := deps.agents.find(request.model)) is not None:
        return steer(agent, request, run, deps)
    if deps.inject is not None and (agent := deps.inject(request, run)) is not None:
        return steer_plain(agent, request, run, deps)
    return relay(request, run, deps)


async def relay(request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event]:
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
            account(run, deps)
            yield answer
            return
        answer.before_end = partial(account, run, deps)
        left = True
        try:
            yield Opened(answer.content_type, answer.events, answer.pour)
            while piece := await answer.next():
                yield piece
            left = False
        except HeadgateError as error:
            attempt.error = error
            left = False
            raise
        finally:
            attempt.ended = now()
            answer.close()
            deps.book.end(attempt, plan.ask.surface, blameless=left)
