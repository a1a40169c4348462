"""Streams of stored runs that were cut: gone on with behind the last event that the caller saw."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headgate.api.fields import who_asks
from headgate.api.gate import Gate
from headgate.conversations.store import State
from headgate.conversations.types import Owner, StoredRun
from headgate.core.errors import InvalidField, InvalidHeader
from headgate.core.events import Event
from headgate.core.run import Run
from headgate.core.state_errors import StateUnavailable
from headgate.pipeline.following import followed, followed_story, refuse_eventless
from headgate.pipeline.telling import place_of

LAST_SEEN = b"last-event-id"


def state_of(gate: Gate) -> State:
    """Raises StateUnavailable where nothing is kept."""
    if gate.deps.state is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    return gate.deps.state


def owner_of(request: Request, gate: Gate) -> Owner:
    """Whose things a control call means: those of the key's tenant, and of the user whom it names."""
    who = gate.acting(who_asks(request), dict(request.scope["headers"]))
    request.scope["who"] = request.scope["run"].who = who
    return Owner(who.tenant, who.user)


async def resumed(seen: bytes, run: Run, gate: Gate) -> AsyncGenerator[Event]:
    """The rest of a stream for a call that is made again; no model is asked."""
    id_, number = place_of(seen)
    stored = await state_of(gate).runs.get(id_, Owner(run.who.tenant, run.who.user))
    await refuse_eventless(stored, gate.deps)
    run.conversation, run.replay_of, run.stream = stored.conversation, stored.request_id, True
    return followed_story(stored, number, gate.deps)


async def events(request: Request, gate: Gate) -> Response:
    """`GET /v1/runs/{id}/events`: the events of a stored run, behind `Last-Event-ID` or `starting_after`."""
    state, id_ = state_of(gate), request.path_params["id"]
    stored = await state.runs.get(id_, owner_of(request, gate))
    return await stream_of(stored, number_after(request, id_), gate)


def number_after(request: Request, id_: str) -> int:
    """The number of the last event that the caller saw, -1 for none."""
    seen = dict(request.scope["headers"]).get(LAST_SEEN)
    if seen is not None:
        run, number = place_of(seen)
        if run != id_:
            raise InvalidHeader("The header Last-Event-ID names an event of another run.", param="last-event-id")
        return number
    given = request.query_params.get("starting_after")
    if given is None or given == "":
        return -1
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        message = "The parameter 'starting_after' must be the number of an event."
        raise InvalidField(message, param="starting_after")
    return int(given)


async def stream_of(stored: StoredRun, after: int, gate: Gate) -> Response:
    """Raises EventsGone."""
    await refuse_eventless(stored, gate.deps)

    async def frames() -> AsyncIterator[bytes]:
        async with aclosing(followed(stored, after, gate.deps, gate.bounds.keep_alive)) as pieces:
            async for piece in pieces:
                yield piece
                if gate.draining:
                    return

    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(frames(), media_type="text/event-stream; charset=utf-8", headers=headers)
