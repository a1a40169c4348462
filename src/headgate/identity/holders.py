"""From keys and tenants to those who come in: built once, when a key is learned, and not with every request."""

from headgate.core.bounds import Bound
from headgate.core.principal import Principal
from headgate.identity.types import NO_RATE, Allowance, Defaults, KeyInForce, Tenant, injected


class Builder:
    """Builds the holders of keys. What the keys of one tenant or user have in common, they share."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._users: dict[tuple[str, str], tuple[Bound, ...]] = {}
        self._tenants: dict[str, tuple[Bound, ...]] = {}

    def forget(self, tenant_id: str) -> None:
        """Its limits have changed."""
        self._tenants.pop(tenant_id, None)

    def holder(self, key: KeyInForce, tenant: Tenant, *, is_admin: bool = False) -> Principal:
        """Who comes with a key. The master key has no bounds, and may use every model."""
        if is_admin:
            return Principal(key.id, is_admin=True, tenant=tenant.id, alias=key.alias)
        rights, theirs = key.rights, tenant.rights
        own = _bounds(f"key:{key.id}", Allowance(rights.rate, rights.budgets), self._defaults.key)
        return Principal(
            key.id,
            tenant=tenant.id,
            user=key.user,
            alias=key.alias,
            scopes=rights.scopes,
            allow=rights.allow,
            deny=rights.deny + theirs.deny,
            tags=rights.tags,
            bounds=own + self.user_bounds(tenant.id, key.user) + self._tenant_bounds(tenant),
            expires_at=key.expires_at,
            within=theirs.allow,
            inject=key.inject if key.inject is not None or not tenant.metadata else injected(tenant.metadata),
        )

    def user_bounds(self, tenant_id: str, user: str) -> tuple[Bound, ...]:
        """What holds for a user of a tenant, whatever the key."""
        if not user or self._defaults.user == Allowance():
            return ()
        found = self._users.get((tenant_id, user))
        if found is None:
            found = _bounds(f"user:{tenant_id}/{user}", Allowance(), self._defaults.user)
            self._users[tenant_id, user] = found
        return found

    def _tenant_bounds(self, tenant: Tenant) -> tuple[Bound, ...]:
        found = self._tenants.get(tenant.id)
        if found is None:
            own = Allowance(tenant.rights.rate, tenant.rights.budgets)
            found = self._tenants[tenant.id] = _bounds(f"tenant:{tenant.id}", own, self._defaults.tenant)
        return found


def _bounds(subject: str, own: Allowance, default: Allowance) -> tuple[Bound, ...]:
    """One bound, or none where nothing is limited. Rate and budgets each come from the default if not set."""
    rate = own.rate if own.rate != NO_RATE else default.rate
    budgets = own.budgets or default.budgets
    return (Bound(subject, rate, budgets),) if budgets or rate != NO_RATE else ()
