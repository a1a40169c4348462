"""What reports say: sums, markup, EUR, spans of time, and exports."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from headgate.core.errors import UpstreamUnreachable
from headgate.core.money import Price
from headgate.core.principal import Principal
from headgate.core.run import Run
from headgate.core.tokens import Tokens
from headgate.core.wishes import Wishes
from headgate.usage.entries import entries_of
from headgate.usage.reports import Reports, span_of, starts
from headgate.usage.store import AttemptStore
from headgate.usage.types import Filter, Span, UsageSettings
from tests.harness.databases import on_each_database
from tests.requirements import covers
from tests.usage.databases import ledger_database
from tests.usage.runs import attempt, failed, price_of, run_of

pytestmark = [covers("113", "134", "120", "postgresql"), on_each_database]
NOON = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000
DOLLAR = Price(request=10**9)


def dollars(count: int, **more: object) -> Run:
    """A run whose answer cost so many dollars."""
    return run_of([attempt(tokens=Tokens(10, 5), price=Price(request=count * 10**9))], **more)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[AttemptStore]:
    async with ledger_database(tmp_path) as (_, opened):
        yield opened


async def add(store: AttemptStore, *runs: Run, at: int = NOON) -> None:
    for run in runs:
        await store.add(entries_of(run, at, price_of))


def reports(store: AttemptStore, markup: str = "1", rate: str | None = None) -> Reports:
    return Reports(store, UsageSettings(markup=Decimal(markup), eur_per_usd=None if rate is None else Decimal(rate)))


async def test_an_empty_ledger_reports_nothing(store: AttemptStore) -> None:
    report = await reports(store).report("key")
    assert (report.rows, report.total.cost, report.total.attempts) == ([], 0, 0)


async def test_sums_are_by_day_of_universal_time(store: AttemptStore) -> None:
    for days, cost in ((0, 1), (0, 2), (1, 4)):
        await add(store, dollars(cost), at=NOON + days * DAY)
    report = await reports(store).report("day")
    assert [(row.name, row.cost // 10**9) for row in report.rows] == [("2026-01-31", 3), ("2026-02-01", 4)]


async def test_users_of_two_tenants_with_one_name_are_two(store: AttemptStore) -> None:
    for tenant in ("a", "b"):
        await add(store, dollars(1, who=Principal("k", tenant=tenant, user="ann")))
    report = await reports(store).report("user")
    assert [row.name for row in report.rows] == ["a/ann", "b/ann"]


async def test_an_attempt_with_two_tags_is_in_both_rows_and_once_in_the_total(store: AttemptStore) -> None:
    await add(store, dollars(1, wishes=Wishes(tags=frozenset(("red", "blue")))), dollars(2))
    report = await reports(store).report("tag")
    assert [(row.name, row.cost // 10**9) for row in report.rows] == [("blue", 1), ("red", 1)]
    assert report.total.cost == 3 * 10**9


async def test_failed_attempts_are_told_and_a_run_is_one_request(store: AttemptStore) -> None:
    await add(store, run_of([failed(UpstreamUnreachable("no")), attempt(2, tokens=Tokens(1), price=DOLLAR)]))
    total = (await reports(store).report("model")).total
    assert (total.requests, total.attempts, total.failed, total.cost) == (1, 2, 1, 10**9)


async def test_markup_and_rate_are_applied_to_the_sum(store: AttemptStore) -> None:
    tiny = Price(request=1)
    await add(store, *(run_of([attempt(tokens=Tokens(1), price=tiny)]) for _ in range(10)))
    made = reports(store, markup="1.25", rate="0.9")
    shown = made.as_object((await made.report("key")).total)
    assert (shown["cost_nano_usd"], shown["cost_usd"]) == (10, "0.000000010")
    assert (shown["billed_usd"], shown["billed_eur"]) == ("0.000000012", "0.000000011")


async def test_without_a_rate_nothing_is_said_in_eur(store: AttemptStore) -> None:
    made = reports(store)
    assert made.as_object((await made.report("key")).total)["billed_eur"] is None
    assert made.rates == {"markup": "1", "eur_per_usd": None}


async def test_a_mirrored_copy_costs_but_is_not_billed(store: AttemptStore) -> None:
    await add(store, dollars(3, mirror_of="req_0"), dollars(1))
    made = reports(store, markup="2")
    charge = made.charge((await made.report("key")).total)
    assert (charge.cost, charge.billed) == (4 * 10**9, 2 * 10**9)
    assert await made.spent(0) == {"key:k1": 10**9, "tenant:default": 10**9, "user:default/ann": 10**9} | {
        "model:small": 10**9,
        "gateway": 10**9,
    }


@pytest.mark.parametrize(
    ("now", "day", "week", "month"),
    [
        ("2026-01-31T23:59:59+00:00", "2026-01-31", "2026-01-26", "2026-01-01"),
        ("2026-02-02T00:00:00+00:00", "2026-02-02", "2026-02-02", "2026-02-01"),
        ("2026-02-01T00:30:00+01:00", "2026-01-31", "2026-01-26", "2026-01-01"),
    ],
)
def test_periods_are_those_of_the_calendar_in_universal_time(now: str, day: str, week: str, month: str) -> None:
    begun = starts(datetime.fromisoformat(now))
    assert begun.pop("total") == 0
    assert begun == {
        name: span_of(value, None).since for name, value in (("day", day), ("week", week), ("month", month))
    }


async def test_what_was_spent_in_each_period_that_runs(store: AttemptStore) -> None:
    for days, cost in ((-40, 1), (-10, 2), (-1, 4), (0, 8)):
        await add(store, dollars(cost), at=NOON + days * DAY)
    spent = await reports(store).spent_by_period(datetime.fromtimestamp(NOON / 1000, UTC))
    assert {period: amount // 10**9 for period, amount in spent["key:k1"].items()} == {
        "day": 8,
        "week": 12,
        "month": 14,
        "total": 15,
    }


async def test_unknown_prices_are_counted_and_not_taken_for_nothing(store: AttemptStore) -> None:
    await add(store, run_of([attempt(tokens=Tokens(5), price=None)]), dollars(1))
    total = (await reports(store).report("key")).total
    assert (total.unpriced, total.cost) == (1, 10**9)


async def test_filters_and_the_tenants_that_may_be_seen(store: AttemptStore) -> None:
    for tenant, key in (("a", "k1"), ("a", "k2"), ("b", "k3")):
        await add(store, dollars(1, who=Principal(key, tenant=tenant)))
    made = reports(store)

    async def keys(where: Filter) -> list[str]:
        return [row.name for row in (await made.report("key", where=where)).rows]

    assert await keys(Filter(tenant="a")) == ["k1", "k2"]
    assert await keys(Filter(tenants=frozenset("b"))) == ["k3"]
    assert await keys(Filter(tenant="a", tenants=frozenset("b"))) == []
    assert await keys(Filter(tenants=frozenset())) == []


@pytest.mark.parametrize(
    ("since", "until", "span"),
    [
        (None, None, Span()),
        ("1970-01-02", None, Span(DAY)),
        (None, "1970-01-02", Span(None, 2 * DAY)),
        ("1970-01-02", "1970-01-02", Span(DAY, 2 * DAY)),
        ("1970-01-01T01:00:00Z", "1970-01-01T02:00:00+01:00", Span(3_600_000, 3_600_000)),
        ("1970-01-01T01:00", "", Span(3_600_000)),
    ],
)
def test_a_span_is_of_days_or_moments(since: str | None, until: str | None, span: Span) -> None:
    assert span_of(since, until) == span


@pytest.mark.parametrize("wrong", ["x", "2026-13-01", "2026-02-30", "-1"])
def test_what_is_no_moment_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says, the API says it better
        span_of(wrong, None)


async def test_a_span_bounds_the_report(store: AttemptStore) -> None:
    for days in range(4):
        await add(store, dollars(1), at=NOON + days * DAY)
    report = await reports(store).report("day", span_of("2026-02-01", "2026-02-02"))
    assert [row.name for row in report.rows] == ["2026-02-01", "2026-02-02"]


async def exported(made: Reports, *, as_csv: bool) -> bytes:
    return b"".join([page async for page in made.exported(Span(), Filter(), as_csv=as_csv)])


@pytest.mark.parametrize("count", [0, 1, 1203])
async def test_an_export_holds_every_attempt_once(store: AttemptStore, count: int) -> None:
    entries = [entry for _ in range(count) for entry in entries_of(dollars(1), NOON, price_of)]
    if entries:
        await store.add(entries)
    made = reports(store)
    ids = sorted(one.id for one in entries)
    rows = list(csv.DictReader(io.StringIO((await exported(made, as_csv=True)).decode())))
    assert [row["id"] for row in rows] == ids
    objects = orjson.loads(await exported(made, as_csv=False))
    assert [one["id"] for one in objects] == ids
    assert all(one["cost_usd"] == row["cost_usd"] == "1.000000000" for one, row in zip(objects, rows, strict=True))


async def test_an_export_holds_no_formula(store: AttemptStore) -> None:
    who = Principal("k", user="=1+1", tenant="-1")
    await add(store, run_of([attempt(tokens=Tokens(1))], who=who, wishes=Wishes(tags=frozenset(("@x",)))))
    (row,) = csv.DictReader(io.StringIO((await exported(reports(store), as_csv=True)).decode()))
    assert (row["user"], row["tenant"], row["tags"]) == ("'=1+1", "'-1", "'@x")
