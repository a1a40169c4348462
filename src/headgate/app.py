"""The composition root: the one file that names concrete classes and puts them together."""

import asyncio
import contextlib
import gc
import importlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from headgate.api.gate import Bounds, Gate
from headgate.api.lists import Lists
from headgate.api.routes import Application
from headgate.api.server import Server, ServerOptions
from headgate.config.load import Loaded, prepare_sdk
from headgate.config.tree import Settings
from headgate.core.bounds import Bound
from headgate.core.errors import StartupError
from headgate.core.money import Price
from headgate.core.ports import Counters, Upstream
from headgate.core.run import Run
from headgate.db.engine import Database, default_url, open_database
from headgate.db.migrate import migrate
from headgate.identity.compose import identity_of
from headgate.identity.keys import KeyRing, kept_secret, new_key, refuse_weak
from headgate.identity.signal import Signal
from headgate.identity.types import Allowance, Defaults, configured_tenants
from headgate.limits.counters import TableCounters
from headgate.limits.limiter import Limiter
from headgate.limits.local import LocalTable
from headgate.limits.shared import SharedTable
from headgate.limits.types import BoundSettings, bound_of
from headgate.pipeline.context import Deps
from headgate.routing.capabilities import facts_of
from headgate.routing.catalog import Alias, Catalog
from headgate.routing.compose import Composer, cooldown_of, policy_of
from headgate.routing.health import Book
from headgate.routing.plan import Planner
from headgate.routing.probe import keep_probing
from headgate.telemetry.exchange import Exchange
from headgate.telemetry.logs import JsonHandler, LineWriter, PlainHandler, request_logger
from headgate.telemetry.metrics import Metrics
from headgate.telemetry.redact import conceal
from headgate.upstreams.http import Wire
from headgate.upstreams.litellm import LiteLLMUpstream
from headgate.upstreams.local import LocalProcess, LocalUpstream
from headgate.upstreams.mock import MockUpstream
from headgate.upstreams.openai import OpenAIUpstream
from headgate.upstreams.registry import PROVIDERS
from headgate.upstreams.types import LocalAddress, LocalSettings, UpstreamSettings
from headgate.usage import pricing
from headgate.usage.journal import Journal
from headgate.usage.ledger import Ledger
from headgate.usage.prices import Prices
from headgate.usage.pricing import listed
from headgate.usage.recorder import Recorder
from headgate.usage.reports import Reports
from headgate.usage.store import AttemptStore

if TYPE_CHECKING:
    from headgate.limits.redis import RedisCounters

__all__ = [
    "LocalProcess",
    "Prepared",
    "bring_up_to_date",
    "gateway",
    "http_server",
    "local_processes",
    "prepare",
    "serve",
]
_COLLECT_AFTER = 10_000
_LAST_DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a worker needs to serve; crosses a process boundary, so it holds plain values only."""

    settings: Settings
    keys: tuple[tuple[str, bool], ...]
    """(key, whether it is the master key)"""
    pepper: bytes
    local: Mapping[str, LocalAddress]
    metrics_folder: Path | None = None
    data_dir: Path | None = None
    """Where keys and the ledger are kept; None to keep nothing."""


def prepare(loaded: Loaded, local: Mapping[str, LocalAddress], *, insecure: bool = False) -> Prepared:
    """Settle the keys. Raises StartupError for weak keys or no keys where others could reach us."""
    settings = loaded.settings
    auth = settings.auth
    given = auth.master_key.get_secret_value() if auth.master_key else None
    master = given or kept_secret(loaded.data_dir / "master.key", new_key())
    keys = ((master, True), *((token.get_secret_value(), False) for token in auth.tokens))
    if not is_loopback(settings.server.host) and not insecure:
        if not auth.required:
            raise StartupError(
                f"Without keys the gateway listens on loopback only, not on {settings.server.host}. "
                "Set REQUIRE_AUTH=true, or pass --insecure if the network itself keeps others out."
            )
        refuse_weak((f"The {'master key' if is_master else 'token'}", key) for key, is_master in keys)
        refuse_weak(
            (f"A key of tenant '{one.id}'", key.get_secret_value()) for one in settings.tenants for key in one.keys
        )
    pepper = kept_secret(loaded.data_dir / "pepper", new_key()).encode()
    return Prepared(settings, keys, pepper, local, data_dir=loaded.data_dir)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_processes(settings: Settings, tell: Callable[[str], None]) -> dict[str, LocalProcess]:
    """The local models' processes by upstream name, not started yet; raises StartupError when one cannot run."""
    return {
        one.name: LocalProcess(one.name, one.local or LocalSettings(), tell)
        for one in settings.upstreams
        if one.provider == "local"
    }


@contextlib.asynccontextmanager
async def gateway(prepared: Prepared, observers: tuple[Callable[[Run], None], ...] = ()) -> AsyncIterator[Gate]:
    """Everything connected and running but the HTTP server."""
    settings = prepared.settings
    wire = Wire()
    upstreams = {one.name: _upstream(one, wire, prepared.local) for one in settings.upstreams}
    metrics = Metrics()
    exchange = Exchange(metrics, prepared.metrics_folder)
    offering = {one.name: upstreams[one.name] for one in settings.upstreams if one.offer_all}
    lists = _lists(settings)
    composer = _composer(settings, lists)
    models = [composer.model(one) for one in settings.models]
    aliases = [Alias(one.name, one.model, one.hidden) for one in settings.aliases]
    catalog = Catalog(models, offering, composer, aliases)
    book = Book(cooldown_of(settings.routing))
    planner = Planner(policy_of(settings.routing), book, catalog.configured)
    keys = _keys(prepared)
    prices = Prices(lists.listed_now)
    for one in settings.upstreams:
        if one.api_key:
            conceal(one.api_key.get_secret_value())
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
    loop = asyncio.get_running_loop()
    duties = [loop.create_task(exchange.keep_publishing())]
    if every := settings.routing.probes.every:
        targets = [target for model in models for target in model.targets]
        duties.append(loop.create_task(keep_probing(every, targets, upstreams, book)))
    try:
        async with _governed(prepared, gate, prices):
            yield gate
    finally:
        for duty in (*duties, *gate.deps.mirrors):
            duty.cancel()
        exchange.publish()
        for upstream in upstreams.values():
            await upstream.close()
        wire.close()


async def serve(prepared: Prepared, listening: socket.socket, when_ready: Callable[[], None] | None = None) -> None:
    """Serve until a signal says to stop and the streams have ended."""
    writer = LineWriter(sys.stdout.buffer)
    _log_to(writer, logging.DEBUG if prepared.settings.logging.debug else logging.INFO)
    observers = (request_logger(writer.write),) if prepared.settings.logging.requests else ()
    try:
        async with gateway(prepared, observers) as gate:
            server = http_server(gate, prepared.settings)
            _calm_collector()
            if when_ready:
                asyncio.get_running_loop().create_task(_when_started(server, when_ready))
            await server.serve(sockets=[listening])
    finally:
        writer.close()


def _keys(prepared: Prepared) -> KeyRing:
    """The keys of the configuration."""
    settings, limits = prepared.settings, prepared.settings.limits
    allowances = (_allowance(one) for one in (limits.keys, limits.users, limits.tenants))
    keys = KeyRing(
        prepared.pepper,
        required=settings.auth.required,
        tenants=configured_tenants(settings.tenants),
        defaults=Defaults(*allowances),
    )
    for key, is_master in prepared.keys:
        keys.add(key, is_admin=is_master)
        conceal(key)
    for tenant in settings.tenants:
        for secret in tenant.keys:
            keys.add(secret.get_secret_value(), tenant=tenant.id)
            conceal(secret.get_secret_value())
    return keys


def _allowance(settings: BoundSettings) -> Allowance:
    bound = bound_of("", settings)
    return Allowance(bound.rate, bound.budgets) if bound else Allowance()


@contextlib.asynccontextmanager
async def _governed(prepared: Prepared, gate: Gate, prices: Prices) -> AsyncIterator[None]:
    """Limits, and what is kept: keys, tenants and the ledger, opened, brought up to date and kept going."""
    settings, folder = prepared.settings, prepared.data_dir
    limiter = Limiter(await _counters(settings, folder))
    gate.deps.limiter = limiter
    gate.deps.price_of = lambda target: prices.of(target.upstream, target.model, 0)
    gate.deps.refuses_unpriced = settings.usage.refuse_unpriced
    gate.deps.typical_answer = settings.limits.typical_answer
    gate.list_price = prices.of
    try:
        if folder is None:
            yield
            return
        database = _opened(prepared, folder)
        try:
            await migrate(database)
            signal = Signal(folder / "run" / "keys")
            try:
                gate.identity = await identity_of(database, gate.keys, signal)
                async with _recorded(folder, AttemptStore(database), settings, gate, prices):
                    yield
            finally:
                signal.close()
        finally:
            await database.close()
    finally:
        await limiter.close()


@contextlib.asynccontextmanager
async def _recorded(
    folder: Path, store: AttemptStore, settings: Settings, gate: Gate, prices: Prices
) -> AsyncIterator[None]:
    """The ledger: replayed, told to the limits, and drained until the end."""
    journal = Journal(folder / "journal")
    ledger = Ledger(folder / "journal", journal, store)
    gate.reports = Reports(store, settings.usage)
    gate.deps.record = Recorder(journal, prices).record
    gate.trouble = lambda: ledger.trouble
    await ledger.drain()
    assert gate.deps.limiter is not None
    gate.deps.limiter.learn(await gate.reports.spent_by_period(datetime.now(UTC)))
    loop = asyncio.get_running_loop()
    duties = [loop.create_task(ledger.keep_draining()), loop.create_task(asyncio.to_thread(pricing.load))]
    try:
        yield
    finally:
        ledger.end()
        await asyncio.wait(duties, timeout=_LAST_DRAIN_SECONDS)


async def _counters(settings: Settings, folder: Path | None) -> Counters:
    """Where limits are counted: here, for all workers of the machine, or in Valkey or Redis."""
    limits = settings.limits
    store = limits.store
    if store == "auto":
        store = "redis" if limits.redis_url else "shared" if settings.server.workers > 1 else "local"
    if store == "redis" and limits.redis_url:
        redis = importlib.import_module("headgate.limits.redis")  # a library of its own, imported where it is used
        found: RedisCounters = redis.RedisCounters(
            limits.redis_url.get_secret_value(), admits=limits.if_unreachable == "admit"
        )
        await found.open()
        return found
    if store == "shared" and folder is not None:
        table = SharedTable(
            folder / "run" / "limits", subjects=limits.subjects, processes=max(4, 2 * settings.server.workers)
        )
        return TableCounters(table)
    return TableCounters(LocalTable(limits.subjects))


async def bring_up_to_date(prepared: Prepared) -> None:
    """Make or migrate the database before several workers open it at once; raises StartupError."""
    if prepared.data_dir is None:
        return
    database = _opened(prepared, prepared.data_dir)
    try:
        await migrate(database)
    finally:
        await database.close()


def _opened(prepared: Prepared, folder: Path) -> Database:
    address = prepared.settings.database.url
    return open_database(address.get_secret_value() if address else default_url(folder))


def http_server(gate: Gate, settings: Settings) -> Server:
    """The HTTP server around a gate."""
    server = settings.server
    limits = server.limits
    return Server(
        Application(gate),
        gate,
        ServerOptions(server.drain_seconds, limits.headers, limits.body_seconds, server.idle_seconds),
    )


def _calm_collector() -> None:
    """Leave what was made at start out of every later collection, and collect less often.

    Walking it took the collector up to 38 ms, in which no stream moved.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


async def _when_started(server: Server, tell: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.005)
    tell()


def _log_to(writer: LineWriter, level: int) -> None:
    """At a terminal log records are text on standard error, elsewhere JSON lines among the request lines."""
    root = logging.getLogger()
    root.handlers[:] = [PlainHandler() if sys.stderr.isatty() else JsonHandler(writer.write)]
    root.setLevel(logging.WARNING)
    logging.getLogger("headgate").setLevel(level)


def _upstream(settings: UpstreamSettings, wire: Wire, local: Mapping[str, LocalAddress]) -> Upstream:
    if settings.provider == "litellm":
        prepare_sdk()
        return LiteLLMUpstream(settings)
    if settings.provider == "local":
        address = local[settings.name]
        reached = settings.model_copy(update={"base_url": address.base_url, "api_key": SecretStr(address.key)})
        return LocalUpstream(OpenAIUpstream(reached, PROVIDERS["llamacpp"], wire))
    if settings.provider == "mock":
        return MockUpstream(settings)
    return OpenAIUpstream(settings, PROVIDERS[settings.provider], wire)


def _lists(settings: Settings) -> Lists:
    """What the packaged lists say of each target. They know the SDK's models by the provider's prefix and their id."""
    accounts = {one.name: (one.provider, one.litellm_provider) for one in settings.upstreams}

    def known_as(upstream: str, model: str) -> tuple[str, str]:
        provider, prefix = accounts[upstream]
        return provider, f"{prefix}/{model}" if prefix else model

    return Lists(
        lambda upstream: accounts[upstream][1] or accounts[upstream][0],
        lambda upstream, model: facts_of(*known_as(upstream, model)),
        lambda upstream, model: listed(*known_as(upstream, model)),
        lambda upstream, model: pricing.listed_now(*known_as(upstream, model)),
    )


def _composer(settings: Settings, lists: Lists) -> Composer:
    def price_of(upstream: str, model: str) -> Price | None:
        found = lists.listed(upstream, model)
        return found.price if found else None

    def bounds_of(name: str) -> tuple[Bound, ...]:
        limits = settings.limits.models
        found = limits.get(name) or limits.get("*")
        bound = bound_of(f"model:{name}", found) if found else None
        return (bound,) if bound else ()

    workers = settings.server.workers
    return Composer(settings.routing, settings.parameters, lists.facts_of, price_of, workers, bounds_of)
