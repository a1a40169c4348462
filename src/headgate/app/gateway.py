"""Everything connected and running but the HTTP server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from headgate.api.gate import Bounds, Gate
from headgate.api.mcp import McpRoute
from headgate.app.agents import mcp_of, offered_of, steer_with
from headgate.app.governance import governed, keys_of
from headgate.app.idempotency import repeating
from headgate.app.prepare import Prepared, is_loopback
from headgate.app.secrets import secrets_of
from headgate.app.targets import composer_of, lists_of, upstream_of
from headgate.app.tools import equip
from headgate.app.tracing import traced
from headgate.config.tenants import cascade_of
from headgate.core.run import Run
from headgate.pipeline.context import Deps
from headgate.routing.catalog import Alias, Catalog
from headgate.routing.compose import cooldown_of, policy_of
from headgate.routing.health import Book
from headgate.routing.plan import Planner
from headgate.routing.probe import keep_probing
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
    upstreams = {one.name: upstream_of(one, wire, prepared.local) for one in settings.upstreams}
    metrics = Metrics()
    exchange = Exchange(metrics, prepared.metrics_folder)
    offering = {one.name: upstreams[one.name] for one in settings.upstreams if one.offer_all}
    lists = lists_of(settings)
    composer = composer_of(settings, lists)
    models = [composer.model(one) for one in settings.models]
    aliases = [Alias(one.name, one.model, one.hidden) for one in settings.aliases]
    catalog = Catalog(models, offering, composer, aliases)
    book = Book(cooldown_of(settings.routing))
    planner = Planner(policy_of(settings.routing), book, catalog.configured)
    cascade = cascade_of(settings)
    keys = keys_of(prepared, cascade)
    prices = Prices(lists.listed_now)
    for secret in (*secrets_of(settings), prepared.pepper.decode("latin-1")):
        conceal(secret)
    limits = settings.server.limits
    gate = Gate(
        keys=keys,
        deps=Deps(catalog, planner, book, upstreams, (metrics.observe, *observers)),
        bounds=Bounds(limits.body, limits.in_flight, settings.server.ping_seconds),
        metrics=metrics,
        exchange=exchange,
        metrics_public=settings.server.metrics_public,
        litellm_headers=settings.server.litellm_headers,
        key_header=(settings.auth.key_header or "").lower().encode(),
        lists=lists,
    )
    mcp = gate.mcp = mcp_of(settings, prepared.data_dir)
    registry = equip(gate, settings)
    steer_with(gate.deps, settings, registry, mcp)
    gate.offered = offered_of(registry, mcp)
    door = McpRoute(settings.mcp.serve, is_local=is_loopback(settings.server.host))
    if settings.mcp.serve.enabled:
        gate.mcp_route = door
    loop = asyncio.get_running_loop()
    duties = [loop.create_task(exchange.keep_publishing())]
    if every := settings.routing.probes.every:
        targets = [target for model in models for target in model.targets]
        duties.append(loop.create_task(keep_probing(every, targets, upstreams, book)))
    try:
        async with traced(settings, gate, wire), governed(prepared, gate, prices, cascade), repeating(prepared, gate):
            yield gate
    finally:
        for duty in (*duties, *gate.deps.mirrors):
            duty.cancel()
        exchange.publish()
        await door.close()
        if mcp is not None:
            await mcp.close()
        for upstream in upstreams.values():
            await upstream.close()
        wire.close()
