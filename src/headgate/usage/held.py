"""What the ledger keeps of a user or a tenant. Sums stay when they are gone: under another name, or under none."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from headgate.core.ports import Whose
from headgate.usage.store import AttemptStore
from headgate.usage.types import EVER, Entry, Filter

_PAGE = 1000


class Held:
    """`drain` puts what waits in this machine's journals into the database first."""

    name = "attempts"

    def __init__(self, store: AttemptStore, drain: Callable[[], Awaitable[int]]) -> None:
        self._store = store
        self.drain = drain

    async def export(self, whose: Whose) -> AsyncIterator[Mapping[str, Any]]:
        await self.drain()
        where = Filter(tenant=whose.tenant, user=whose.user or "")
        after: Entry | None = None
        while page := await self._store.page(EVER, where, after, _PAGE):
            after = page[-1]
            for entry in page:
                yield {"type": "attempt", **entry._asdict()}

    async def erase(self, transaction: Any, whose: Whose, name: str) -> int:
        return await self._store.disown(transaction, whose.tenant, whose.user, name)
