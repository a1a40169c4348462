"""Memories of users for the tools that a model has."""

from collections.abc import Callable, Sequence

from headgate.conversations.store import State
from headgate.conversations.types import Memory, Owner
from headgate.core.principal import Principal
from headgate.core.state_errors import StateUnavailable
from headgate.tools.ports import Remembered

__all__ = ["MemoriesOf"]


class MemoriesOf:
    """Those of whoever the tool is called for."""

    def __init__(self, state: Callable[[], State | None]) -> None:
        self._state = state

    async def write(self, who: Principal, text: str) -> Remembered:
        return _remembered(await self._kept().memories.write(_owner(who), text))

    async def read(self, who: Principal, id_: str) -> Remembered:
        return _remembered(await self._kept().memories.get(_owner(who), id_))

    async def search(self, who: Principal, text: str, limit: int) -> Sequence[Remembered]:
        return [_remembered(one) for one in await self._kept().memories.search(_owner(who), text, limit)]

    async def page(self, who: Principal, limit: int, after: str) -> Sequence[Remembered]:
        return [_remembered(one) for one in await self._kept().memories.page(_owner(who), limit, after)]

    async def delete(self, who: Principal, id_: str) -> None:
        await self._kept().memories.delete(_owner(who), id_)

    def _kept(self) -> State:
        state = self._state()
        if state is None:
            raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
        return state


def _owner(who: Principal) -> Owner:
    return Owner(who.tenant, who.user)


def _remembered(memory: Memory) -> Remembered:
    return Remembered(memory.id, memory.text, memory.created / 1000)
