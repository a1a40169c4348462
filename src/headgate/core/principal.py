"""Who asks."""

from dataclasses import dataclass
from typing import NamedTuple

from headgate.core.bounds import Bound

DEFAULT_TENANT = "default"


class Injected(NamedTuple):
    """Patterns of models that get tools, and of tools that they get, without being asked for."""

    models: tuple[str, ...]
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """The holder of a key. `key_id` is a short public name for the key, never the key itself.

    `user` is the end user that a request is for, empty if none. `allow` and `deny` are patterns of model names; an
    empty `allow` allows all, and so it is with `within`, the tenant's, which has to be met besides. `bounds` are those
    of the key, its user and its tenant. `expires_at` is seconds since the epoch, 0.0 for never.
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


ANYONE = Principal("anonymous")
