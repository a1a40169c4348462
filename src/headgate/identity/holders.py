"""From keys and tenants to those who come in: built once, when a key is learned, and not with every request."""

from collections.abc import Callable
from dataclasses import replace

from headgate.core.bounds import Bound, Budget, Period, Rate
from headgate.core.principal import ANYONE, DEFAULT_TENANT, Principal
from headgate.core.terms import NO_TERMS, Terms
from headgate.identity.types import NO_RATE, PLAIN, Allowance, Defaults, KeyInForce, Tenant, User, injected

TermsOf = Callable[[str], Terms]
"""What a tenant's settings change for its requests."""


def no_terms(_tenant: str) -> Terms:
    return NO_TERMS


class Builder:
    """Builds the holders of keys. What the keys of one tenant or user have in common, they share."""

    def __init__(self, defaults: Defaults, terms_of: TermsOf = no_terms) -> None:
        self._defaults = defaults
        self._terms_of = terms_of
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

    def anyone(self) -> Principal:
        """Who comes without a key where none is needed: under the settings of the tenant `default`, and everybody's
        bounds alone.
        """
        return replace(ANYONE, terms=self._terms_of(DEFAULT_TENANT), bounds=self.everyone)

    def holder(self, key: KeyInForce, tenant: Tenant, *, is_admin: bool = False) -> Principal:
        """Who comes with a key. The master key has no bounds but everybody's, and may use every model."""
        if is_admin:
            terms = _unbounded(self._terms_of(tenant.id))
            return Principal(
                key.id, is_admin=True, tenant=tenant.id, alias=key.alias, bounds=self.everyone, terms=terms
            )
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
            tags=_tags(rights.tags, rights.environment or theirs.environment),
            bounds=own + self.user_bounds(tenant.id, key.user) + self.tenant_bounds(tenant) + self.everyone,
            expires_at=key.expires_at,
            within=theirs.allow,
            inject=key.inject if key.inject is not None or not tenant.metadata else injected(tenant.metadata),
            of_user=user.rights.allow if user else (),
            terms=self._terms_of(tenant.id),
        )

    def retuned(self, who: Principal, tenant: Tenant) -> Principal:
        """The same holder, after the settings of the tenant changed."""
        terms = self._terms_of(tenant.id)
        if who.is_admin:
            return replace(who, terms=_unbounded(terms))
        rest = tuple(bound for bound in who.bounds if bound.subject != f"tenant:{tenant.id}")
        return replace(who, bounds=rest + self.tenant_bounds(tenant), terms=terms)

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
            found = _narrowed(_bounds(f"tenant:{tenant.id}", own, self._defaults.tenant), tenant, self._terms_of)
            self._tenants[tenant.id] = found
        return found


def _bounds(subject: str, own: Allowance, default: Allowance) -> tuple[Bound, ...]:
    """One bound, or none where nothing is limited. Rate and budgets each come from the default if not set."""
    rate = own.rate if own.rate != NO_RATE else default.rate
    budgets = own.budgets or default.budgets
    return (Bound(subject, rate, budgets),) if budgets or rate != NO_RATE else ()


def _narrowed(bounds: tuple[Bound, ...], tenant: Tenant, terms_of: TermsOf) -> tuple[Bound, ...]:
    """The tenant's bound, met by what its settings say: of each limit the smaller, of budgets all."""
    terms = terms_of(tenant.id)
    if terms.rate == NO_RATE and not terms.budgets:
        return bounds
    above = bounds[0] if bounds else Bound(f"tenant:{tenant.id}")
    first, second = above.rate, terms.rate
    rate = Rate(
        _least(first.requests_per_minute, second.requests_per_minute),
        _least(first.tokens_per_minute, second.tokens_per_minute),
        _least(first.streams, second.streams),
    )
    smallest: dict[tuple[Period, bool], Budget] = {}
    for one in (*above.budgets, *terms.budgets):
        known = smallest.get((one.period, one.hard))
        smallest[one.period, one.hard] = one if known is None or one.nano_usd < known.nano_usd else known
    return (Bound(above.subject, rate, tuple(smallest.values())),)


def _least(one: int, other: int) -> int:
    """The smaller limit, where 0 is none."""
    return min(one, other) if one and other else one or other


def _unbounded(terms: Terms) -> Terms:
    """What the settings change for the master key, which no list of models keeps out."""
    return replace(terms, allow=(), deny=()) if terms.allow or terms.deny else terms


def _tags(tags: tuple[str, ...], environment: str) -> tuple[str, ...]:
    return (*tags, f"environment:{environment}") if environment else tags
