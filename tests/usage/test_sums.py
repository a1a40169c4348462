"""Whatever happens to requests, the sums agree at every level, and replaying counts nothing twice."""

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings

from headgate.core.run import Run
from headgate.usage.entries import entries_of
from headgate.usage.journal import Journal, files
from headgate.usage.ledger import Ledger
from headgate.usage.reports import Reports
from headgate.usage.store import AttemptStore
from headgate.usage.types import DIMENSIONS, Entry, Filter, Span, Totals, UsageSettings
from tests.harness.databases import on_each_database
from tests.requirements import covers
from tests.usage.databases import ledger_database
from tests.usage.runs import SCHEDULES, price_of

pytestmark = [covers("152", "113", "120", "postgresql"), on_each_database]
Schedule = list[tuple[Run, int]]
NAME_OF: dict[str, Callable[[Entry], str]] = {
    "key": lambda one: one.key,
    "tenant": lambda one: one.tenant,
    "user": lambda one: f"{one.tenant}/{one.user}",
    "model": lambda one: one.answered,
    "target": lambda one: one.target,
    "component": lambda one: one.component,
}


async def carry(schedule: Schedule, folder: Path, store: AttemptStore) -> list[Entry]:
    """Settle every run through journals into the store, with one journal replayed."""
    journal = Journal(folder, largest=2000)
    ledger = Ledger(folder, journal, store)
    entries = []
    for run, settled_at in schedule:
        found = entries_of(run, settled_at, price_of)
        journal.append(found)
        entries += found
    journal.seal()
    again = files(folder)[0]
    content = again.read_bytes()
    await ledger.drain()
    again.write_bytes(content)
    await ledger.drain()
    return entries


def cost(entries: list[Entry]) -> int:
    return sum(one.cost or 0 for one in entries)


def agree(rows: list[Totals], entries: list[Entry], name_of: Callable[[Entry], str]) -> None:
    """Each row is the sum of the entries of its name."""
    costs, counts = Counter[str](), Counter[str]()
    for one in entries:
        costs[name_of(one)] += one.cost or 0
        counts[name_of(one)] += 1
    assert {row.name: row.cost for row in rows} == dict(costs)
    assert {row.name: row.attempts for row in rows} == dict(counts)


async def compare(schedule: Schedule) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        async with ledger_database(folder) as (_, store):
            entries = await carry(schedule, folder / "journal", store)
            reports = Reports(store, UsageSettings(markup=Decimal("1.5")))
            for by in DIMENSIONS:
                report = await reports.report(by)
                total = report.total
                if by != "tag":
                    assert sum(row.cost for row in report.rows) == total.cost == cost(entries)
                    assert sum(row.requests for row in report.rows) == total.requests == len(schedule)
                    assert sum(row.prompt + row.completion for row in report.rows) == total.prompt + total.completion
                if by in NAME_OF:
                    agree(report.rows, entries, NAME_OF[by])
                assert min(min(row[1:-1]) for row in (*report.rows, total)) >= 0
            assert total.attempts == len(entries)
            assert total.unpriced == sum(one.cost is None for one in entries)
            assert total.chargeable == sum((one.cost or 0) for one in entries if one.billed)
            assert abs(2 * reports.charge(total).billed - 3 * total.chargeable) <= 1
            spent = await reports.spent(0)
            assert sum(amount for subject, amount in spent.items() if subject.startswith("key:")) == total.chargeable
            for key in {one.key for one in entries}:
                own = [one for one in entries if one.key == key]
                assert (await store.total(Span(), Filter(key=key))).cost == cost(own)
            assert sorted(await store.page(Span(), Filter(), None, 1000)) == sorted(entries)


@given(SCHEDULES)
@settings(max_examples=25, deadline=None)
def test_attempts_runs_keys_users_tenants_and_reports_agree(schedule: Schedule) -> None:
    asyncio.run(compare(schedule))
