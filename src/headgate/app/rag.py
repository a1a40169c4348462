"""Knowledge for the tools of a model: on the account of whoever they are called for, within the agent's limits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from headgate.core.audit import ORIGIN, Origin
from headgate.core.errors import InvalidField
from headgate.core.knowledge_errors import IndexNotFound
from headgate.core.state_errors import StateUnavailable
from headgate.identity.scopes import require
from headgate.knowledge.service import Knowledge
from headgate.knowledge.types import Document, Expected, Index, NewDocument
from headgate.pipeline.context import Deps
from headgate.pipeline.embed import embed_for
from headgate.pipeline.passages import quotable
from headgate.tools.passages import Quoted
from headgate.tools.types import Caller

__all__ = ["ShelvesOf"]
_READ, _WRITE = "rag:read", "rag:write"


class ShelvesOf:
    """The indices of the tenant, as its key's scopes allow. `deps` are those that hold now."""

    def __init__(self, deps: Callable[[], Deps]) -> None:
        self._deps = deps

    async def indices(self, caller: Caller) -> Sequence[Mapping[str, Any]]:
        return [_index(one) for one in await self._seen(caller)]

    async def index(self, caller: Caller, name: str) -> Mapping[str, Any]:
        return _index(await self._found(caller, name, _READ))

    async def create(self, caller: Caller, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        knowledge = self._kept(caller, _WRITE)
        name, sees = fields["name"], self._sees(caller)
        if sees is not None and name not in sees:
            raise InvalidField(f"This agent works with these indices alone: {', '.join(sees) or 'none'}.", param="name")
        mode, model = fields.get("mode"), fields.get("embedding_model")
        return _index(await knowledge.create(caller.who.tenant, name, mode=mode, embedding_model=model))

    async def drop(self, caller: Caller, index: Mapping[str, Any]) -> None:
        found = await self._found(caller, index["id"], _WRITE)
        with _acting(caller):
            await self._kept(caller, _WRITE).drop(caller.who.tenant, found.id, index["version"])

    async def documents(self, caller: Caller, name: str, limit: int, after: str) -> Sequence[Mapping[str, Any]]:
        index = await self._found(caller, name, _READ)
        knowledge = self._kept(caller, _READ)
        return [_document(one) for one in await knowledge.documents(caller.who.tenant, index.id, limit, after)]

    async def document(self, caller: Caller, name: str, id_: str) -> Mapping[str, Any]:
        index = await self._found(caller, name, _READ)
        found = await self._kept(caller, _READ).document(caller.who.tenant, index.id, id_)
        return {**_document(found), "text": found.text or ""}

    async def add(self, caller: Caller, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        index = await self._found(caller, name, _WRITE)
        given = NewDocument(fields["text"], fields.get("id"), fields.get("title", ""), fields.get("source", ""))
        embed = embed_for(caller, self._deps())
        return _document(await self._kept(caller, _WRITE).add(caller.who.tenant, index.id, given, embed))

    async def update(
        self, caller: Caller, name: str, was: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        index = await self._found(caller, name, _WRITE)
        new = NewDocument(fields["text"], was["id"], fields["title"], fields["source"], fields["metadata"])
        embed = embed_for(caller, self._deps())
        knowledge = self._kept(caller, _WRITE)
        return _document(await knowledge.update(caller.who.tenant, index.id, new, embed, _expected(was)))

    async def remove(self, caller: Caller, name: str, was: Mapping[str, Any]) -> None:
        index = await self._found(caller, name, _WRITE)
        with _acting(caller):
            await self._kept(caller, _WRITE).remove(caller.who.tenant, index.id, was["id"], _expected(was))

    async def query(self, caller: Caller, fields: Mapping[str, Any]) -> Sequence[Quoted]:
        names = fields.get("indices")
        asked = await self._seen(caller) if names is None else [await self._found(caller, one, _READ) for one in names]
        if not asked:
            return []
        found = await self._kept(caller, _READ).query(
            caller.who.tenant,
            [one.id for one in asked],
            fields["query"],
            embed_for(caller, self._deps()),
            top_k=fields.get("top_k"),
            mode=fields.get("mode"),
        )
        return [quotable(one) for one in found.passages]

    async def _seen(self, caller: Caller) -> list[Index]:
        sees = self._sees(caller)
        listed = await self._kept(caller, _READ).indices(caller.who.tenant)
        return [one for one in listed if sees is None or one.name in sees]

    async def _found(self, caller: Caller, name: str, needed: str) -> Index:
        """Raises ScopeMissing and IndexNotFound; the agent sees no others than it is set to."""
        found = await self._kept(caller, needed).index(caller.who.tenant, name)
        sees = self._sees(caller)
        if sees is not None and found.name not in sees:
            raise IndexNotFound(f"There is no index '{name}'.", param="index")
        return found

    def _kept(self, caller: Caller, needed: str) -> Knowledge:
        require(caller.who, needed, caller.who.tenant)
        knowledge = self._deps().knowledge
        if knowledge is None:
            raise StateUnavailable("Nothing is kept here: the gateway runs without a data directory.")
        return knowledge

    def _sees(self, caller: Caller) -> list[str] | None:
        agents = self._deps().agents
        agent = agents.find(caller.agent) if agents is not None and caller.agent else None
        return agent.sees if agent is not None else None


@contextmanager
def _acting(caller: Caller) -> Iterator[None]:
    """What is done meanwhile is put down as done by whoever the tool is called for."""
    origin = ORIGIN.get()
    address = origin.address if origin.request_id == caller.run else ""
    token = ORIGIN.set(Origin(caller.who, address, caller.run))
    try:
        yield
    finally:
        ORIGIN.reset(token)


def _expected(was: Mapping[str, Any]) -> Expected:
    return Expected(was["sha256"], was["version"])


def _index(index: Index) -> dict[str, Any]:
    return {
        "id": index.id,
        "name": index.name,
        "mode": index.mode,
        "embedding_model": index.embedding_model,
        "doc_count": index.documents,
        "chunk_count": index.chunks,
        "version": index.version,
    }


def _document(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "title": document.title,
        "source": document.source,
        "metadata": dict(document.metadata),
        "bytes": document.bytes,
        "chunk_count": document.chunks,
        "sha256": document.sha256,
        "version": document.version,
        "created": document.created_at,
    }
