"""Everything connected and running but the HTTP server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from headgate.api.gate import Bounds, Gate
from headgate.api.mcp import McpRoute
from headgate.app.agents import mcp_of, offered_of, skills_of, steer_with
from headgate.app.compaction import compacting
from headgate.app.diary import noting
from headgate.app.governance import governed, keys_of
from headgate.app.idempotency import repeating
from headgate.app.parts import parts_of
from headgate.app.prepare import Prepared, is_loopback
from headgate.app.reload import Reloader, reloading
from headgate.app.secrets import secrets_of
from headgate.app.tools import equip
from headgate.app.tracing import traced
from headgate.config.tenants import cascade_of
from headgate.core.run import Run
from headgate.pipeline.context import Deps
from headgate.pipeline.observers import Observers
from headgate.routing.compose import cooldown_of
from headgate.routing.health import Book
from headgate.telemetry.exchange import Exchange
from headgate.telemetry.metrics import Metrics
from headgate.telemetry.redact import conceal
from headgate.upstreams.http import Wire
from headgate.usage.prices import Prices

__all__ = ["gateway"]


@contextlib.asynccontextmanager
async def gateway(prepared: Prepared, observers: tuple[Callable[[Run], None], ...] = ()) -> AsyncIterator[Gate]:
    """Everything connected and running but the HTTP server."""
    settings = prepared.settings
    wire = Wire()
    metrics = Metrics()
    told = Observers(metrics.observe, *observers)
    exchange = Exchange(metrics, prepared.metrics_folder, told.flush)
    book = Book(cooldown_of(settings.routing))
    parts = parts_of(settings, wire, prepared.local, book)
    cascade = cascade_of(settings)
    keys = keys_of(prepared, cascade)
    prices = Prices(parts.lists.listed_now)
    for secret in (*secrets_of(settings), prepared.pepper.decode("latin-1")):
        conceal(secret)
    limits = settings.server.limits
    gate = Gate(
        keys=keys,
        deps=Deps(parts.catalog, parts.planner, book, parts.upstreams, told),
        bounds=Bounds(limits.body, limits.in_flight, settings.server.ping_seconds),
        metrics=metrics,
        exchange=exchange,
        metrics_public=settings.server.metrics_public,
        litellm_headers=settings.server.litellm_headers,
        key_header=(settings.auth.key_header or "").lower().encode(),
        lists=parts.lists,
    )
    gate.deps.provider_of = parts.lists.provider_of
    gate.mcp = mcp_of(settings, prepared.data_dir)
    registry = equip(gate, settings, prepared.pepper, remembers=prepared.data_dir is not None)
    gate.skills = skills_of(settings)
    gate.templates = steer_with(gate.deps, settings, gate.skills, registry, gate.mcp)
    gate.offered = offered_of(registry, gate.mcp)
    door = McpRoute(settings.mcp.serve, is_local=is_loopback(settings.server.host))
    if settings.mcp.serve.enabled:
        gate.mcp_route = door
    reloader = Reloader(prepared, gate, wire, prices, parts, registry)
    loop = asyncio.get_running_loop()
    duties = [loop.create_task(exchange.keep_publishing())]
    try:
        async with (
            traced(settings, gate, wire),
            governed(prepared, gate, prices, cascade),
            repeating(prepared, gate),
            reloading(reloader, gate, prepared),
            noting(settings, gate),
            compacting(settings, gate),
        ):
            try:
                yield gate
            finally:
                told.flush()
    finally:
        for duty in (*duties, *gate.deps.mirrors):
            duty.cancel()
        exchange.publish()
        await door.close()
        await reloader.close()
        wire.close()
