"""The ledger's tables. An entry is a row as it is, so that thousands are written without converting any."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, get_type_hints

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Select,
    String,
    Table,
    Text,
    and_,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.db.columns import Name, metadata
from headgate.db.engine import Database
from headgate.usage.reconcile import Used
from headgate.usage.types import ANY, EVER, Dimension, Entry, Filter, RunQuery, Span, Totals, started_in

_SUMS = len(Totals._fields) - 2
_ROWS = 250
"""Rows of one statement."""
_RARE = 4
"""The last fields, which few entries have: prices of sound and pictures."""
_NONE_RARE = (None,) * _RARE
_DAY: ColumnElement[int] = literal_column("86400000", BigInteger)
_SLASH: ColumnElement[str] = literal_column("'/'", Text)
"""Written out, for PostgreSQL does not see that two parameters of one value are the same in SELECT and GROUP BY."""


def _column(name: str, kind: Any) -> "Column[Any]":
    number, optional = kind in (int, int | None), kind == int | None
    type_ = BigInteger() if number else Name if name == "id" else Text()
    return Column(name, type_, primary_key=name == "id", nullable=optional)


attempts = Table("attempts", metadata, *(_column(name, kind) for name, kind in get_type_hints(Entry).items()))
Index("ix_attempts_started_at", attempts.c.started_at, attempts.c.id)
Index("ix_attempts_key", attempts.c.key, attempts.c.started_at)
Index("ix_attempts_tenant_user", attempts.c.tenant, attempts.c.user, attempts.c.started_at)
Index("ix_attempts_run", attempts.c.run)
Index("ix_attempts_parent", attempts.c.parent)
attempt_tags = Table(
    "attempt_tags",
    metadata,
    Column("attempt", Name, primary_key=True),
    Column("tag", String(128), primary_key=True),
)
_NAMES: dict[Dimension, ColumnElement[Any]] = {
    "key": attempts.c.key,
    "tenant": attempts.c.tenant,
    "user": attempts.c.tenant + _SLASH + attempts.c.user,
    "model": attempts.c.answered,
    "target": attempts.c.target,
    "component": attempts.c.component,
    "tag": attempt_tags.c.tag,
    "day": attempts.c.started_at // _DAY,
}


class AttemptStore:
    """Adds entries and sums them up."""

    def __init__(self, database: Database, markups: Mapping[str, Decimal] | None = None) -> None:
        self._database = database
        self._markup_of = dict(markups or {})
        self.markups = sorted(set(self._markup_of.values()))
        """Those of tenants that have one of their own, each once."""
        dialect = database.engine.dialect
        self._add, self._tag = _addition(attempts, dialect), _addition(attempt_tags, dialect)
        self._add_plain = self._add_many = ""
        if dialect.name == "sqlite":
            self._add_plain = _addition(attempts, dialect, Entry._fields[:-_RARE])
            self._add_many = _of_many(self._add_plain, _ROWS)

    async def add(self, entries: Sequence[Entry]) -> None:
        """All or none; what is there already is left alone. Raises DatabaseUnavailable."""
        tagged = [(one.id, tag) for one in entries if one.tags != "[]" for tag in orjson.loads(one.tags)]

        async def act(connection: AsyncConnection) -> None:
            rest = entries
            if self._add_many:
                plain, rest = _by_width(entries)
                while len(plain) >= _ROWS:
                    await connection.exec_driver_sql(self._add_many, _joined(plain[:_ROWS]))
                    plain = plain[_ROWS:]
                if plain:
                    await connection.exec_driver_sql(self._add_plain, plain)
            if rest:
                await connection.exec_driver_sql(self._add, list(map(tuple, rest)))  # exact ones, for SQLite's sake
            if tagged:
                await connection.exec_driver_sql(self._tag, tagged)

        await self._database.do(act)

    async def totals(self, by: Dimension, span: Span = EVER, where: Filter = ANY) -> list[Totals]:
        """Summed up by a dimension, in the order of its names; an attempt with two tags counts under both."""
        name = _NAMES[by]
        query = _of(by, select(name, *self._sums())).where(_condition(span, where)).group_by(name).order_by(name)
        return [_totals(str(row[0]), row[1:]) for row in await self._rows(query)]

    async def daily(self, by: Dimension, span: Span, where: Filter) -> list[tuple[int, Totals]]:
        """The same for each day apart, with the number of the day since 1970."""
        day, name = _NAMES["day"], _NAMES[by]
        query = _of(by, select(day, name, *self._sums())).where(_condition(span, where))
        query = query.group_by(day, name).order_by(day, name)
        return [(int(row[0]), _totals(str(row[1]), row[2:])) for row in await self._rows(query)]

    async def crossed(
        self, dimensions: tuple[Dimension, ...], span: Span, where: Filter
    ) -> list[tuple[tuple[str, ...], Totals]]:
        """Summed up by several dimensions at once; days are numbers since 1970."""
        names, count = [_NAMES[by] for by in dimensions], len(dimensions)
        query = _of("tag" if "tag" in dimensions else "key", select(*names, *_sums())).where(_condition(span, where))
        rows = await self._rows(query.group_by(*names).order_by(*names))
        return [(tuple(map(str, row[:count])), _totals("", row[count:])) for row in rows]

    async def total(self, span: Span = EVER, where: Filter = ANY) -> Totals:
        """Everything, each attempt once."""
        rows = await self._rows(select(*self._sums()).where(_condition(span, where)))
        return _totals("", rows[0])

    async def spent(self, since: int) -> list[tuple[str, str, str, str, int]]:
        """(key, tenant, user, model, chargeable nano-USD) since a moment, in one pass."""
        row = attempts.c
        names = (row.key, row.tenant, row.user, row.answered)
        query = select(*names, func.sum(row.cost * row.billed)).where(row.started_at >= since).group_by(*names)
        return [
            (key, tenant, user, model, int(sum_ or 0)) for key, tenant, user, model, sum_ in await self._rows(query)
        ]

    async def spent_of(self, by: Dimension, names: list[str], since: int) -> dict[str, int]:
        """Chargeable nano-USD since a moment by name, of these names alone."""
        name, row = _NAMES[by], attempts.c
        where = [row.started_at >= since, name.in_(names)]
        if by == "user":  # which an index knows
            where.append(row.tenant.in_({one.partition("/")[0] for one in names}))
            where.append(row.user.in_({one.partition("/")[2] for one in names}))
        query = select(name, func.sum(row.cost * row.billed)).where(*where).group_by(name)
        return {str(found): int(sum_ or 0) for found, sum_ in await self._rows(query)}

    async def used(self, width: int, span: Span, upstreams: frozenset[str]) -> list[Used]:
        """Sums by slots of `width` milliseconds and by the provider's name of the model."""
        row = attempts.c
        slot: ColumnElement[Any] = row.started_at // literal_column(str(int(width)), BigInteger)
        query = select(slot, row.provider_model, *_used()).where(_condition(span, ANY))
        if upstreams:
            query = query.where(row.upstream.in_(sorted(upstreams)))
        rows = await self._rows(query.group_by(slot, row.provider_model))
        return [Used(int(at), model, "", *(int(one or 0) for one in sums)) for at, model, *sums in rows]

    async def used_by_runs(self, runs: list[str], upstreams: frozenset[str]) -> list[Used]:
        """Sums by run."""
        row = attempts.c
        query = select(row.run, *_used()).where(row.run.in_(runs))
        if upstreams:
            query = query.where(row.upstream.in_(sorted(upstreams)))
        rows = await self._rows(query.group_by(row.run))
        return [Used(0, "", run, *(int(one or 0) for one in sums)) for run, *sums in rows]

    async def spent_since(self, where: Filter, since: Sequence[int]) -> list[int]:
        """Chargeable nano-USD of some entries since each of these moments."""
        row = attempts.c
        sums = [func.sum(case((row.started_at >= moment, row.cost * row.billed), else_=0)) for moment in since]
        [found] = await self._rows(select(*sums).where(_condition(EVER, where)))
        return [int(value or 0) for value in found]

    def markup_of(self, tenant: str) -> Decimal | None:
        """A tenant's own."""
        return self._markup_of.get(tenant)

    def _sums(self) -> list[ColumnElement[Any]]:
        row = attempts.c
        tenants = [[name for name, own in self._markup_of.items() if own == one] for one in self.markups]
        apart = [func.sum(case((row.tenant.in_(names), row.cost * row.billed), else_=0)) for names in tenants]
        return [*_sums(), *apart]

    async def spent_on(self, target: str, upstreams: frozenset[str], since: int) -> int:
        """Nano-USD since a moment of a target, in whose name `*` stands for any text, or else of some upstreams."""
        row = attempts.c
        where = row.upstream.in_(sorted(upstreams)) if upstreams else row.target == target
        if "*" in target:
            pattern = target.replace("!", "!!").replace("%", "!%").replace("_", "!_").replace("*", "%")
            where = row.target.like(pattern, escape="!")
        rows = await self._rows(select(func.sum(row.cost)).where(row.started_at >= since, where))
        return int(rows[0][0] or 0)

    async def newest(self, span: Span, where: Filter, limit: int) -> list[Entry]:
        order = (attempts.c.started_at.desc(), attempts.c.id.desc())
        return await self._entries(select(attempts).where(_condition(span, where)).order_by(*order).limit(limit))

    async def page(self, span: Span, where: Filter, after: Entry | None, limit: int) -> list[Entry]:
        """The next entries in the order of time."""
        at, id_ = attempts.c.started_at, attempts.c.id
        query = select(attempts).where(_condition(span, where)).order_by(at, id_).limit(limit)
        if after is not None:
            behind = (at > after.started_at) | and_(at == after.started_at, id_ > after.id)
            query = query.where(at >= after.started_at, behind)
        return await self._entries(query)

    async def finals(self, query: RunQuery, outcome: str, limit: int) -> list[Entry]:
        """The last attempts of runs, the newest first."""
        row = attempts.c
        wanted = {"run": query.id, "parent": query.parent, "key": query.key, "tenant": query.tenant, "user": query.user}
        conditions = [row.outcome == outcome] if outcome else []
        conditions += [row[name] == value for name, value in wanted.items() if value]
        if query.model:
            conditions.append(or_(row.model == query.model, row.answered == query.model))
        if query.tenants is not None:  # most keys see their own alone, which an index finds
            own = row.key == query.own
            conditions.append(or_(row.tenant.in_(query.tenants), own) if query.tenants else own)
        if query.after:
            at = started_in(query.after)
            conditions += [row.started_at <= at, or_(row.started_at < at, row.id < query.after)]
        found = select(attempts).where(row.final == 1, _condition(Span(query.since, query.until), ANY), *conditions)
        return await self._entries(found.order_by(row.started_at.desc(), row.id.desc()).limit(limit))

    async def disown(self, connection: AsyncConnection, tenant: str, user: str | None, name: str) -> int:
        """Put `name` in the place of a user's id. Of a whole tenant, leave out all that its callers could choose:
        users, tags, ids of runs.

        The sums stay as they are. How many attempts that were.
        """
        row = attempts.c
        if user is None:
            all_ = row.tenant == tenant
            await connection.execute(delete(attempt_tags).where(attempt_tags.c.attempt.in_(select(row.id).where(all_))))
            blank = {"user": "", "tags": "[]", "decision": "", "run": row.id, "parent": ""}
            return int((await connection.execute(update(attempts).where(all_).values(**blank))).rowcount)
        mine = and_(row.tenant == tenant, row.user == user)
        ids = select(row.id).where(mine)
        tagged = update(attempt_tags).where(attempt_tags.c.tag == user, attempt_tags.c.attempt.in_(ids))
        await connection.execute(tagged.values(tag=name))
        quoted, other = orjson.dumps(user).decode(), orjson.dumps(name).decode()
        values: dict[str, Any] = {one: case((row[one] == user, name), else_=row[one]) for one in ("run", "parent")}
        values |= {one: func.replace(row[one], quoted, other) for one in ("tags", "decision")}
        return int((await connection.execute(update(attempts).where(mine).values(user=name, **values))).rowcount)

    async def of_runs(self, ids: Iterable[str], span: Span) -> list[Entry]:
        """Every attempt of runs with these ids in a span of time, for many runs may have an id that a caller chose."""
        query = select(attempts).where(_condition(span, ANY), attempts.c.run.in_(sorted(set(ids))))
        return await self._entries(query)

    async def _entries(self, query: "Select[Any]") -> list[Entry]:
        return [Entry(*row) for row in await self._rows(query)]

    async def _rows(self, query: "Select[Any]") -> list[tuple[Any, ...]]:
        async with self._database.reading() as connection:
            return [tuple(row) for row in await connection.execute(query)]


def _of(by: Dimension, query: "Select[Any]") -> "Select[Any]":
    """Only sums by tag need the tags."""
    if by != "tag":
        return query
    return query.join_from(attempts, attempt_tags, attempts.c.id == attempt_tags.c.attempt)


def _totals(name: str, sums: Iterable[Any]) -> Totals:
    """Sums of nothing are null, and those of whole numbers are decimals in PostgreSQL."""
    numbers = [int(value or 0) for value in sums]
    return Totals._make([name, *numbers[:_SUMS], tuple(numbers[_SUMS:])])


def _by_width(entries: Iterable[Entry]) -> tuple[list[tuple[Any, ...]], list[Entry]]:
    """Those without what is rare, cut short, and the others. The driver takes ten times as long over a None as over
    anything else.
    """
    plain, others = [], []
    for one in entries:
        if one[-_RARE:] == _NONE_RARE:
            plain.append(one[:-_RARE])
        else:
            others.append(one)
    return plain, others


def _joined(rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    values: list[Any] = []
    for row in rows:
        values += row
    return tuple(values)


def _addition(table: Table, dialect: Dialect, columns: Sequence[str] | None = None) -> str:
    """Both databases know these words. A row that is there already is passed over; an attempt may only become its run's
    last, and tell how that ended.
    """
    words = f"{insert(table).compile(dialect=dialect, column_keys=columns)} ON CONFLICT"
    if table is not attempts:
        return f"{words} DO NOTHING"
    told = ", ".join(f"{name} = excluded.{name}" for name in ("final", "outcome", "error", "decision"))
    return f"{words} (id) DO UPDATE SET {told} WHERE excluded.final = 1 AND attempts.final = 0"


def _of_many(addition: str, rows: int) -> str:
    """The same for so many rows at once: with each statement, SQLite and the event loop hand the interpreter's lock to
    each other. `FAIL`: the transaction is undone anyhow, so that the statement need not be ready to undo itself.
    """
    head, values, one, rest = re.split(r"(VALUES )(\([^)]*\))", addition)
    return head.replace("INSERT", "INSERT OR FAIL") + values + ", ".join([one] * rows) + rest


def _sums() -> list[ColumnElement[Any]]:
    row = attempts.c

    def number_of(condition: ColumnElement[bool]) -> ColumnElement[Any]:
        return func.sum(case((condition, 1), else_=0))

    counts = (row.prompt, row.completion, row.cached, row.reasoning, row.cache_write, row.cost)
    return [
        func.sum(row.final),
        func.count(),
        number_of(row.outcome == "error"),
        *(func.sum(count) for count in counts),
        func.sum(row.cost * row.billed),
        number_of(row.cost.is_(None)),
        number_of(row.measure == "estimated"),
        func.sum(row.bound),
    ]


def _used() -> list[ColumnElement[Any]]:
    """In the order of Used."""
    row = attempts.c
    counts = (row.prompt, row.completion, row.cached, row.cache_write, row.cost)
    unpriced = func.sum(case((row.cost.is_(None), 1), else_=0))
    return [func.count(), *(func.sum(one) for one in counts), unpriced, func.sum(row.bound)]


def _condition(span: Span, where: Filter) -> ColumnElement[bool]:
    row = attempts.c
    wanted = {"key": where.key, "tenant": where.tenant, "user": where.user, "answered": where.model, "run": where.run}
    conditions = [row[name] == value for name, value in wanted.items() if value]
    if where.tenants is not None:
        conditions.append(row.tenant.in_(sorted(where.tenants)))
    if span.since is not None:
        conditions.append(row.started_at >= span.since)
    if span.until is not None:
        conditions.append(row.started_at < span.until)
    return and_(True, *conditions)
