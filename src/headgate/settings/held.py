"""The settings of a tenant, handed out and taken away with all else that is kept of it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from headgate.core.ports import Whose
from headgate.settings.store import Store


class Held:
    """Users have none. A tenant that goes had them cleared before, so that every worker knows."""

    name = "settings"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def export(self, whose: Whose) -> AsyncIterator[Mapping[str, Any]]:
        if whose.user is None:
            for key, value in await self._store.of(whose.tenant):
                yield {"type": "setting", "tenant": whose.tenant, "key": key, "value": value}

    async def erase(self, transaction: Any, whose: Whose, name: str) -> int:
        return await self._store.purge(transaction, whose.tenant) if whose.user is None else 0
