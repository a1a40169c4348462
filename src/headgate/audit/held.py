"""What the audit log tells of a user or a tenant. The acts stay when they are gone, under another name."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from headgate.audit.log import AuditLog
from headgate.audit.types import AuditQuery, Row
from headgate.core.ports import Whose

_PAGE = 1000
_NAMED_BY_PEOPLE = ("user", "run", "route")
"""Kinds of objects whose ids may hold those of users."""
_GONE = '{"erased":true}'


class Held:
    """Acts of a user, and on it; of a tenant, all of its own."""

    name = "acts"

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self.was: Mapping[str, Any] = {}
        """The last row as it was before the last erasure."""

    async def export(self, whose: Whose) -> AsyncIterator[Mapping[str, Any]]:
        after = 0
        while page := await self._log.read(AuditQuery(after=after, oldest_first=True), _PAGE):
            for row in page[:_PAGE]:
                if renamed(row, whose, "") != row:
                    yield {"type": "act", **row._asdict()}
            after = page[:_PAGE][-1].seq

    async def erase(self, transaction: Any, whose: Whose, name: str) -> int:
        changed, last = await self._log.erased(transaction, lambda row: renamed(row, whose, name))
        self.was = last._asdict()
        return changed


def renamed(row: Row, whose: Whose, name: str) -> Row:
    """A row with `name` in the place of a user's or a tenant's id; what it was, and what it came from, is left out."""
    if whose.tenant not in (row.tenant, row.key_tenant, *row.object.split("/")):
        return row
    return _without_tenant(row, whose.tenant, name) if whose.user is None else _without_user(row, whose, name)


def _without_user(row: Row, whose: Whose, name: str) -> Row:
    user = whose.user or ""
    if row.key_tenant == whose.tenant and row.key_user == user:
        row = row._replace(key_user=name, address="", request="")
    if row.tenant == whose.tenant and row.object == user:
        row = row._replace(object=name, before=row.before and _GONE, after=row.after and _GONE)
    if row.kind == "route":
        row = row._replace(object=_in_path(row.object, user, name))
    return _in_values(row, user)


def _without_tenant(row: Row, tenant: str, name: str) -> Row:
    if row.key_tenant == tenant:
        row = row._replace(key_tenant=name, key_user="", address="", request="")
    row = row._replace(object=_in_path(row.object, tenant, name))
    if row.tenant == tenant:
        row = row._replace(tenant=name, before=row.before and _GONE, after=row.after and _GONE)
        if row.kind in _NAMED_BY_PEOPLE:
            row = row._replace(object=name)
    return _in_values(row, tenant)


def _in_path(path: str, id_: str, name: str) -> str:
    return "/".join(name if one == id_ else one for one in path.split("/"))


def _in_values(row: Row, id_: str) -> Row:
    """An act that mentions the id among its values may say more of whom it is about; as a field's name it is no id."""
    said = re.compile(re.escape(orjson.dumps(id_).decode()) + "(?!:)")
    if said.search(row.before) or said.search(row.after):
        return row._replace(before=row.before and _GONE, after=row.after and _GONE)
    return row
