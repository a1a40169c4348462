"""Settings of tenants: read, set and taken away while the gateway runs. Knows no HTTP and no SQL, nor who may.

A change is in force in every worker before its caller has the answer.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from headgate.core.audit import Act, changed
from headgate.core.errors import MissingField
from headgate.settings.cascade import Cascade
from headgate.settings.types import Resolved, Standing

if TYPE_CHECKING:  # the routes know settings, and start without the database's libraries
    from headgate.settings.store import Store


class TenantConfig:
    """`standing_of` tells what a tenant's own record says; `publish` lets every worker learn a change."""

    def __init__(
        self,
        cascade: Cascade,
        store: "Store",
        standing_of: Callable[[str], Standing],
        publish: Callable[[], Awaitable[None]],
    ) -> None:
        self._cascade = cascade
        self._store = store
        self._standing_of = standing_of
        self._publish = publish

    def show(self, tenant: str) -> list[Resolved]:
        """Every setting."""
        standing = self._standing_of(tenant)
        return [self._cascade.resolve(key, tenant, standing) for key in self._cascade.registry.settings]

    def get(self, tenant: str, key: str) -> Resolved:
        """One setting; raises TenantConfigKeyUnknown."""
        return self._cascade.resolve(key, tenant, self._standing_of(tenant))

    async def put(self, tenant: str, values: Mapping[str, Any], by: str) -> list[Resolved]:
        """Set values, all or none. Raises an error that names the key, and says why it cannot have that value."""
        if not values:
            raise MissingField("Name at least one setting and its value.")
        standing = self._standing_of(tenant)
        checked = {key: self._cascade.checked(key, value, tenant, standing) for key, value in values.items()}
        return await self._written(tenant, checked, by)

    async def delete(self, tenant: str, key: str, by: str) -> Resolved:
        """Take the tenant's own value away, so that the one above it holds again."""
        self._cascade.registry.writable(key)
        return (await self._written(tenant, {key: None}, by))[0]

    async def clear(self, tenant: str, by: str) -> list[Resolved]:
        """Take all of the tenant's own values away; those are told that had one."""
        keys = list(self._cascade.own(tenant))
        return await self._written(tenant, dict.fromkeys(keys), by) if keys else []

    async def _written(self, tenant: str, values: Mapping[str, Any], by: str) -> list[Resolved]:
        own = self._cascade.own(tenant)
        before, after = changed({key: own.get(key) for key in values}, values)
        act = Act("tenant_config.updated", "tenant_config", tenant, tenant, before, after)
        await self._store.put(tenant, values, by, act)
        await self._publish()
        standing = self._standing_of(tenant)
        return [self._cascade.resolve(key, tenant, standing) for key in values]
