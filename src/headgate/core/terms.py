"""What a tenant's settings change for its requests, as values. Knows not where they were set, nor who may set them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headgate.core.bounds import Budget, Rate

NO_RATE = Rate()


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """What is done to a request's fields where neither model nor target says otherwise; None for nothing."""

    effort: str | None = None
    drop_unsupported: bool | None = None
    defaults: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """None, empty and 0 where what holds for everybody holds. `timeout` is in seconds.

    `allow`, `deny`, `rate` and `budgets` hold besides those of the tenant and its keys: they can only narrow.
    `values` are all further settings of the tenant by their keys, for the parts of the gateway that look them up.
    """

    requires_user: bool | None = None
    refuses_unpriced: bool | None = None
    typical_answer: int = 0
    retries: int | None = None
    timeout: float = 0.0
    is_logged: bool | None = None
    tags: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    rate: Rate = NO_RATE
    budgets: tuple[Budget, ...] = ()
    parameters: Parameters | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


NO_TERMS = Terms()
