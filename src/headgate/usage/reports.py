"""What was used and what it cost, by whom or what or when; with the operator's markup, and in EUR at the set rate."""

import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

import orjson

from headgate.core.bounds import Period, Spent
from headgate.core.money import usd
from headgate.usage.exports import Claim
from headgate.usage.reconcile import Reconciled, Used, compared, width_of
from headgate.usage.types import ANY, EVER, Dimension, Entry, Filter, Span, Totals, UsageSettings

if TYPE_CHECKING:  # the routes know reports, and start without the database's libraries
    from headgate.usage.store import AttemptStore

_PAGE = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Charge:
    """Nano-USD spent and billed; nano-EUR billed where a rate is set."""

    cost: int
    billed: int
    billed_eur: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` are by `by`; `total` counts each attempt once, also where it stands in several rows."""

    by: Dimension
    span: Span
    rows: list[Totals]
    total: Totals


class Reports:
    """Reads the ledger. What is in a journal yet is not in a report; that is a second, if all is well."""

    def __init__(self, store: "AttemptStore", settings: UsageSettings) -> None:
        self._store = store
        self._settings = settings

    async def report(self, by: Dimension, span: Span = EVER, where: Filter = ANY) -> Report:
        rows = await self._store.totals(by, span, where)
        if by == "day":
            rows = [row._replace(name=_day(int(row.name))) for row in rows]
        return Report(by, span, rows, await self._store.total(span, where))

    async def crossed(
        self, dimensions: tuple[Dimension, ...], span: Span, where: Filter
    ) -> list[tuple[tuple[str, ...], Totals]]:
        """Sums by several dimensions at once, in the order of their names."""
        at = dimensions.index("day") if "day" in dimensions else -1
        rows = await self._store.crossed(dimensions, span, where)
        if at < 0:
            return rows
        return [((*names[:at], _day(int(names[at])), *names[at + 1 :]), row) for names, row in rows]

    async def reconciled(self, claims: list[Claim], tolerance: Decimal, upstreams: frozenset[str]) -> Reconciled:
        """An export's claims against the ledger, as far as it went through these upstreams; through any if empty."""
        width = width_of(claims)
        used: list[Used] = []
        if width:
            timed = [claim for claim in claims if not claim.run]
            since, until = min(one.since for one in timed), max(one.until for one in timed)
            used = await self._store.used(width, Span(since, until), upstreams)
        runs = [claim.run for claim in claims if claim.run]
        for at in range(0, len(runs), _PAGE):
            used += await self._store.used_by_runs(runs[at : at + _PAGE], upstreams)
        return compared(claims, used, width, tolerance)

    async def newest(self, span: Span, where: Filter, limit: int) -> list[Entry]:
        """The newest entries first."""
        return await self._store.newest(span, where, limit)

    async def spent(self, since: int) -> Mapping[str, int]:
        """Chargeable nano-USD since a moment by subject, as core.bounds.Bound names them."""
        sums: Counter[str] = Counter()
        for key, tenant, user, model, amount in await self._store.spent(since):
            subjects = [
                "gateway",
                f"key:{key}",
                f"tenant:{tenant}",
                f"model:{model}",
                *([f"user:{tenant}/{user}"] if user else []),
            ]
            for subject in subjects:
                sums[subject] += amount
        return sums

    async def spent_of(self, by: Dimension, periods: Mapping[str, Period]) -> dict[str, int]:
        """Chargeable nano-USD of the named keys, tenants or users (TENANT/USER), each since its period began."""
        begun, found = starts(datetime.now(UTC)), dict.fromkeys(periods, 0)
        for period in set(periods.values()):
            names = [name for name, its in periods.items() if its == period]
            for at in range(0, len(names), _PAGE):
                found |= await self._store.spent_of(by, names[at : at + _PAGE], begun[period])
        return found

    async def spent_by_period(self, now: datetime) -> Spent:
        """The same by subject and period, as budgets count them."""
        sums: dict[str, dict[Period, int]] = {}
        for period, start in starts(now).items():
            for subject, amount in (await self.spent(start)).items():
                sums.setdefault(subject, {})[period] = amount
        return sums

    async def spent_of_subjects(self, subjects: Iterable[str], now: datetime) -> Spent:
        """The same for these keys, tenants and users alone."""
        since = starts(now)
        found: dict[str, dict[Period, int]] = {}
        for subject in subjects:
            amounts = await self._store.spent_since(_filter_of(subject), tuple(since.values()))
            found[subject] = dict(zip(since, amounts, strict=True))
        return found

    async def users(self, where: Filter) -> list[tuple[str, str]]:
        """(tenant, user) of all that ever asked."""
        named = (row.name.partition("/") for row in await self._store.totals("user", EVER, where))
        return [(tenant, user) for tenant, _, user in named if user]

    def charge(self, totals: Totals) -> Charge:
        """The sums are marked up, not each call, so that nothing is lost by rounding."""
        apart = list(zip(totals.apart, self._store.markups, strict=True)) if totals.apart else []
        usual = totals.chargeable - sum(amount for amount, _ in apart)
        billed = usual * self._settings.markup + sum(amount * markup for amount, markup in apart)
        return self._charged(totals.cost, Decimal(billed))

    def billed_usd(self, totals: Totals) -> float:
        """What is billed, for shapes that hold one amount."""
        return float(usd(self.charge(totals).billed))

    def billed_of(self, entry: Entry) -> int:
        """Nano-USD that are billed for one attempt."""
        return _rounded((entry.cost or 0) * entry.billed * self.markup_of(entry.tenant))

    def markup_of(self, tenant: str) -> Decimal:
        """What the cost of a tenant's calls is multiplied by."""
        own = self._store.markup_of(tenant)
        return self._settings.markup if own is None else own

    def as_object(self, totals: Totals) -> dict[str, Any]:
        """A row of a report for JSON; amounts are decimal texts, for numbers of JSON would not be exact."""
        charge = self.charge(totals)
        return {
            **{name: value for name, value in totals._asdict().items() if name not in ("cost", "chargeable", "apart")},
            "cost_nano_usd": charge.cost,
            "cost_usd": _text(charge.cost),
            "billed_usd": _text(charge.billed),
            "billed_eur": _text(charge.billed_eur),
        }

    def entry_object(self, entry: Entry) -> dict[str, Any]:
        """An entry for an export."""
        charge = None
        if entry.cost is not None:
            charge = self._charged(entry.cost, entry.cost * entry.billed * self.markup_of(entry.tenant))
        return {
            **{name: value for name, value in entry._asdict().items() if name != "decision"},
            "tags": orjson.loads(entry.tags),
            "started_at": _moment(entry.started_at),
            "cost_usd": None if charge is None else _text(charge.cost),
            "billed_usd": None if charge is None else _text(charge.billed),
            "billed_eur": None if charge is None else _text(charge.billed_eur),
        }

    async def daily(self, by: Dimension, span: Span, where: Filter) -> dict[str, list[Totals]]:
        """Totals by a dimension for each day on which there were any."""
        days: dict[str, list[Totals]] = {}
        for day, totals in await self._store.daily(by, span, where):
            days.setdefault(_day(day), []).append(totals)
        return days

    async def exported(self, span: Span, where: Filter, *, as_csv: bool) -> AsyncIterator[bytes]:
        """Every entry in the order of time, page by page, as CSV with a head or as one JSON array."""
        last: Entry | None = None
        before = b"[\n"
        while page := await self._store.page(span, where, last, _PAGE):
            objects = [self.entry_object(entry) for entry in page]
            if as_csv:
                yield csv_of(objects, head=last is None)
            else:
                yield before + b",\n".join(map(orjson.dumps, objects))
            last, before = page[-1], b",\n"
        if not as_csv:
            yield b"[]\n" if last is None else b"\n]\n"

    @property
    def rates(self) -> dict[str, str | None]:
        """How what is billed follows from what was spent, for tenants without a markup of their own."""
        rate = self._settings.eur_per_usd
        return {"markup": str(self._settings.markup), "eur_per_usd": None if rate is None else str(rate)}

    def _charged(self, cost: int, billed: Decimal) -> Charge:
        rate = self._settings.eur_per_usd
        return Charge(cost, _rounded(billed), None if rate is None else _rounded(billed * rate))


def _filter_of(subject: str) -> Filter:
    """The entries of `gateway`, `key:ID`, `tenant:ID`, `model:NAME` or `user:TENANT/USER`; tenants hold no slash."""
    if subject == "gateway":
        return Filter()
    kind, _, name = subject.partition(":")
    if kind == "user":
        tenant, _, user = name.partition("/")
        return Filter(tenant=tenant, user=user)
    return Filter(key=name) if kind == "key" else Filter(tenant=name) if kind == "tenant" else Filter(model=name)


def csv_of(objects: list[dict[str, Any]], *, head: bool) -> bytes:
    """Lines of CSV. Texts that a spreadsheet would take for a formula get an apostrophe before them."""
    out = io.StringIO()
    writer = csv.writer(out)
    if head and objects:
        writer.writerow(objects[0])
    for one in objects:
        writer.writerow([_cell(value) for value in one.values()])
    return out.getvalue().encode()


def starts(now: datetime) -> dict[Period, int]:
    """When the calendar's periods began that hold a moment, in milliseconds since the epoch; weeks begin on Monday."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "day": _milliseconds(day),
        "week": _milliseconds(day - timedelta(days=day.weekday())),
        "month": _milliseconds(day.replace(day=1)),
        "total": 0,
    }


def ends(now: datetime, period: Period) -> str | None:
    """When the period ends that holds a moment, in ISO 8601; None for never."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "total":
        return None
    if period == "month":
        end = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        end = day + timedelta(days=1 if period == "day" else 7 - day.weekday())
    return _moment(_milliseconds(end)).replace("+00:00", "Z")


def span_of(since: str | None, until: str | None) -> Span:
    """A span of time from `YYYY-MM-DD`, a whole day, or a moment in ISO 8601 (UTC unless it says otherwise).

    A day at the end is part of the span. Raises ValueError.
    """
    begin = None if not since else _parsed(since)
    end = None if not until else _parsed(until) + (timedelta(days=1) if _is_day(until) else timedelta())
    return Span(None if begin is None else _milliseconds(begin), None if end is None else _milliseconds(end))


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _rounded(amount: Decimal) -> int:
    return int(amount.to_integral_value(ROUND_HALF_EVEN))


def _text(amount: int | None) -> str | None:
    return None if amount is None else f"{usd(amount):.9f}"


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _is_day(value: str) -> bool:
    return len(value) == len("YYYY-MM-DD")


def _parsed(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
