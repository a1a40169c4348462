"""All that is kept of a user or of a tenant: handed out, and taken away. Knows no HTTP and no SQL.

What each part of the gateway keeps it knows itself: this only goes through the list of them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from secrets import token_hex
from time import time
from typing import Any

from headgate.core.audit import ERASED, ORIGIN, Act
from headgate.core.errors import NotChangeable, TenantNotFound
from headgate.core.ports import Holding, Whose
from headgate.core.principal import DEFAULT_TENANT, Principal
from headgate.identity.held import records
from headgate.identity.keys import KeyRing
from headgate.identity.scopes import require, require_no_more, tenants_with
from headgate.identity.store import Store
from headgate.identity.types import User

READ, WRITE = "data:read", "data:write"
EXPORTED, BEGUN = "data.exported", "data.erasure_begun"


class People:
    """`before` is done before anything is erased, such as bringing into the database what waits outside of it.

    `was` tells the last row of the audit log as it was before the last of the holdings changed it.
    """

    def __init__(
        self,
        store: Store,
        ring: KeyRing,
        holdings: Sequence[Holding],
        before: Callable[[Whose, Principal], Awaitable[None]],
        was: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._store = store
        self._ring = ring
        self._holdings = holdings
        self._before = before
        self._was = was
        self._one_by_one = asyncio.Lock()

    async def export(self, whose: Whose, by: Principal) -> AsyncIterator[Mapping[str, Any]]:
        """Everything, a thing at a time; raises TenantNotFound."""
        _refuse_foreign(whose, by, READ)
        async with self._store.change() as change:
            await change.note(_act(EXPORTED, whose))
        return self._lines(whose)

    async def erase(self, whose: Whose, by: Principal) -> tuple[str, dict[str, int]]:
        """End the keys, then take all else away at once. The name that is left, and how much of each kind there was.

        The ledger and the audit log keep their rows, under a name that leads back to nobody. Where it breaks off, it
        can be asked for again. Raises TenantNotFound, and NotChangeable for a tenant that cannot go.
        """
        _refuse_foreign(whose, by, WRITE)
        if whose.user is None and (whose.tenant == DEFAULT_TENANT or whose.tenant in self._ring.configured):
            message = (
                f"The tenant '{whose.tenant}' is always there, or stands in the configuration file: erase its users."
            )
            raise NotChangeable(message)
        name = f"erased-{token_hex(8)}"
        async with self._one_by_one:
            ended = await self._end(whose, by)
            await self._before(whose, by)
            with _unnamed(whose, name):
                async with self._store.change() as change:
                    counts = {"keys": ended}
                    for holding in self._holdings:
                        counts[holding.name] = await holding.erase(change.transaction, whose, name)
                    await change.purge(whose.tenant, whose.user, name)
                    kind, tenant = ("tenant", name) if whose.user is None else ("user", whose.tenant)
                    await change.note(Act(ERASED, kind, name, tenant, self._was(), counts))
        return name, counts

    async def _lines(self, whose: Whose) -> AsyncIterator[Mapping[str, Any]]:
        count = 0
        yield {"type": "export", "tenant": whose.tenant, "user": whose.user, "at": int(time())}
        async for one in records(self._store, whose):
            count += 1
            yield one
        for holding in self._holdings:
            async for one in holding.export(whose):
                count += 1
                yield one
        yield {"type": "end", "count": count}

    async def _end(self, whose: Whose, by: Principal) -> int:
        """Nobody comes in any more, and every worker knows."""
        async with self._store.change() as change:
            keys = await change.keys_of(whose.tenant, whose.user)
            for key in keys:
                require_no_more(by, key.rights.scopes, whose.tenant)
                await change.erase_key(key.id)
            if whose.user is None:
                await change.erase_tenant(whose.tenant)
            elif await change.user(whose.tenant, whose.user):
                await change.put_user(User(whose.tenant, whose.user, updated_at=time()), erased=True)
            await change.note(_act(BEGUN, whose))
        await self._ring.publish()
        return len(keys)


def _act(action: str, whose: Whose) -> Act:
    if whose.user is None:
        return Act(action, "tenant", whose.tenant, whose.tenant)
    return Act(action, "user", whose.user, whose.tenant)


def _refuse_foreign(whose: Whose, by: Principal, needed: str) -> None:
    require(by, needed)
    held = tenants_with(by, needed)
    if held is not None and whose.tenant not in held:
        raise TenantNotFound("There is no such tenant.")


@contextmanager
def _unnamed(whose: Whose, name: str) -> Iterator[None]:
    """Who erases its own data is not named by the act that tells of it."""
    origin = ORIGIN.get()
    who = origin.who
    if who.tenant == whose.tenant and whose.user in (None, who.user):
        who = replace(who, tenant=name, user="") if whose.user is None else replace(who, user=name)
        origin = replace(origin, who=who, address="")
    if origin.request_id in (whose.tenant, whose.user):
        origin = replace(origin, request_id="")
    token = ORIGIN.set(origin)
    try:
        yield
    finally:
        ORIGIN.reset(token)
