"""Runs that have ended, put together from the ledger's entries: those in the database and those on their way to it."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from headgate.usage.journal import waiting
from headgate.usage.types import Entry, Outcome, RunQuery, Span, span_in

if TYPE_CHECKING:  # the routes know runs, and start without the database's libraries
    from headgate.usage.store import AttemptStore

Status = Literal["running", "completed", "failed", "cancelled", "disconnected"]
STATUSES: tuple[Status, ...] = ("running", "completed", "failed", "cancelled", "disconnected")
_STATUS: dict[Outcome, Status] = {
    "ok": "completed",
    "error": "failed",
    "cancelled": "cancelled",
    "disconnected": "disconnected",
}
_OUTCOME: dict[str, Outcome] = {status: outcome for outcome, status in _STATUS.items()}
_MOST_WAITING = 8 << 20


class Past(NamedTuple):
    """A run that has ended: its attempts in their order."""

    entries: tuple[Entry, ...]

    @property
    def final(self) -> Entry:
        return self.entries[-1]

    @property
    def span(self) -> str:
        """Tells runs apart that share an id."""
        return span_in(self.final.id)

    @property
    def place(self) -> str:
        """Where it stands among all runs; later ones have a greater place."""
        return self.final.id

    @property
    def status(self) -> Status:
        return _STATUS[self.final.outcome]

    @property
    def started_at(self) -> int:
        """Milliseconds since the epoch."""
        return self.final.started_at - self.final.queued

    @property
    def duration(self) -> int:
        """Milliseconds from the request's arrival to its end."""
        return self.final.queued + self.final.total

    @property
    def cost(self) -> int | None:
        """Nano-USD of all attempts; None as soon as the cost of one is not known."""
        known = [one.cost for one in self.entries if one.cost is not None]
        return sum(known) if len(known) == len(self.entries) else None


class Runs:
    """What can be read of runs that have ended. A run is here before its caller has the last byte."""

    def __init__(self, store: "AttemptStore", journals: Path) -> None:
        self._store = store
        self._journals = journals

    async def find(self, query: RunQuery, status: str, limit: int) -> list[Past]:
        """The newest first. `status` is empty for all."""
        outcome = _OUTCOME.get(status, "")
        undrained = await self._waiting()  # before the database is read: what is drained in between is in one of both
        here = [
            one for one in undrained if one.final and is_meant(one, query) and (not outcome or one.outcome == outcome)
        ]
        there = await self._store.finals(query, outcome, limit)
        finals = {one.id: one for one in (*there, *here)}
        newest = sorted(finals.values(), key=lambda one: one.id, reverse=True)[:limit]
        return await self._whole(newest, undrained)

    async def _whole(self, finals: Sequence[Entry], undrained: Iterable[Entry]) -> list[Past]:
        """The runs of these last attempts, with all their attempts."""
        several = {one.run for one in finals if one.attempt > 1}
        stored: Sequence[Entry] = ()
        if several:
            since = min(one.started_at - one.queued for one in finals if one.attempt > 1)
            stored = await self._store.of_runs(several, Span(since - 1, finals[0].started_at + 1))
        by_span: dict[str, dict[str, Entry]] = {}
        for entry in (*finals, *stored, *(one for one in undrained if one.run in several)):
            of_span = by_span.setdefault(span_in(entry.id), {})
            if entry.final or entry.id not in of_span:
                of_span[entry.id] = entry
        return [
            Past(tuple(sorted(by_span[span_in(one.id)].values(), key=lambda entry: entry.attempt))) for one in finals
        ]

    async def _waiting(self) -> Sequence[Entry]:
        return await asyncio.to_thread(waiting, self._journals, _MOST_WAITING)


def is_meant(entry: Entry, query: RunQuery) -> bool:
    """Whether a query means the run of an entry."""
    wanted = (query.id, query.parent, query.key, query.tenant, query.user)
    has = (entry.run, entry.parent, entry.key, entry.tenant, entry.user)
    return (
        all(not want or want == have for want, have in zip(wanted, has, strict=True))
        and (not query.model or query.model in (entry.model, entry.answered))
        and (query.tenants is None or entry.tenant in query.tenants or entry.key == query.own)
        and (query.since is None or entry.started_at >= query.since)
        and (query.until is None or entry.started_at < query.until)
        and (not query.after or entry.id < query.after)
    )
