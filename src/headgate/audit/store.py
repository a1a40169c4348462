"""The audit log's tables. Rows are added and read; they are exchanged only when somebody's data are erased."""

from collections.abc import Sequence
from typing import Any, get_type_hints

from sqlalchemy import BigInteger, Column, Index, Integer, Select, Table, Text, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.audit.types import AuditQuery, Head, Row
from headgate.db.columns import metadata
from headgate.db.engine import Database


def _column(name: str, kind: type) -> "Column[Any]":
    number, is_key = kind is int, name == "seq"
    return Column(name, BigInteger() if number else Text(), primary_key=is_key, autoincrement=False, nullable=False)


audit = Table("audit", metadata, *(_column(name, kind) for name, kind in get_type_hints(Row).items()))
Index("ix_audit_tenant", audit.c.tenant, audit.c.seq)
heads = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    info={"first": [{"id": 1, "seq": 0, "hash": ""}]},
)


class AuditStore:
    """Adds rows within a transaction of somebody else's, or of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def hold(self, connection: AsyncConnection) -> Head:
        """The last row; until the transaction ends, nobody else adds one."""
        await connection.execute(update(heads).values(seq=heads.c.seq + 1))
        row = (await connection.execute(select(heads.c.seq, heads.c.hash))).one()
        return Head(row.seq - 1, row.hash)

    async def add(self, connection: AsyncConnection, row: Row) -> None:
        """The next row; the last one must be held."""
        await connection.execute(insert(audit).values(row._asdict()))
        await connection.execute(update(heads).values(hash=row.hash))

    async def last(self) -> Head:
        """As the database itself says."""
        async with self.database.reading() as connection:
            row = (await connection.execute(select(heads.c.seq, heads.c.hash))).one()
            return Head(row.seq, row.hash)

    async def hash_at(self, seq: int) -> str | None:
        async with self.database.reading() as connection:
            found: str | None = (await connection.execute(select(audit.c.hash).where(audit.c.seq == seq))).scalar()
            return found

    async def since(self, connection: AsyncConnection, seq: int, limit: int) -> list[Row]:
        """The rows behind a number, oldest first, as the transaction sees them."""
        query = select(audit).where(audit.c.seq > seq).order_by(audit.c.seq).limit(limit)
        return [Row(*row) for row in await connection.execute(query)]

    async def exchange(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Put rows in the place of those of the same numbers; the last row must be held."""
        if rows:
            numbers = [row.seq for row in rows]
            await connection.execute(delete(audit).where(audit.c.seq.between(numbers[0], numbers[-1])))
            await connection.execute(insert(audit), [row._asdict() for row in rows])

    async def move_head(self, connection: AsyncConnection, head: Head) -> None:
        """The last row is another one now."""
        await connection.execute(update(heads).values(seq=head.seq, hash=head.hash))

    async def chosen(self, query: AuditQuery, limit: int) -> list[Row]:
        async with self.database.reading() as connection:
            return [Row(*row) for row in await connection.execute(_chosen(query).limit(limit))]


def _chosen(query: AuditQuery) -> "Select[Any]":
    row = audit.c
    wanted = {name: getattr(query, name) for name in ("action", "key", "object", "tenant", "outcome")}
    conditions = [row[name] == value for name, value in wanted.items() if value]
    if query.tenants is not None:
        conditions.append(row.tenant.in_(query.tenants))
    if query.since is not None:
        conditions.append(row.at >= query.since)
    if query.until is not None:
        conditions.append(row.at < query.until)
    if query.after:
        conditions.append(row.seq > query.after if query.oldest_first else row.seq < query.after)
    order = row.seq if query.oldest_first else row.seq.desc()
    return select(audit).where(and_(True, *conditions)).order_by(order)
