"""Users, keys and the record of a tenant, handed out with all else that is kept of them. Hashes of keys are not."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from headgate.core.ports import Whose
from headgate.identity.store import Store
from headgate.identity.types import KeyQuery, KeyRecord, Tenant, User, UserQuery, iso

_PAGE = 1000


async def records(store: Store, whose: Whose) -> AsyncIterator[Mapping[str, Any]]:
    """Raises DatabaseUnavailable."""
    if whose.user is None and (tenant := await store.tenant(whose.tenant)) is not None:
        yield _tenant(tenant)
    skip = 0
    ids = () if whose.user is None else (whose.user,)
    while users := await store.users(UserQuery(tenant=whose.tenant, ids=ids, skip=skip, limit=_PAGE)):
        for user in users:
            yield _user(user)
        skip += len(users)
    after = ""
    while keys := (await store.keys(KeyQuery(tenant=whose.tenant, user=whose.user, after=after, limit=_PAGE)))[:_PAGE]:
        for key in keys:
            yield _key(key)
        after = keys[-1].id


def _tenant(one: Tenant) -> dict[str, Any]:
    return {
        "type": "tenant",
        "id": one.id,
        "name": one.name,
        "metadata": one.metadata,
        "blocked": one.blocked,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
    }


def _user(one: User) -> dict[str, Any]:
    return {
        "type": "user",
        "tenant": one.tenant,
        "id": one.id,
        "alias": one.alias,
        "email": one.email,
        "metadata": one.metadata,
        "blocked": one.blocked,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
    }


def _key(one: KeyRecord) -> dict[str, Any]:
    return {
        "type": "key",
        "id": one.id,
        "tenant": one.tenant,
        "user": one.user,
        "alias": one.alias,
        "metadata": one.metadata,
        "scopes": sorted(one.rights.scopes),
        "tags": list(one.rights.tags),
        "created_by": one.created_by,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
        "expires_at": iso(one.expires_at),
        "revoked_at": iso(one.revoked_at),
    }
