"""From keys and tenants to those who come in: built once, when a key is learned, and not with every request."""

from headgate.core.bounds import Bound
from headgate.core.principal import Principal
from headgate.identity.types import NO_RATE, PLAIN, Allowance, Defaults, KeyInForce, Tenant, User


class Builder:
    """Builds the holders of keys. What the keys of one tenant or user have in common, they share."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._users: dict[tuple[str, str], tuple[Bound, ...]] = {}
        self._own: dict[tuple[str, str], User] = {}
        """Users with limits of their own, or shut out."""
        self._tenants: dict[str, tuple[Bound, ...]] = {}

    def forget(self, tenant_id: str) -> None:
        """Its limits have changed."""
        self._tenants.pop(tenant_id, None)

    def put_user(self, name: tuple[str, str], user: User | None) -> None:
        """What holds for a user from now on; None for nothing but what holds for all."""
        self._users.pop(name, None)
        if user is None or (user.rights == PLAIN and not user.blocked):
            self._own.pop(name, None)
        else:
            self._own[name] = user

    def user(self, tenant_id: str, user: str) -> User | None:
        """A user of whom there is more to know than its id."""
        return self._own.get((tenant_id, user)) if user and self._own else None

    def forget_users(self) -> None:
        self._own.clear()
        self._users.clear()

    @property
    def everyone(self) -> tuple[Bound, ...]:
        """What holds for all keys together, the master key among them."""
        return self._defaults.everyone

    def holder(self, key: KeyInForce, tenant: Tenant, *, is_admin: bool = False) -> Principal:
        """Who comes with a key. The master key has no bounds but everybody's, and may use every model."""
        if is_admin:
            return Principal(key.id, is_admin=True, tenant=tenant.id, alias=key.alias, bounds=self.everyone)
        rights, theirs = key.rights, tenant.rights
        user = self.user(tenant.id, key.user)
        own = _bounds(f"key:{key.id}", Allowance(rights.rate, rights.budgets), self._defaults.key)
        return Principal(
            key.id,
            tenant=tenant.id,
            user=key.user,
            alias=key.alias,
            scopes=rights.scopes,
            allow=rights.allow,
            deny=rights.deny + theirs.deny + (user.rights.deny if user else ()),
            tags=rights.tags,
            bounds=own + self.user_bounds(tenant.id, key.user) + self.tenant_bounds(tenant) + self.everyone,
            expires_at=key.expires_at,
            within=theirs.allow,
            of_user=user.rights.allow if user else (),
        )

    def user_bounds(self, tenant_id: str, user: str) -> tuple[Bound, ...]:
        """What holds for a user of a tenant, whatever the key."""
        known = self.user(tenant_id, user)
        if not user or (known is None and self._defaults.user == Allowance()):
            return ()
        found = self._users.get((tenant_id, user))
        if found is None:
            own = Allowance(known.rights.rate, known.rights.budgets) if known else Allowance()
            found = _bounds(f"user:{tenant_id}/{user}", own, self._defaults.user)
            self._users[tenant_id, user] = found
        return found

    def tenant_bounds(self, tenant: Tenant) -> tuple[Bound, ...]:
        """What holds for all keys of a tenant together."""
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
