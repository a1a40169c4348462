"""Control routes that make calls of models or tools: counted as in flight, and ended when their caller leaves."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.gate import Gate
from headgate.core.errors import Draining
from headgate.core.run import Run
from headgate.pipeline.settle import settle

_LEFT = 499
"""What proxies log for a caller who left; nobody reads it."""


async def at_work(request: Request, gate: Gate, act: Callable[[], Awaitable[Response]]) -> Response:
    """What `act` answers; the process does not end before. The caller was let in already."""
    run: Run = request.scope["run"]
    request.scope["cancel_on_disconnect"] = True
    task = asyncio.current_task()
    assert task is not None
    gate.active[task] = run
    try:
        return await act()
    except asyncio.CancelledError:
        if run.stopped_by is not None:
            run.cut_off()
            settle(run, gate.deps)
            raise run.stopped_by from None
        if gate.draining:
            raise Draining("This process shut down before it was done.", retry_after=1) from None
        run.outcome, run.status = "disconnected", _LEFT
        settle(run, gate.deps)
        return Response(status_code=_LEFT)
    finally:
        request.scope["cancel_on_disconnect"] = False
        gate.active.pop(task, None)
