"""Follows a stored run, from any of its events on: what is written of it, and what comes, until it has ended.

The run may be at work in any process, or in none; all is read from the database.
"""

from collections.abc import AsyncGenerator
from time import monotonic

from headgate.conversations.types import WORKING, StoredEvent, StoredRun
from headgate.core.events import Event, Opened, Room, Sink
from headgate.core.state_errors import EventsGone, StateUnavailable
from headgate.dialects.table import CALLERS
from headgate.dialects.types import EVENT_STREAM
from headgate.pipeline.context import Deps
from headgate.pipeline.telling import DONE, frame

_LOOK_SECONDS = 0.1
"""How long news of a run takes that another worker makes."""
_AT_ONCE = 500
INTERRUPTED = "interrupted"
"""Why a run is incomplete whose process ended."""
_WITH_MARKER = ("completed", "incomplete", "requires_action")


def dialect_of(run: StoredRun) -> str:
    """The words in which a run tells its events."""
    told = run.request.get("headgate")
    return str(told.get("dialect") or "responses") if isinstance(told, dict) else "responses"


def _told_its_end(run: StoredRun) -> bool:
    """Whether its stream ended as a whole one does, and not with its process."""
    details = (run.response or {}).get("incomplete_details") or {}
    return run.status in _WITH_MARKER and details.get("reason") != INTERRUPTED


async def followed(run: StoredRun, after: int, deps: Deps, pings: float = 0.0) -> AsyncGenerator[bytes]:
    """The events behind number `after`, as they were or would have been sent. `pings`: seconds of silence after which
    a comment comes; 0 for never.
    """
    state, scribe, dialect = deps.state, deps.scribe, dialect_of(run)
    assert state is not None
    assert scribe is not None
    again, last = 0.0, monotonic()
    while True:
        run = await state.runs.get(run.id, run.owner)
        events = await state.runs.events(run.id, after, _AT_ONCE)
        if events:
            after, last = events[-1].number, monotonic()
            yield b"".join(frame(run.id, event, dialect) for event in events)
        if len(events) == _AT_ONCE:
            continue
        if run.status not in WORKING:
            if dialect == "chat" and _told_its_end(run) and after < run.events:
                yield frame(run.id, StoredEvent(run.events, DONE), dialect)
            return
        if deps.watch is not None and monotonic() >= again:
            again = monotonic() + await deps.watch.follow(run)
        if pings and monotonic() - last >= pings:
            last = monotonic()
            yield CALLERS[dialect].ping
        await scribe.news(run.id, _LOOK_SECONDS)


async def followed_story(run: StoredRun, after: int, deps: Deps) -> AsyncGenerator[Event]:
    """The same as the answer to a call."""
    yield Opened(EVENT_STREAM, True, _not_pushed)
    async for frames in followed(run, after, deps):
        yield frames


async def refuse_eventless(run: StoredRun, deps: Deps) -> None:
    """Raises EventsGone for a run that ended without telling any event."""
    if deps.state is None or deps.scribe is None:
        raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
    if run.status not in WORKING and not run.events and not await deps.state.runs.events(run.id, -1, 1):
        raise EventsGone(f"The response '{run.id}' has no events.", param="stream")


async def _not_pushed(_sink: Sink, _room: Room) -> None:
    """All pieces come from the database."""
