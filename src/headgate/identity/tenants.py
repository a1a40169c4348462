"""Tenants: made, read, changed and taken away, each by somebody who may. Knows no HTTP and no SQL.

Those of the configuration file are changed there only; `default` is always there.
"""

from collections.abc import Callable
from dataclasses import replace
from time import time

from headgate.core.errors import AlreadyExists, NotChangeable, TenantNotFound
from headgate.core.principal import DEFAULT_TENANT, Principal
from headgate.identity.acts import key_act, tenant_act
from headgate.identity.keys import KeyRing
from headgate.identity.scopes import require, require_no_more, tenants_with
from headgate.identity.store import Store
from headgate.identity.types import PLAIN, NewTenant, Tenant, TenantChange, with_changes

READ, WRITE = "tenants:read", "tenants:write"


class Tenants:
    """Every change is in force in every worker before its caller has the answer."""

    def __init__(self, store: Store, ring: KeyRing, clock: Callable[[], float] = time) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock

    async def create(self, wanted: NewTenant, by: Principal) -> Tenant:
        require(by, WRITE, wanted.id)
        now = self._clock()
        made = Tenant(
            wanted.id,
            wanted.name or "",
            with_changes(PLAIN, wanted),
            wanted.metadata or {},
            created_at=now,
            updated_at=now,
        )
        async with self._store.change() as change:
            if wanted.id in self._ring.configured or await change.tenant(wanted.id):
                raise AlreadyExists(f"There is a tenant '{wanted.id}' already.", param="id")
            await change.put_tenant(made)
            await change.note(tenant_act("tenant.created", None, made))
        await self._ring.publish()
        return made

    async def get(self, tenant_id: str, by: Principal) -> Tenant:
        require(by, READ)
        self._refuse_foreign(tenant_id, by, READ)
        found = self._ring.configured.get(tenant_id) or await self._store.tenant(tenant_id)
        return found or self._default(tenant_id)

    async def list(self, by: Principal) -> list[Tenant]:
        require(by, READ)
        held = tenants_with(by, READ)
        there = {one.id: one for one in (Tenant(DEFAULT_TENANT), *await self._store.tenants())}
        there |= self._ring.configured
        return [one for _, one in sorted(there.items()) if held is None or one.id in held]

    async def update(self, tenant_id: str, change: TenantChange, by: Principal) -> Tenant:
        def changed(old: Tenant) -> Tenant:
            given = change.model_fields_set
            return replace(
                old,
                name=(change.name or "") if "name" in given else old.name,
                rights=with_changes(old.rights, change),
                metadata=(change.metadata or {}) if "metadata" in given else old.metadata,
            )

        return await self._changed(tenant_id, by, changed, "tenant.updated")

    async def block(self, tenant_id: str, by: Principal, *, blocked: bool = True) -> Tenant:
        """Shut out all its keys, or let them in again."""
        act = "tenant.blocked" if blocked else "tenant.unblocked"
        return await self._changed(tenant_id, by, lambda old: replace(old, blocked=blocked), act)

    async def delete(self, tenant_id: str, by: Principal, *, with_keys: bool = False) -> Tenant:
        """A tenant without keys, or with them, and its users. Of `default`, what was set is forgotten."""
        require(by, WRITE)
        self._refuse_foreign(tenant_id, by, WRITE)
        self._refuse_configured(tenant_id)
        async with self._store.change() as change:
            old = await change.tenant(tenant_id) or self._default(tenant_id)
            if with_keys and tenant_id != DEFAULT_TENANT:
                for key in await change.keys_of(tenant_id):
                    require(by, "keys:write", tenant_id)
                    require_no_more(by, key.rights.scopes, tenant_id)
                    await change.erase_key(key.id)
                    await change.note(key_act("key.deleted", key, None))
            elif tenant_id != DEFAULT_TENANT and await change.has_keys(tenant_id):
                raise NotChangeable(f"The tenant '{tenant_id}' has keys. Delete or revoke them first.")
            await change.erase_tenant(tenant_id)
            await change.note(tenant_act("tenant.deleted", old, None))
        await self._ring.publish()
        return old

    async def _changed(self, tenant_id: str, by: Principal, edit: Callable[[Tenant], Tenant], action: str) -> Tenant:
        require(by, WRITE)
        self._refuse_foreign(tenant_id, by, WRITE)
        self._refuse_configured(tenant_id)
        async with self._store.change() as change:
            old = await change.tenant(tenant_id) or self._default(tenant_id)
            now = self._clock()
            new = replace(edit(old), updated_at=now, created_at=old.created_at or now)
            await change.put_tenant(new)
            await change.note(tenant_act(action, old, new))
        await self._ring.publish()
        return new

    def _default(self, tenant_id: str) -> Tenant:
        if tenant_id != DEFAULT_TENANT:
            raise TenantNotFound("There is no such tenant.")
        return Tenant(DEFAULT_TENANT)

    def _refuse_foreign(self, tenant_id: str, by: Principal, needed: str) -> None:
        held = tenants_with(by, needed)
        if held is not None and tenant_id not in held:
            raise TenantNotFound("There is no such tenant.")

    def _refuse_configured(self, tenant_id: str) -> None:
        if tenant_id in self._ring.configured:
            raise NotChangeable(f"The tenant '{tenant_id}' stands in the configuration file; change it there.")
