"""Tenants and keys in the database. Knows no rule but that every change has a number, by which others find it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from time import time
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    Row,
    Select,
    Table,
    Text,
    UniqueConstraint,
    and_,
    func,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.core.audit import Act
from headgate.core.bounds import Budget, Rate
from headgate.core.ports import Witness
from headgate.db.columns import Instant, Json, Name, metadata
from headgate.db.engine import Database
from headgate.identity.types import (
    INJECT,
    NO_RATE,
    PLAIN,
    Changed,
    KeyInForce,
    KeyQuery,
    KeyRecord,
    Rights,
    Tenant,
    User,
    UserQuery,
    injected,
)

_BATCH = 5000

changes = Table(
    "identity_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    info={"first": [{"id": 1, "revision": 0}]},
)
tenants = Table(
    "tenants",
    metadata,
    Column("id", Name, primary_key=True),
    Column("name", Name, nullable=False),
    Column("rights", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("erased", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index(None, "revision"),
)
keys = Table(
    "keys",
    metadata,
    Column("id", Name, primary_key=True),
    Column("tenant", Name, nullable=False),
    Column("user_id", Name, nullable=False),
    Column("alias", Name, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("previous", LargeBinary(32)),
    Column("previous_until", Instant, nullable=False),
    Column("rights", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("revoked_at", Instant, nullable=False),
    Column("erased", Boolean, nullable=False),
    Column("created_by", Name, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("rotated_at", Instant, nullable=False),
    Column("revision", BigInteger, nullable=False),
    UniqueConstraint("digest"),
    Index(None, "revision"),
    Index(None, "tenant", "alias"),
    Index(None, "tenant", "user_id"),
)
users = Table(
    "users",
    metadata,
    Column("tenant", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("alias", Name, nullable=False),
    Column("email", Name, nullable=False),
    Column("rights", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("erased", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index(None, "revision"),
    Index(None, "id"),
)
_IN_FORCE = (
    keys.c.id,
    keys.c.digest,
    keys.c.tenant,
    keys.c.user_id,
    keys.c.alias,
    keys.c.rights,
    keys.c.expires_at,
    keys.c.blocked,
    (keys.c.erased | (keys.c.revoked_at > 0)).label("is_gone"),
    keys.c.previous,
    keys.c.previous_until,
    type_coerce(keys.c.metadata, Text),
)


class Store:
    """Reads, and changes in transactions of their own."""

    def __init__(self, database: Database, witness: Witness | None = None) -> None:
        self._database = database
        self._witness = witness

    async def changed(self, after: int) -> AsyncIterator[Changed]:
        """All that changed after a revision, in parts: the keys that did, and those of tenants and users that did."""
        async with self._database.reading() as connection:
            revision = int((await connection.execute(select(changes.c.revision))).scalar_one())
            if revision < after:  # another database than before, such as a copy that was put back
                raise LookupError("the database is older than what was read from it")
            found = await connection.execute(select(tenants).where(tenants.c.revision > after))
            yield Changed(revision, {row.id: None if row.erased else _tenant(row) for row in found})
            counts = (users.c.rights != "{}") | users.c.blocked if not after else true()
            found = await connection.execute(select(users).where(users.c.revision > after, counts))
            changed_users = {(row.tenant, row.id): None if row.erased else _user(row) for row in found}
            if changed_users:
                yield Changed(revision, users=changed_users)
            theirs = select(tenants.c.id).where(tenants.c.revision > after)
            query = select(*_IN_FORCE).where(or_(keys.c.revision > after, keys.c.tenant.in_(theirs)))
            if not after:
                query = select(*_IN_FORCE).where(~keys.c.erased, keys.c.revoked_at == 0)
            rows = await connection.stream(query.execution_options(yield_per=_BATCH))
            async for part in rows.partitions():
                yield Changed(revision, {}, tuple(_in_force(row) for row in part))
            if changed_users and after:
                own = and_(users.c.tenant == keys.c.tenant, users.c.id == keys.c.user_id, users.c.revision > after)
                found = await connection.execute(select(*_IN_FORCE).join_from(users, keys, own))
                yield Changed(revision, {}, tuple(_in_force(row) for row in found))

    async def key(self, key_id: str) -> KeyRecord | None:
        async with self._database.reading() as connection:
            return await _key(connection, key_id)

    async def key_with(self, digest: bytes) -> KeyRecord | None:
        async with self._database.reading() as connection:
            query = select(keys).where(~keys.c.erased, keys.c.digest == digest)
            row = (await connection.execute(query)).one_or_none()
            return None if row is None else _record(row)

    async def keys(self, query: KeyQuery) -> list[KeyRecord]:
        """In the order in which they were made, one more than the limit if there are more."""
        chosen = _chosen(select(keys), query).order_by(keys.c.id).offset(query.skip).limit(query.limit + 1)
        async with self._database.reading() as connection:
            return [_record(row) for row in await connection.execute(chosen)]

    async def count(self, query: KeyQuery) -> int:
        async with self._database.reading() as connection:
            return int((await connection.execute(_chosen(select(func.count()).select_from(keys), query))).scalar_one())

    async def tenant(self, tenant_id: str) -> Tenant | None:
        async with self._database.reading() as connection:
            return await _tenant_of(connection, tenant_id)

    async def tenants(self) -> list[Tenant]:
        async with self._database.reading() as connection:
            return [_tenant(row) for row in await connection.execute(select(tenants).where(~tenants.c.erased))]

    async def users(self, query: UserQuery) -> list[User]:
        """In the order of their ids."""
        chosen = _chosen_users(select(users), query).order_by(users.c.id, users.c.tenant)
        async with self._database.reading() as connection:
            found = await connection.execute(chosen.offset(query.skip).limit(query.limit))
            return [_user(row) for row in found]

    async def count_users(self, query: UserQuery) -> int:
        chosen = _chosen_users(select(func.count()).select_from(users), query)
        async with self._database.reading() as connection:
            return int((await connection.execute(chosen)).scalar_one())

    async def count_keys_of_users(self, tenant: str, names: list[str]) -> dict[str, int]:
        """How many keys each user of a tenant has."""
        mine = (keys.c.tenant == tenant, keys.c.user_id.in_(names), ~keys.c.erased, keys.c.revoked_at == 0)
        query = select(keys.c.user_id, func.count()).where(*mine).group_by(keys.c.user_id)
        async with self._database.reading() as connection:
            return {name: int(count) for name, count in await connection.execute(query)}

    @asynccontextmanager
    async def change(self) -> AsyncIterator["Change"]:
        """A transaction; changes come one after another, for each takes the next number."""
        async with self._database.writing() as connection:
            await connection.execute(changes.update().values(revision=changes.c.revision + 1))
            revision = (await connection.execute(select(changes.c.revision))).scalar_one()
            change = Change(connection, revision, self._witness)
            yield change
        if self._witness is not None:
            for noted in change.noted:
                await self._witness.committed(noted)


class Change:
    """What can be read and written within one change."""

    def __init__(self, connection: AsyncConnection, revision: int, witness: Witness | None = None) -> None:
        self.transaction = connection
        self._revision = revision
        self._witness = witness
        self.noted: list[Any] = []
        """What the witness has to be told of once all is committed."""

    async def note(self, act: Act) -> None:
        """Have it kept, with the change and only with it."""
        if self._witness is not None:
            self.noted.append(await self._witness.note(self.transaction, act))

    async def key(self, key_id: str) -> KeyRecord | None:
        return await _key(self.transaction, key_id)

    async def tenant(self, tenant_id: str) -> Tenant | None:
        return await _tenant_of(self.transaction, tenant_id)

    async def has_alias(self, tenant: str, alias: str) -> bool:
        """Whether a key that is not revoked has an alias."""
        here = and_(keys.c.tenant == tenant, keys.c.alias == alias)
        return await self._any(select(keys.c.id).where(here, ~keys.c.erased, keys.c.revoked_at == 0))

    async def has_digest(self, digest: bytes) -> bool:
        """Whether a key has, or had before it was rotated, this hash. Those of erased keys are not given out again."""
        return await self._any(select(keys.c.id).where(or_(keys.c.digest == digest, keys.c.previous == digest)))

    async def has_keys(self, tenant: str) -> bool:
        return await self._any(select(keys.c.id).where(keys.c.tenant == tenant, ~keys.c.erased, keys.c.revoked_at == 0))

    async def add_key(self, record: KeyRecord) -> None:
        await self.transaction.execute(keys.insert().values(self._key_values(record)))

    async def put_key(self, record: KeyRecord) -> None:
        await self.transaction.execute(keys.update().where(keys.c.id == record.id).values(self._key_values(record)))

    async def erase_key(self, key_id: str) -> None:
        """Forget everything but the hash, so that the key stays unknown for ever."""
        blank = KeyRecord("", b"")
        values = {**self._key_values(blank), "erased": True, "updated_at": time()}
        for kept in ("id", "digest", "tenant", "created_at"):
            del values[kept]
        await self.transaction.execute(keys.update().where(keys.c.id == key_id).values(values))

    async def put_tenant(self, tenant: Tenant) -> None:
        values = self._tenant_values(tenant)
        done = await self.transaction.execute(tenants.update().where(tenants.c.id == tenant.id).values(values))
        if not done.rowcount:
            await self.transaction.execute(tenants.insert().values(values))

    async def erase_tenant(self, tenant_id: str) -> None:
        """The tenant, and what is known of its users."""
        theirs = and_(users.c.tenant == tenant_id, ~users.c.erased)
        for row in (await self.transaction.execute(select(users).where(theirs))).all():
            await self.put_user(User(tenant_id, row.id, updated_at=time()), erased=True)
        values = {**self._tenant_values(Tenant(tenant_id, updated_at=time())), "erased": True}
        await self.transaction.execute(tenants.update().where(tenants.c.id == tenant_id).values(values))

    async def purge(self, tenant: str, user: str | None, name: str) -> None:
        """Leave no row that names the user, or the tenant: keys that are gone get `name` as their tenant."""
        mine = users.c.tenant == tenant
        await self.transaction.execute(users.delete().where(mine if user is None else and_(mine, users.c.id == user)))
        if user is None:
            await self.transaction.execute(tenants.delete().where(tenants.c.id == tenant))
            gone = keys.update().where(keys.c.tenant == tenant, keys.c.erased)
            await self.transaction.execute(gone.values(tenant=name, revision=self._revision))

    async def user(self, tenant: str, user_id: str) -> User | None:
        query = select(users).where(users.c.tenant == tenant, users.c.id == user_id, ~users.c.erased)
        row = (await self.transaction.execute(query)).one_or_none()
        return None if row is None else _user(row)

    async def put_user(self, user: User, *, erased: bool = False) -> None:
        values = {
            "tenant": user.tenant,
            "id": user.id,
            "alias": user.alias,
            "email": user.email,
            "rights": rights_text(user.rights),
            "metadata": user.metadata,
            "blocked": user.blocked,
            "erased": erased,
            "created_at": user.created_at,
            "updated_at": user.updated_at,
            "revision": self._revision,
        }
        mine = and_(users.c.tenant == user.tenant, users.c.id == user.id)
        if not (await self.transaction.execute(users.update().where(mine).values(values))).rowcount:
            await self.transaction.execute(users.insert().values(values))

    async def keys_of(self, tenant: str, user_id: str | None = None) -> list[KeyRecord]:
        """All keys of a tenant, or of a user there."""
        query = select(keys).where(keys.c.tenant == tenant, ~keys.c.erased)
        if user_id is not None:
            query = query.where(keys.c.user_id == user_id)
        return [_record(row) for row in await self.transaction.execute(query)]

    async def _any(self, query: Select[Any]) -> bool:
        return (await self.transaction.execute(query.limit(1))).first() is not None

    def _key_values(self, record: KeyRecord) -> dict[str, Any]:
        return {
            "id": record.id,
            "tenant": record.tenant,
            "user_id": record.user,
            "alias": record.alias,
            "digest": record.digest,
            "previous": record.previous,
            "previous_until": record.previous_until,
            "rights": rights_text(record.rights),
            "metadata": record.metadata,
            "expires_at": record.expires_at,
            "blocked": record.blocked,
            "revoked_at": record.revoked_at,
            "erased": False,
            "created_by": record.created_by,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
            "rotated_at": record.rotated_at,
            "revision": self._revision,
        }

    def _tenant_values(self, tenant: Tenant) -> dict[str, Any]:
        return {
            "id": tenant.id,
            "name": tenant.name,
            "rights": rights_text(tenant.rights),
            "metadata": tenant.metadata,
            "blocked": tenant.blocked,
            "erased": False,
            "created_at": tenant.created_at,
            "updated_at": tenant.updated_at,
            "revision": self._revision,
        }


def rights_text(rights: Rights) -> str:
    """Rights as JSON, without what is not set."""
    rate = rights.rate
    said = {
        "scopes": sorted(rights.scopes),
        "allow": rights.allow,
        "deny": rights.deny,
        "tags": rights.tags,
        "rate": [rate.requests_per_minute, rate.tokens_per_minute, rate.streams] if rate != NO_RATE else [],
        "budgets": [[one.nano_usd, one.period, one.hard] for one in rights.budgets],
        "environment": rights.environment,
    }
    return orjson.dumps({name: value for name, value in said.items() if value}).decode()


@lru_cache(1024)
def rights_of(text: str) -> Rights:
    """The rights of such a text. Many keys have the same, and share them."""
    if text == "{}":
        return PLAIN
    said = orjson.loads(text)
    return Rights(
        frozenset(said.get("scopes", ())),
        tuple(said.get("allow", ())),
        tuple(said.get("deny", ())),
        tuple(said.get("tags", ())),
        Rate(*said.get("rate", ())),
        tuple(Budget(*one) for one in said.get("budgets", ())),
        said.get("environment", ""),
    )


async def _key(connection: AsyncConnection, key_id: str) -> KeyRecord | None:
    row = (await connection.execute(select(keys).where(keys.c.id == key_id, ~keys.c.erased))).one_or_none()
    return None if row is None else _record(row)


async def _tenant_of(connection: AsyncConnection, tenant_id: str) -> Tenant | None:
    row = (await connection.execute(select(tenants).where(tenants.c.id == tenant_id, ~tenants.c.erased))).one_or_none()
    return None if row is None else _tenant(row)


def _chosen(rows: Select[Any], query: KeyQuery) -> Select[Any]:
    rows = rows.where(~keys.c.erased, keys.c.id > query.after)
    if query.tenants is not None:
        rows = rows.where(keys.c.tenant.in_(sorted(query.tenants)))
    for column, wanted in ((keys.c.tenant, query.tenant), (keys.c.user_id, query.user), (keys.c.alias, query.alias)):
        if wanted is not None:
            rows = rows.where(column == wanted)
    if query.state is None:
        return rows
    has_ended = and_(keys.c.expires_at > 0, keys.c.expires_at <= time())
    if query.state == "revoked":
        return rows.where(keys.c.revoked_at > 0)
    rows = rows.where(keys.c.revoked_at == 0, keys.c.blocked == (query.state == "blocked"))
    if query.state == "blocked":
        return rows
    return rows.where(has_ended if query.state == "expired" else ~has_ended)


def _chosen_users(rows: Select[Any], query: UserQuery) -> Select[Any]:
    rows = rows.where(~users.c.erased)
    if query.tenants is not None:
        rows = rows.where(users.c.tenant.in_(sorted(query.tenants)))
    if query.ids:
        rows = rows.where(users.c.id.in_(query.ids))
    for column, wanted in ((users.c.tenant, query.tenant), (users.c.email, query.email)):
        if wanted is not None:
            rows = rows.where(column == wanted)
    return rows


def _in_force(row: Row[*tuple[Any, ...]]) -> KeyInForce:
    key_id, digest, tenant, user, alias, rights, expires_at, blocked, is_gone, previous, until, more = row
    inject = injected(orjson.loads(more)) if INJECT in more else None
    found = rights_of(rights)
    return KeyInForce(
        key_id, digest, tenant, user, alias, found, expires_at, blocked, bool(is_gone), previous, until, inject
    )


def _record(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        digest=row.digest,
        tenant=row.tenant,
        user=row.user_id,
        alias=row.alias,
        rights=rights_of(row.rights),
        metadata=row.metadata,
        expires_at=row.expires_at,
        blocked=row.blocked,
        revoked_at=row.revoked_at,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        rotated_at=row.rotated_at,
        previous=row.previous,
        previous_until=row.previous_until,
    )


def _tenant(row: Row[Any]) -> Tenant:
    return Tenant(
        id=row.id,
        name=row.name,
        rights=rights_of(row.rights),
        metadata=row.metadata,
        blocked=row.blocked,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _user(row: Row[Any]) -> User:
    return User(
        tenant=row.tenant,
        id=row.id,
        alias=row.alias,
        email=row.email,
        rights=rights_of(row.rights),
        metadata=row.metadata,
        blocked=row.blocked,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
