"""Copies of requests for another model, whose answers nobody sees: they cost the caller neither time nor money."""

import asyncio
import logging
from random import random

from headgate.core.errors import HeadgateError
from headgate.core.events import Whole
from headgate.core.ports import Stream
from headgate.core.request import ModelRequest
from headgate.core.run import Run, now
from headgate.pipeline.attempts import first_answer
from headgate.pipeline.context import Deps, Plan
from headgate.pipeline.settle import settle
from headgate.routing.plan import Ask

_MOST_AT_ONCE = 64

log = logging.getLogger(__name__)


def mirror(plan: Plan, request: ModelRequest, run: Run, deps: Deps) -> None:
    """Begin a copy if the model's share says so. When many are under way already, this one is left out."""
    to = plan.model.mirror
    if to is None or (to.share < 1 and random() >= to.share) or len(deps.mirrors) >= _MOST_AT_ONCE:
        return
    copy = Run(f"{run.id}-mirror", run.trace.child(), "mirror", who=run.who, model=to.model, mirror_of=run.id)
    copy.stream = request.stream
    copy.fields, copy.bytes_in = request.fields, request.size
    task = asyncio.get_running_loop().create_task(_copy(to.model, request, copy, deps))
    deps.mirrors[task] = copy
    task.add_done_callback(deps.mirrors.pop)


async def _copy(name: str, request: ModelRequest, run: Run, deps: Deps) -> None:
    stream: Stream | None = None
    try:
        model = deps.catalog.configured(name) or await deps.catalog.find(name)
        run.label = model.label or model.name
        plan = Plan(model, Ask(request.surface.name))
        answer, attempt = await first_answer(plan, request, run, deps)
        if not isinstance(answer, Whole):
            stream = answer
            left = True
            try:
                while await stream.next():
                    pass
                left = False
            except HeadgateError as error:
                attempt.error = error
                left = False
                raise
            finally:
                attempt.ended = now()
                deps.book.end(attempt, plan.ask.surface, blameless=left)
        run.status = 200
    except HeadgateError as error:
        run.fail(error)
    except asyncio.CancelledError:
        run.cut_off()
        raise
    except Exception:
        log.exception("the mirrored request %s failed", run.id)
    finally:
        if stream is not None:
            stream.close()
        settle(run, deps)
