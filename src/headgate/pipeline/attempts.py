"""The targets of a plan, tried in order until one answers. Nothing has been sent to the caller while this goes on."""

import asyncio
from random import random

from headgate.core.errors import UpstreamError, UpstreamTimeout
from headgate.core.events import Whole
from headgate.core.ports import Call, Stream
from headgate.core.request import ModelRequest
from headgate.core.run import Attempt, Run, now
from headgate.pipeline.context import Deps, Plan
from headgate.routing.types import Target

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0


async def first_answer(plan: Plan, request: ModelRequest, run: Run, deps: Deps) -> tuple[Whole | Stream, Attempt]:
    """The first good answer and the attempt that gave it; raises the last UpstreamError when all targets failed."""
    traceparent = run.trace.traceparent
    last = len(plan.model.targets) - 1
    for number, target in enumerate(plan.model.targets):
        call = Call(request, target.model, run.id, traceparent)
        try:
            return await _try_target(call, target, plan.model.retries, run, deps)
        except UpstreamError as error:
            if not error.elsewhere or number == last:
                raise
    raise AssertionError("a model has at least one target")


async def _try_target(call: Call, target: Target, retries: int, run: Run, deps: Deps) -> tuple[Whole | Stream, Attempt]:
    upstream = deps.upstreams[target.upstream]
    for tries_left in range(retries, -1, -1):
        attempt = run.begin(target.upstream, target.model)
        try:
            return await upstream.open(call, attempt), attempt
        except UpstreamError as error:
            attempt.error = error
            pause = _pause(error, retries - tries_left)
            if not tries_left or pause is None:
                raise
        finally:
            attempt.ended = now()
        await asyncio.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _pause(error: UpstreamError, tried: int) -> float | None:
    """Seconds to wait before the same target is tried again; None when that would not help or take too long."""
    if not error.retryable or isinstance(error, UpstreamTimeout):
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= _LONGEST_PAUSE else None
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**tried) * (0.5 + random() / 2)
