"""Who may ask, how much, and what it cost: keys, limits, the database and the ledger, put together."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.api.gate import Gate
from headgate.app.allotments import allotments_of
from headgate.app.gauges import measuring
from headgate.app.knowledge import knowing
from headgate.app.lessons import Lessons
from headgate.app.oversight import audit_log, note_start, overseen, stopping
from headgate.app.people import people_of
from headgate.app.prepare import Prepared
from headgate.app.state import remembering
from headgate.config.tenants import markups_of, standing_of
from headgate.config.tree import Settings
from headgate.conversations.store import state_of
from headgate.core.ports import Counters
from headgate.db.engine import Database, default_url, open_database
from headgate.db.migrate import migrate
from headgate.identity.compose import identity_of
from headgate.identity.keys import KeyRing
from headgate.identity.signal import Signal
from headgate.identity.types import Allowance, Defaults, configured_tenants
from headgate.limits.counters import TableCounters
from headgate.limits.limiter import Limiter
from headgate.limits.local import LocalTable
from headgate.limits.shared import SharedTable
from headgate.limits.types import BoundSettings, bound_of
from headgate.pipeline.second_turn import SecondTurn
from headgate.settings.cascade import Cascade
from headgate.settings.compose import reader_of
from headgate.settings.service import TenantConfig
from headgate.settings.types import Standing
from headgate.telemetry.redact import conceal
from headgate.usage import pricing
from headgate.usage.allotments import Allotment, Allotments
from headgate.usage.journal import Journal
from headgate.usage.ledger import Ledger
from headgate.usage.prices import Prices
from headgate.usage.recorder import Recorder
from headgate.usage.reports import Reports
from headgate.usage.runs import Runs
from headgate.usage.store import AttemptStore

if TYPE_CHECKING:
    from headgate.limits.redis import RedisCounters

__all__ = ["bring_up_to_date", "governed", "keys_of"]
_LAST_DRAIN_SECONDS = 10.0


def keys_of(prepared: Prepared, cascade: Cascade) -> KeyRing:
    """The keys of the configuration."""
    settings, limits = prepared.settings, prepared.settings.limits
    everyone = bound_of("gateway", limits.gateway)
    keys = KeyRing(
        prepared.pepper,
        required=settings.auth.required,
        tenants=configured_tenants(settings.tenants),
        defaults=Defaults(
            _allowance(limits.keys),
            _allowance(limits.users),
            _allowance(limits.tenants),
            (everyone,) if everyone else (),
        ),
        terms_of=cascade.terms,
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
async def governed(prepared: Prepared, gate: Gate, prices: Prices, cascade: Cascade) -> AsyncIterator[None]:
    """Limits, and what is kept: keys, tenants and the ledger, opened, brought up to date and kept going."""
    settings, folder = prepared.settings, prepared.data_dir
    limiter = Limiter(await _counters(settings, folder))
    gate.deps.limiter = limiter
    gate.deps.price_of = lambda target: prices.of(target.upstream, target.model, 0)
    gate.deps.refuses_unpriced = settings.usage.refuse_unpriced
    gate.deps.typical_answer = settings.limits.typical_answer
    gate.list_price = prices.of
    if settings.server.stream_cost:
        gate.deps.cost_of = prices.cost_of
    gate.requires_user = settings.auth.require_user
    gate.budgets = limiter.look
    try:
        if folder is None:
            yield
            return
        database = _opened(prepared, folder)
        try:
            await migrate(database)
            turns = settings.conversations
            gate.deps.second_turn = SecondTurn(turns.second_turn, turns.wait_seconds, stopping(gate))
            signal = Signal(folder / "run" / "keys")
            try:
                gate.audit = audit_log(database, prepared.pepper, folder)
                gate.deps.state = state_of(database, gate.audit)
                store, changed = reader_of(database, cascade, gate.audit)
                gate.identity = await identity_of(database, gate.keys, signal, changed, gate.audit)
                gate.settings = TenantConfig(cascade, store, _standings(gate.keys), gate.keys.publish)
                if settings.server.workers == 1:
                    await note_start(gate.audit, settings)
                attempts = AttemptStore(database, markups_of(cascade))
                async with (
                    _recorded(folder, attempts, settings, gate, prices) as ledger,
                    overseen(folder, gate),
                    remembering(gate, settings.conversations),
                    knowing(settings.knowledge, database, gate),
                ):
                    gate.people = people_of(gate, database, attempts, ledger)
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
) -> AsyncIterator[Ledger]:
    """The ledger: replayed, told to the limits, and drained until the end."""
    journal = Journal(folder / "journal")
    ledger = Ledger(folder / "journal", journal, store, most_lag=settings.usage.most_lag)
    refuse = settings.usage.if_unwritable
    gate.reports = Reports(store, settings.usage)
    gate.runs = Runs(store, folder / "journal")
    gate.deps.record = Recorder(journal, prices).record
    gate.deps.unwritable = lambda bounds: ledger.unwritable(refuse, bounds)
    gate.trouble = gate.exchange.trouble = lambda: ledger.trouble
    gate.lag = lambda: ledger.lag
    gate.measure = measuring(settings, gate, ledger)
    await ledger.drain()
    assert gate.deps.limiter is not None
    gate.deps.limiter.learn(await gate.reports.spent_by_period(datetime.now(UTC)))
    loop = asyncio.get_running_loop()
    lessons = Lessons(ledger, gate.reports, gate.deps.limiter)
    gate.keys.on_new_budgets(lessons.learn)
    repeating = loop.create_task(lessons.keep_repeating())
    duties = [loop.create_task(ledger.keep_draining()), loop.create_task(asyncio.to_thread(pricing.load))]
    refreshing = await _allotted(store, settings, gate)
    try:
        yield ledger
    finally:
        repeating.cancel()
        refreshing.cancel()
        ledger.end()
        await asyncio.wait(duties, timeout=_LAST_DRAIN_SECONDS)


def _standings(keys: KeyRing) -> Callable[[str], Standing]:
    """What the record of a tenant says; nothing of one that there is no more."""

    def standing(tenant_id: str) -> Standing:
        tenant = keys.tenant(tenant_id)
        return standing_of(tenant) if tenant else Standing()

    return standing


async def _allotted(store: AttemptStore, settings: Settings, gate: Gate) -> "asyncio.Future[None]":
    """Budgets of targets and providers: known from the ledger, and kept so."""
    loop = asyncio.get_running_loop()
    several = allotments_of(settings, gate.lists.provider_of)
    if not several:
        return loop.create_future()

    async def spent(one: Allotment, since: int) -> int:
        return await store.spent_on(one.target, one.upstreams, since)

    allotments = Allotments(several, spent, gate.deps.book.spent_out)
    await allotments.refresh()
    gate.deps.observers.at_once.append(allotments.observe)
    return loop.create_task(allotments.keep_refreshing())


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
    """Make or migrate the database before several workers open it at once, and put the start down in the audit log.

    What was left in journals is carried into it as well, for each worker learns from it at start what was spent.
    Raises StartupError.
    """
    if prepared.data_dir is None:
        return
    database = _opened(prepared, prepared.data_dir)
    try:
        await migrate(database)
        await note_start(audit_log(database, prepared.pepper, prepared.data_dir), prepared.settings)
        journals = prepared.data_dir / "journal"
        ledger = Ledger(journals, Journal(journals), AttemptStore(database))
        ledger.end()
        await ledger.keep_draining()
    finally:
        await database.close()


def _opened(prepared: Prepared, folder: Path) -> Database:
    address = prepared.settings.database.url
    return open_database(address.get_secret_value() if address else default_url(folder))
