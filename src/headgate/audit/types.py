"""Rows of the audit log, and what may be asked of it."""

from typing import NamedTuple


class Row(NamedTuple):
    """One act, as it is kept: whole numbers and texts only, so that its hash is the same wherever it is computed.

    `seq` counts from 1 without gaps, `at` is milliseconds since the epoch. `key`, `key_tenant` and `key_user` are those
    who did it, `address` and `request` where from; `tenant` is the object's. `before` and `after` are JSON, empty for
    nothing. `outcome` is done, refused or failed. `previous` is the hash of the row before.
    """

    seq: int
    at: int
    key: str
    key_tenant: str
    key_user: str
    address: str
    request: str
    action: str
    kind: str
    object: str
    tenant: str
    before: str
    after: str
    outcome: str
    error: str
    previous: str
    hash: str


class AuditQuery(NamedTuple):
    """Which rows; empty for any. `tenants` are those whose objects may be seen, None for all. Times in milliseconds."""

    action: str = ""
    key: str = ""
    object: str = ""
    tenant: str = ""
    outcome: str = ""
    tenants: tuple[str, ...] | None = None
    since: int | None = None
    until: int | None = None
    after: int = 0
    """The `seq` behind which to go on, in either order; 0 for the beginning."""
    oldest_first: bool = False


class Head(NamedTuple):
    """The last row."""

    seq: int
    hash: str


class Verdict(NamedTuple):
    """Whether the log is whole. If not, `seq` is the first row at fault and `fault` one of: altered, missing, inserted,
    reordered, cut, unsigned.
    """

    rows: int
    head: str
    fault: str = ""
    seq: int | None = None
    message: str = ""

    @property
    def is_whole(self) -> bool:
        return not self.fault
