"""The targets of a plan, one after another until one answers. Until then nothing has been sent to the caller."""

import asyncio
import logging
from collections.abc import Awaitable

from headgate.core.errors import (
    HeadgateError,
    LimitReached,
    ModelUnpriced,
    UpstreamContextWindow,
    UpstreamError,
    UpstreamTimeout,
)
from headgate.core.events import Whole
from headgate.core.ports import Call, Stream
from headgate.core.request import UNCHANGED, Changes, ModelRequest
from headgate.core.run import Attempt, Run, now
from headgate.limits.estimate import bound_of, prompt_tokens
from headgate.pipeline.admit import afford
from headgate.pipeline.context import Deps, Plan
from headgate.pipeline.translate import answer_for, in_other_words
from headgate.routing.parameters import applied
from headgate.routing.plan import Notes, Step
from headgate.routing.types import Rules, Target

log = logging.getLogger(__name__)
_SHORTEST_TRY = 0.001


async def first_answer(plan: Plan, request: ModelRequest, run: Run, deps: Deps) -> tuple[Whole | Stream, Attempt]:
    """The first good answer and the attempt that gave it. Raises the error that tells best why there is none."""
    notes = Notes(run.passed_over, run.choices)
    begun = deps.planner.begin(plan.model, plan.ask, notes)
    step, steps = begun.step, None
    ends_at = run.started + plan.timeout if plan.timeout else 0.0
    told: UpstreamError | None = None
    refused: HeadgateError | None = None
    try:
        if step is None:
            steps = deps.planner.steps(begun, plan.ask, notes)
            step = next(steps)
        while True:
            if step.pause:
                await _pause(step.pause, ends_at, told)
            try:
                if step.model is not plan.model:
                    await afford(step.model, request, run, deps)
                return await _try(step, plan, request, run, deps)
            except (LimitReached, ModelUnpriced) as error:
                run.passed_over[step.target.name] = error.code
                refused = refused or error
                failure: UpstreamError = _NotAfforded(error.message)
            except UpstreamError as error:
                log.debug("%s: %s did not answer: %s: %s", run.id, step.target.name, error.code, error.message)
                told = _more_telling(told, error)
                if ends_at and now() >= ends_at:
                    raise told from None
                failure = error
            if steps is None:
                steps = deps.planner.steps(begun, plan.ask, notes)
                next(steps)  # what was just tried
            step = steps.send(failure)
    except StopIteration as end:
        untried: HeadgateError = end.value
        raise (told or refused or untried) from None


class _NotAfforded(UpstreamError):
    """Tells the planner, and nobody else, that a model is beyond the caller's means."""

    elsewhere = True


async def _try(step: Step, plan: Plan, request: ModelRequest, run: Run, deps: Deps) -> tuple[Whole | Stream, Attempt]:
    target, model, _, _ = step
    book, surface = deps.book, plan.ask.surface
    attempt = Attempt(target.upstream, target.model, target.name, target.key, model.name, now())
    attempt.price = target.price
    attempt.cost_of = deps.cost_of
    run.attempts.append(attempt)
    upstream, asked = deps.upstreams[target.upstream], request
    headers, lost = run.forwards if request.surface.dialect == run.dialect else b"", run.lost
    notes: tuple[str, ...] = ()
    parameters = run.who.terms.parameters
    rules = target.rules if parameters is None or target.layers is None else target.layers.under(parameters)
    if request.surface.dialect and request.surface.dialect not in upstream.speaks:
        usual = 0 if rules is None else rules.usual_answer
        request, missed, notes = in_other_words(request, upstream.speaks, usual=usual, longest=target.longest)
        headers, lost = b"", lost + missed
    changes = plan.changes if rules is None else _changes(rules, plan, request, attempt)
    if run.dialect != asked.surface.dialect and 0 < target.longest < bound_of(request.fields):
        changes = Changes({**changes.put, "max_tokens": target.longest}, changes.drop)  # for an agent's engine
        notes = (f"max_tokens={target.longest}",)
    if lost:
        attempt.dropped = (*lost, *attempt.dropped)
    if notes:
        attempt.applied = (*notes, *attempt.applied)
    timeout, hurried = 0.0, False
    if plan.timeout or target.timeout or target.stream_timeout:
        timeout, hurried = _time_for(target, plan, request, run)
    attempt.span, traceparent = run.trace.below()
    call = Call._make((request, target.model, run.id, traceparent, changes, run.trace.state, headers))
    book.begin(target, surface, counted=target.limits is not None or model.balance == "usage")
    blameless = True
    answer: Whole | Stream | None = None
    try:
        opening = upstream.open(call, attempt)
        answer = await (_within(timeout, opening) if timeout else opening)
        if request is not asked:
            answer = answer_for(answer, asked, request, run, attempt)
        blameless = False
        return answer, attempt
    except UpstreamError as error:
        attempt.error = error
        _tell_size(error, target, request)
        blameless = hurried and isinstance(error, UpstreamTimeout)
        raise
    finally:
        attempt.ended = now()
        if answer is None or type(answer) is Whole:
            book.end(attempt, surface, blameless=blameless)
        else:
            book.opened(attempt, surface)


def _tell_size(error: UpstreamError, target: Target, request: ModelRequest) -> None:
    """Of a prompt that was too long, say for what, and about how long it is; not all providers do."""
    if target.context and isinstance(error, UpstreamContextWindow):
        about = prompt_tokens(request.size, request.fields)
        error.message += f" '{target.name}' has a window of {target.context} tokens; we put the prompt at {about}."


async def _within(seconds: float, opening: Awaitable[Whole | Stream]) -> Whole | Stream:
    try:
        async with asyncio.timeout(seconds):
            return await opening
    except TimeoutError:
        raise UpstreamTimeout(f"The provider did not answer within {seconds:.3g} seconds.") from None


def _changes(rules: Rules, plan: Plan, request: ModelRequest, attempt: Attempt) -> Changes:
    done = applied(rules, request.fields, request.surface)
    attempt.dropped, attempt.applied = done.dropped, done.notes
    if plan.changes is UNCHANGED:
        return done.changes
    return Changes({**done.changes.put, **plan.changes.put}, done.changes.drop | plan.changes.drop)


def _time_for(target: Target, plan: Plan, request: ModelRequest, run: Run) -> tuple[float, bool]:
    """Seconds for this call, 0.0 for the upstream's own bounds; and whether others than the target made them so few."""
    own = (target.stream_timeout or target.timeout) if request.stream else target.timeout
    if not plan.timeout:
        return own, False
    left = max(_SHORTEST_TRY, run.started + plan.timeout - now())
    return (own, False) if own and own <= left else (left, True)


async def _pause(seconds: float, ends_at: float, told: UpstreamError | None) -> None:
    """Wait before the next try; raises at once when the answer would come too late."""
    if ends_at and now() + seconds >= ends_at and told is not None:
        raise told
    await asyncio.sleep(seconds)


def _more_telling(told: UpstreamError | None, error: UpstreamError) -> UpstreamError:
    """That a target was out of order says more than that another one knew no such model; else the last one counts."""
    if told is None or error.counts or not told.counts or not error.elsewhere:
        return error
    return told
