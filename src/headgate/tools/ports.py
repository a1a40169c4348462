"""What tools need of the rest of the gateway, handed over by the composition root."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from headgate.core.principal import Principal
from headgate.tools.confirm import Confirmations
from headgate.tools.passages import Quoted
from headgate.tools.types import Caller

ListModels = Callable[[Principal], Awaitable[Sequence[str]]]
"""The names of models and agents that somebody may use."""
MakeImage = Callable[[Mapping[str, Any], Caller], Awaitable[Mapping[str, Any]]]
"""The fields of a call of the image surface to the provider's answer; on the caller's account. Raises HeadgateError."""


class Remembered(NamedTuple):
    """Something that is kept for a user; `created` is seconds since the epoch."""

    id: str
    text: str
    created: float


class Remembers(Protocol):
    """The memories of whoever a tool is called for. All raise HeadgateError."""

    async def write(self, who: Principal, text: str) -> Remembered:
        """A new one; the one that is there already if it says the same."""

    async def read(self, who: Principal, id_: str) -> Remembered: ...

    async def search(self, who: Principal, text: str, limit: int) -> Sequence[Remembered]:
        """Those that hold most of the words first."""

    async def page(self, who: Principal, limit: int, after: str) -> Sequence[Remembered]:
        """The newest first, one more than `limit` where there are more; `after` is the id of the last one seen."""

    async def delete(self, who: Principal, id_: str) -> None: ...


class Shelves(Protocol):
    """Indices of documents that whoever a tool is called for may see, as far as an agent's limits go, as JSON objects.

    All raise HeadgateError, and what is not to be seen is not found.
    """

    async def indices(self, caller: Caller) -> Sequence[Mapping[str, Any]]: ...

    async def index(self, caller: Caller, name: str) -> Mapping[str, Any]: ...

    async def create(self, caller: Caller, fields: Mapping[str, Any]) -> Mapping[str, Any]: ...

    async def drop(self, caller: Caller, index: Mapping[str, Any]) -> None:
        """Raises IndexChanged unless it is as `index` tells it."""

    async def documents(self, caller: Caller, name: str, limit: int, after: str) -> Sequence[Mapping[str, Any]]:
        """By id, one more than `limit` where there are more."""

    async def document(self, caller: Caller, name: str, id_: str) -> Mapping[str, Any]:
        """With its `text`."""

    async def add(self, caller: Caller, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]: ...

    async def update(
        self, caller: Caller, name: str, was: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Put `fields` in the place of what it was; raises DocumentChanged unless that is what it is."""

    async def remove(self, caller: Caller, name: str, was: Mapping[str, Any]) -> None:
        """Raises DocumentChanged unless it is what it was."""

    async def query(self, caller: Caller, fields: Mapping[str, Any]) -> Sequence[Quoted]:
        """The best first. Without `indices`, of all that may be seen."""


@dataclass(frozen=True, slots=True)
class Ports:
    """None where the gateway does not have it."""

    list_models: ListModels | None = None
    make_image: MakeImage | None = None
    memories: Remembers | None = None
    shelves: Shelves | None = None
    confirmations: Confirmations | None = None
    """What tools ask before they destroy something."""
