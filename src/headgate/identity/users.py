"""Users: end users of a tenant with limits of their own, made, read, changed and taken away by somebody who may.

Whoever calls with an id that is not known here is a user too, with the limits of all. Knows no HTTP and no SQL.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import time

from headgate.core.errors import AlreadyExists, InvalidField, UserNotFound
from headgate.core.principal import Principal
from headgate.identity.acts import key_act, user_act
from headgate.identity.keys import KeyRing
from headgate.identity.scopes import require, require_no_more, tenants_with
from headgate.identity.store import Store
from headgate.identity.types import PLAIN, KeyRecord, NewUser, User, UserChange, UserQuery, with_changes

READ, WRITE = "users:read", "users:write"


@dataclass(frozen=True, slots=True)
class UserPage:
    """Some users, how many there are in all, and the number of each one's keys."""

    users: list[User]
    total: int
    keys: list[int]


class Users:
    """Every change is in force in every worker before its caller has the answer."""

    def __init__(self, store: Store, ring: KeyRing, clock: Callable[[], float] = time) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock

    async def create(self, wanted: NewUser, by: Principal) -> User:
        require(by, WRITE, wanted.tenant)
        if self._ring.tenant(wanted.tenant) is None:
            raise InvalidField(f"There is no tenant '{wanted.tenant}'.", param="tenant")
        now = self._clock()
        made = User(
            wanted.tenant,
            wanted.id,
            wanted.alias or "",
            wanted.email or "",
            with_changes(PLAIN, wanted),
            wanted.metadata or {},
            created_at=now,
            updated_at=now,
        )
        async with self._store.change() as change:
            if await change.user(wanted.tenant, wanted.id):
                raise AlreadyExists(f"The tenant '{wanted.tenant}' has a user '{wanted.id}' already.", param="id")
            await change.put_user(made)
            await change.note(user_act("user.created", None, made))
        await self._ring.publish()
        return made

    async def named(self, user_id: str, by: Principal) -> list[User]:
        """The users of an id, one for each tenant that the asker may see; raises UserNotFound if there is none."""
        require(by, READ)
        found = await self._store.users(UserQuery(tenants_with(by, READ), ids=(user_id,), limit=1000))
        if not found:
            raise UserNotFound("There is no such user.")
        return found

    async def own(self, who: Principal) -> list[User]:
        """The user of the key that was asked with, which needs no scope; raises UserNotFound."""
        found = await self._store.users(UserQuery(tenant=who.tenant, ids=(who.user,)))
        if not found:
            raise UserNotFound("There is no such user.")
        return found

    async def with_email(self, email: str, by: Principal) -> list[User]:
        """The users of an address; raises UserNotFound if there is none."""
        require(by, READ)
        found = await self._store.users(UserQuery(tenants_with(by, READ), email=email, limit=1000))
        if not found:
            raise UserNotFound("There is no user of this address.")
        return found

    async def members(self, query: UserQuery, by: Principal) -> Sequence[User]:
        """Users of tenants that the asker may see; none, if it may see no users."""
        return await self._store.users(replace(query, tenants=tenants_with(by, READ)))

    async def update(self, tenant: str, user_id: str, change: UserChange, by: Principal) -> User:
        given = change.model_fields_set

        def changed(old: User) -> User:
            return replace(
                old,
                alias=(change.alias or "") if "alias" in given else old.alias,
                email=(change.email or "") if "email" in given else old.email,
                rights=with_changes(old.rights, change),
                metadata=(change.metadata or {}) if "metadata" in given else old.metadata,
            )

        return await self._changed(tenant, user_id, by, changed, "user.updated")

    async def block(self, tenant: str, user_id: str, by: Principal, *, blocked: bool = True) -> User:
        """Shut a user and its keys out, or let them in again."""
        act = "user.blocked" if blocked else "user.unblocked"
        return await self._changed(tenant, user_id, by, lambda old: replace(old, blocked=blocked), act)

    async def delete(self, tenant: str, user_id: str, by: Principal) -> list[KeyRecord]:
        """Forget a user, and end its keys; those are told."""
        require(by, WRITE)
        async with self._store.change() as change:
            old = _visible(await change.user(tenant, user_id), by)
            keys = await change.keys_of(tenant, user_id)
            if keys:
                require(by, "keys:write", tenant)
            for key in keys:
                require_no_more(by, key.rights.scopes, tenant)
                await change.erase_key(key.id)
                await change.note(key_act("key.deleted", key, None))
            await change.put_user(User(old.tenant, old.id, updated_at=self._clock()), erased=True)
            await change.note(user_act("user.deleted", old, None))
        await self._ring.publish()
        return keys

    async def list(self, query: UserQuery, by: Principal) -> UserPage:
        require(by, READ)
        seen = replace(query, tenants=tenants_with(by, READ))
        users = await self._store.users(seen)
        counts: dict[tuple[str, str], int] = {}
        for tenant in {user.tenant for user in users}:
            names = [user.id for user in users if user.tenant == tenant]
            found = await self._store.count_keys_of_users(tenant, names)
            counts |= {(tenant, name): count for name, count in found.items()}
        keys = [counts.get((user.tenant, user.id), 0) for user in users]
        return UserPage(users, await self._store.count_users(seen), keys)

    async def _changed(
        self, tenant: str, user_id: str, by: Principal, edit: Callable[[User], User], action: str
    ) -> User:
        require(by, WRITE)
        async with self._store.change() as change:
            old = _visible(await change.user(tenant, user_id), by)
            new = replace(edit(old), updated_at=self._clock())
            await change.put_user(new)
            await change.note(user_act(action, old, new))
        await self._ring.publish()
        return new


def _visible(user: User | None, by: Principal) -> User:
    held = tenants_with(by, WRITE)
    if user is None or (held is not None and user.tenant not in held):
        raise UserNotFound("There is no such user.")
    return user
