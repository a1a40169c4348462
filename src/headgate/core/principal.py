"""Who asks."""

from dataclasses import dataclass, field
from typing import NamedTuple

from headgate.core.bounds import Bound
from headgate.core.terms import NO_TERMS, Terms

DEFAULT_TENANT = "default"


class Injected(NamedTuple):
    """Patterns of models that get tools, and of tools that they get, without being asked for."""

    models: tuple[str, ...]
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """The holder of a key. `key_id` is a short public name for the key, never the key itself.

    `user` is the end user that a request is for, empty if none. `allow` and `deny` are patterns of model names; an
    empty `allow` allows all, and so it is with `within`, the tenant's, and `of_user`, the user's, which have to be met
    besides. `bounds` are those of the key, its user, its tenant and of all keys together. `expires_at` is seconds since
    the epoch, 0.0 for never. `terms` are what the tenant's settings change.
    """

    key_id: str
    is_admin: bool = False
    tenant: str = DEFAULT_TENANT
    user: str = ""
    alias: str = ""
    scopes: frozenset[str] = frozenset()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()
    expires_at: float = 0.0
    within: tuple[str, ...] = ()
    inject: Injected | None = None
    """What the key or its tenant says of tools for plain models; None if nothing."""
    of_user: tuple[str, ...] = ()
    terms: Terms = NO_TERMS
    is_choosy: bool = field(init=False)
    """Whether some models may not be used."""

    def __post_init__(self) -> None:
        own = self.allow or self.deny or self.within or self.of_user
        object.__setattr__(self, "is_choosy", bool(own or self.terms.allow or self.terms.deny))


ANYONE = Principal("anonymous")
