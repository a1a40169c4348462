"""Acts that the audit log keeps, and who does them. A request says once where it comes from; whatever it does then
knows it without being handed it.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from headgate.core.principal import ANYONE, Principal


@dataclass(frozen=True, slots=True)
class Act:
    """What is done to an object. `before` and `after` hold what differs, without secrets; `error` is a code if it was
    refused or failed, else empty.
    """

    action: str
    kind: str
    object_id: str
    tenant: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks, from which address, with which request; the gateway itself if nobody does."""

    who: Principal = ANYONE
    address: str = ""
    request_id: str = ""


ERASED = "data.erased"
"""The act by which somebody's data went; see audit/log.py."""
SYSTEM = Principal("system")
ITSELF = Origin(SYSTEM)
ORIGIN: ContextVar[Origin] = ContextVar("origin", default=ITSELF)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs: as it was and as it is."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}
