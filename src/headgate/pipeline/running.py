"""Runs in flight: what is to be seen of them, and how one is stopped. Knows this worker only, and no HTTP."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from headgate.core.errors import RunCancelled
from headgate.core.run import Run, now
from headgate.usage.types import RunQuery

_STOP_SECONDS = 1.0
_MILLISECONDS = 1000
_LONGEST = 512


class Tried(NamedTuple):
    """One attempt so far; times in milliseconds, None for what has not come. `error` is a code, empty for none."""

    target: str
    upstream: str
    model: str
    provider_model: str
    queued: int
    first_token: int | None
    total: int
    chunks: int
    error: str


class Running(NamedTuple):
    """A run in flight, as plain values that go from one worker to another. Times in milliseconds."""

    id: str
    place: str
    """Where it stands among all runs, see Past.place."""
    span: str
    parent: str
    key: str
    tenant: str
    user: str
    model: str
    component: str
    route: str
    stream: bool
    started_at: int
    duration: int
    attempts: tuple[Tried, ...]
    passed_over: dict[str, str]


_AT_ATTEMPTS = Running._fields.index("attempts")


def seen(runs: Iterable[Run], query: RunQuery, limit: int) -> list[Running]:
    """Those in flight that a query means, the newest first. One whose money is settled has ended."""
    moment, wall = now(), time.time()
    found = [_running(run, moment, wall) for run in runs if not run.is_accounted and _is_meant(run, query)]
    kept = [one for one in found if _is_when(one, query)]
    return sorted(kept, key=lambda one: one.place, reverse=True)[:limit]


def plain(running: Running) -> tuple[Any, ...]:
    """For another worker."""
    return (*running[:_AT_ATTEMPTS], [tuple(one) for one in running.attempts], *running[_AT_ATTEMPTS + 1 :])


def from_plain(values: Any) -> Running:
    """What another worker told of one."""
    running = Running(*values)
    return running._replace(attempts=tuple(Tried(*one) for one in running.attempts))


async def stop(tasks: "Mapping[asyncio.Task[Any], Run]", span: str, by: str) -> bool:
    """Stop a run, and wait a moment until it has ended. False if it is not here or has ended already."""
    for task, run in tasks.items():
        if _span(run) == span and not run.is_accounted and run.stopped_by is None:
            run.stopped_by = RunCancelled(f"The run was cancelled by the key '{by}'.")
            task.cancel()
            await asyncio.wait([task], timeout=_STOP_SECONDS)
            return True
    return False


def _span(run: Run) -> str:
    return f"{run.trace.span_id}{'m' if run.mirror_of else '-'}"


def _running(run: Run, moment: float, wall: float) -> Running:
    last = run.attempts[-1].started if run.attempts else run.started
    at, begun = (int((wall - (moment - one)) * _MILLISECONDS) for one in (last, run.started))
    return Running(
        run.id,
        f"{at:012x}{_span(run)}",
        _span(run),
        run.parent or run.mirror_of or "",
        run.who.key_id,
        run.who.tenant,
        run.who.user,
        (run.model or "")[:_LONGEST],
        run.component,
        run.route,
        run.stream,
        begun,
        int((moment - run.started) * _MILLISECONDS),
        tuple(
            Tried(
                one.target,
                one.upstream,
                one.model_name,
                one.model,
                int((one.started - run.started) * _MILLISECONDS),
                int((one.first_token - one.started) * _MILLISECONDS) if one.first_token else None,
                int(((one.ended if one.error else moment) - one.started) * _MILLISECONDS),
                one.chunks,
                one.error.code if one.error else "",
            )
            for one in run.attempts
        ),
        dict(run.passed_over),
    )


def _is_meant(run: Run, query: RunQuery) -> bool:
    who = run.who
    wanted = (query.id, query.parent, query.key, query.tenant, query.user)
    has = (run.id, run.parent or run.mirror_of, who.key_id, who.tenant, who.user)
    return (
        all(not want or want == have for want, have in zip(wanted, has, strict=True))
        and (not query.model or query.model == run.model or any(query.model == one.model_name for one in run.attempts))
        and (query.tenants is None or who.tenant in query.tenants or who.key_id == query.own)
    )


def _is_when(running: Running, query: RunQuery) -> bool:
    at = int(running.place[:12], 16)
    return (
        (query.since is None or at >= query.since)
        and (query.until is None or at < query.until)
        and (not query.after or running.place < query.after)
    )
