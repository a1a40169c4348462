"""The story of one request. Knows no HTTP, no SQL and no provider."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

from headgate.core.errors import HeadgateError, InternalError
from headgate.core.events import Event, Opened, Whole
from headgate.core.ports import Stream
from headgate.core.request import ModelRequest
from headgate.core.run import Run, now
from headgate.pipeline.admit import admit
from headgate.pipeline.attempts import first_answer
from headgate.pipeline.context import Deps
from headgate.pipeline.kept import KeptStream
from headgate.pipeline.mirror import mirror
from headgate.pipeline.resolve import resolve
from headgate.pipeline.settle import account, settle


async def execute(request: ModelRequest, run: Run, deps: Deps) -> AsyncGenerator[Event]:
    """One request, top to bottom. Settled when the iterator ends, on success, error and disconnect alike."""
    stream: Stream | None = None
    try:
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
        else:
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
    except HeadgateError as error:
        run.fail(error)
        raise
    except (asyncio.CancelledError, GeneratorExit):
        run.cut_off()
        raise
    except BaseException:
        run.fail(InternalError("A fault of the gateway itself."))
        raise
    finally:
        settle(run, deps)
