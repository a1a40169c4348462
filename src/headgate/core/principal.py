"""Who asks."""

from dataclasses import dataclass

from headgate.core.bounds import Bound

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """The holder of a key. `key_id` is a short public name for the key, never the key itself.

    `user` is the end user that a request is for, empty if none. `allow` and `deny` are patterns of model names; an
    empty `allow` allows all, and so it is with `within`, the tenant's, and `of_user`, the user's, which have to be met
    besides. `bounds` are those of the key, its user, its tenant and of all keys together. `expires_at` is seconds since
    the epoch, 0.0 for never.
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
    of_user: tuple[str, ...] = ()


ANYONE = Principal("anonymous")
