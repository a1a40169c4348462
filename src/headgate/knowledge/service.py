"""Knowledge: indices, their documents, and what is found in them. Whoever asks is a tenant, and sees its own.

An index is addressed by its name or its id. What is another tenant's is not found. Verbs that need vectors are handed
`embed`, which calls the model on the account of whoever asks.
"""

import asyncio
import importlib.util
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from headgate.core.document_errors import DocumentTooLong
from headgate.core.errors import HeadgateError, InvalidField
from headgate.core.knowledge_errors import EmbeddingModelMissing, IndexChanged, VectorsUnavailable
from headgate.knowledge.convert import Converter
from headgate.knowledge.ingest import Bounds, Ingest, documents_of, ingesting
from headgate.knowledge.query import Query
from headgate.knowledge.scan import Scan
from headgate.knowledge.settings import KnowledgeSettings
from headgate.knowledge.store import Shelves
from headgate.knowledge.store.documents import refuse_changed
from headgate.knowledge.store.indices import refuse_other
from headgate.knowledge.types import (
    ANY_STATE,
    NO_VECTORS,
    Chunking,
    Document,
    Embed,
    Entry,
    Expected,
    Found,
    Index,
    Limits,
    Mode,
    NewDocument,
    Replaced,
    milliseconds,
    new_id,
)

log = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ID = re.compile(r"vs_[0-9a-f]{32}")
_DOCUMENT_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_LONGEST_QUERY = 20_000
_MOST_ASKED = 32
_MOST_FOUND = 100
_ROUNDS = 5
"""How often what was made is made again for documents that came meanwhile."""
_LAST_SECONDS = 5.0


class Knowledge:
    """Raises IndexNotFound, DocumentNotFound, DatabaseUnavailable; further errors are named at the verbs."""

    def __init__(self, shelves: Shelves, settings: KnowledgeSettings) -> None:
        self._shelves = shelves
        self._settings = settings
        self._bounds = Bounds(settings.embedding_batch, settings.document_bytes, settings.chunks)
        self._scan = Scan(shelves.search, settings.vector_memory)
        self._query = Query(shelves.search, self._scan)
        self._tasks: set[asyncio.Task[None]] = set()
        self._converter = Converter(characters=settings.document_bytes)

    @property
    def usual_chunking(self) -> Chunking:
        """Of indices that say nothing."""
        return self._settings.chunking

    async def read(self, data: bytes, name: str, content_type: str = "") -> NewDocument:
        """A file as a document that is to be added; raises DocumentUnreadable and DocumentTooLong."""
        if len(data) > self._settings.document_bytes:
            message = f"The file '{name}' has {len(data)} bytes; the limit is {self._settings.document_bytes}."
            raise DocumentTooLong(message, param="file")
        found = await self._converter.convert(data, name, content_type)
        return NewDocument(found.text.replace("\x00", ""), None, found.title, name)

    async def indices(self, tenant: str) -> list[Index]:
        """All of a tenant's, by name."""
        return await self._shelves.indices.all(tenant)

    async def create(
        self,
        tenant: str,
        name: str,
        *,
        mode: Mode | None = None,
        embedding_model: str | None = None,
        chunking: Chunking | None = None,
    ) -> Index:
        """A new one. Raises AlreadyExists, InvalidField, IndexFull, EmbeddingModelMissing and VectorsUnavailable.

        What is not given is taken from the settings.
        """
        if not _NAME.fullmatch(name) or _ID.fullmatch(name):
            message = (
                "The field 'name' must have 1 to 64 of the characters a-z, 0-9, '_' and '-', and begin with a letter "
                "or a digit."
            )
            raise InvalidField(message, param="name")
        mode, model = await self._how(mode, embedding_model, self._settings.mode)
        now = milliseconds()
        cut = _valid(chunking or self._settings.chunking)
        index = Index(new_id("vs"), name, tenant, mode, model, 0, cut, now, now, 0, 0, 1)
        limits = Limits(self._settings.indices, self._settings.documents, self._settings.chunks)
        return await self._shelves.indices.create(index, limits)

    async def index(self, tenant: str, index: str) -> Index:
        return await self._shelves.indices.get(tenant, index)

    async def drop(self, tenant: str, index: str, version: int | None = None) -> Index:
        """Take an index away with all its documents; raises IndexChanged where it is not of this version any more."""
        gone = await self._shelves.indices.drop(await self.index(tenant, index), version)
        self._scan.forget(gone.id)
        self._sweep()
        return gone

    async def replace(
        self, tenant: str, index: str, documents: Sequence[NewDocument], embed: Embed, version: int | None = None
    ) -> Replaced:
        """Put these documents in the place of all that are there, which are found until that is done.

        A document that is there with the same text and title is not embedded again. Raises IndexChanged, InvalidField,
        DocumentTooLong, IndexFull, EmbeddingMismatch and what the embedding model answers.
        """
        into = await self.index(tenant, index)
        refuse_other(into, version)
        new = self._read(into, documents, "documents")
        for _ in range(_ROUNDS):
            there = await self._shelves.documents.entries(into)
            kept = [_same(one, there.get(one.id)) for one in new]
            async with self._ingesting(into, embed) as ingest:
                made = iter(await ingest.put([one for one, old in zip(new, kept, strict=True) if old is None]))
                entries = [old or next(made) for old in kept]
                done = await self._shelves.documents.replace(into, ingest.id, entries, ingest.origin, version)
            if done is not None:
                return done
        raise IndexChanged(f"The documents of the index '{into.name}' keep being changed by others.")

    async def add(self, tenant: str, index: str, document: NewDocument, embed: Embed) -> Document:
        """A further document; raises AlreadyExists where its id is taken, and what `replace` raises."""
        [added] = await self.add_all(tenant, index, [document], embed)
        return added

    async def add_all(self, tenant: str, index: str, documents: Sequence[NewDocument], embed: Embed) -> list[Document]:
        """Further documents, all or none of them; as `add`."""
        into = await self.index(tenant, index)
        new = self._read(into, documents)
        async with self._ingesting(into, embed) as ingest:
            entries = await ingest.put(new)
            return await self._shelves.documents.add(into, ingest.id, entries, ingest.origin)

    async def documents(self, tenant: str, index: str, limit: int = 20, after: str = "") -> list[Document]:
        """In the order of their ids, one more than `limit` where there are more; `after` is the id of the last seen."""
        return await self._shelves.documents.page(await self.index(tenant, index), limit, after)

    async def document(self, tenant: str, index: str, document: str) -> Document:
        """With its text."""
        return await self._shelves.documents.get(await self.index(tenant, index), document)

    async def update(
        self, tenant: str, index: str, document: NewDocument, embed: Embed, expected: Expected = ANY_STATE
    ) -> Document:
        """Put a document in the place of the one with its id; raises DocumentChanged if that is not as expected, or
        if somebody else changed it meanwhile, and what `replace` raises.
        """
        into = await self.index(tenant, index)
        was = await self._shelves.documents.entry(into, document.id or "")
        refuse_changed(was.document, expected)
        [new] = self._read(into, [document])
        if (same := _same(new, was)) is not None:
            return await self._shelves.documents.update(into, "", same, was, NO_VECTORS)
        async with self._ingesting(into, embed) as ingest:
            [entry] = await ingest.put([new])
            return await self._shelves.documents.update(into, ingest.id, entry, was, ingest.origin)

    async def remove(self, tenant: str, index: str, document: str, expected: Expected = ANY_STATE) -> Document:
        """Take a document away; raises DocumentChanged."""
        gone = await self._shelves.documents.remove(await self.index(tenant, index), document, expected)
        self._sweep()
        return gone

    async def query(
        self,
        tenant: str,
        indices: Sequence[str],
        text: str,
        embed: Embed,
        *,
        top_k: int | None = None,
        mode: Mode | None = None,
    ) -> Found:
        """The passages of these indices that are nearest to a text; without a mode, each index is asked in its own.

        Raises InvalidField, EmbeddingMismatch, VectorsUnavailable, and what the embedding model answers.
        """
        if not 1 <= len(indices) <= _MOST_ASKED:
            raise InvalidField(f"A query asks 1 to {_MOST_ASKED} indices.", param="indices")
        if not text.strip() or len(text) > _LONGEST_QUERY:
            raise InvalidField(f"The field 'query' must be a text of up to {_LONGEST_QUERY} characters.", param="query")
        top_k = self._settings.top_k if top_k is None else top_k
        if not 1 <= top_k <= _MOST_FOUND:
            raise InvalidField(f"The field 'top_k' must be a whole number from 1 to {_MOST_FOUND}.", param="top_k")
        asked = {one.id: one for one in [await self.index(tenant, name) for name in indices]}
        return await self._query.ask([*asked.values()], text, embed, top_k, mode)

    async def reindex(
        self,
        tenant: str,
        index: str,
        embed: Embed,
        *,
        mode: Mode | None = None,
        embedding_model: str | None = None,
        chunking: Chunking | None = None,
    ) -> Index:
        """Cut and embed everything anew; until that is done, the index answers as before.

        Raises IndexChanged where somebody else did so meanwhile, and what `create` and `replace` raise.
        """
        old = await self.index(tenant, index)
        to_keyword = mode == "keyword"
        mode, model = await self._how(
            mode,
            embedding_model or (None if to_keyword else old.embedding_model),
            None if embedding_model else old.mode,
        )
        cut = _valid(chunking or old.chunking)
        new = replace(old, mode=mode, embedding_model=model, chunking=cut, dimensions=0, embedded_by="")
        made: dict[str, tuple[str, Entry]] = {}
        async with self._ingesting(new, embed) as ingest:
            for _ in range(_ROUNDS):
                made |= {id_: pair async for id_, pair in self._remade(old, made, ingest)}
                values = {
                    "mode": mode,
                    "embedding_model": model or "",
                    "embedded_by": ingest.origin.model,
                    "dimensions": ingest.origin.dimensions,
                    "chunking": cut._asdict(),
                }
                done = await self._shelves.documents.exchange(old, ingest.id, made, values)
                if done is not None:
                    return done
        raise IndexChanged(f"The documents of the index '{old.name}' keep being changed by others.")

    async def tidy(self) -> None:
        """Take away what ingests left that broke off."""
        await self._shelves.bodies.sweep()

    async def close(self) -> None:
        """What is under way in the end is given up; it is taken away with the next start."""
        tasks = [*self._tasks]
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_SECONDS)
        for task in tasks:
            task.cancel()
        self._converter.close()

    async def _remade(
        self, index: Index, made: Mapping[str, tuple[str, Entry]], ingest: Ingest
    ) -> AsyncIterator[tuple[str, tuple[str, Entry]]]:
        """Documents that are not made yet as they are now, each with the body that it has."""
        for id_, there in (await self._shelves.documents.entries(index)).items():
            if id_ in made and made[id_][0] == there.body:
                continue
            text = await self._shelves.documents.text_of(there.body)
            if text is not None:
                [entry] = await ingest.put([replace(there.document, text=text)])
                yield id_, (there.body, entry)

    async def _how(self, mode: Mode | None, model: str | None, usual: Mode | None) -> tuple[Mode, str | None]:
        """How an index is searched, and by which model it is embedded."""
        if mode is None:
            mode = usual if usual is not None and not (model and usual == "keyword") else None
        if mode == "keyword":
            if model is not None:
                raise InvalidField("With the mode 'keyword' nothing is embedded.", param="embedding_model")
            return mode, None
        model = model or self._settings.embedding_model
        if model is None:
            if mode is None:
                return "keyword", None
            message = f"The mode '{mode}' needs an embedding model, and none is named or set."
            raise EmbeddingModelMissing(message, param="embedding_model")
        if importlib.util.find_spec("numpy") is None and not await self._shelves.search.has_pgvector():
            raise VectorsUnavailable("NumPy is not installed here, so that nothing can be found by meaning.")
        return mode or "hybrid", model

    def _read(self, index: Index, several: Sequence[NewDocument], path: str = "") -> list[Document]:
        for number, one in enumerate(several):
            if one.id is not None and not _DOCUMENT_ID.fullmatch(one.id):
                here = f"{path}[{number}].id" if path else "id"
                message = f"The field '{here}' must have 1 to 128 of the characters A-Z, a-z, 0-9 and '_.:-'."
                raise InvalidField(message, param=here)
        return documents_of(index, several, self._settings.document_bytes, path)

    @asynccontextmanager
    async def _ingesting(self, index: Index, embed: Embed) -> AsyncIterator[Ingest]:
        async with ingesting(index, self._shelves, self._bounds, embed, self._tasks) as ingest:
            yield ingest

    def _sweep(self) -> None:
        task = asyncio.get_running_loop().create_task(self._swept())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _swept(self) -> None:
        try:
            await self.tidy()
        except HeadgateError as error:
            log.warning("what is not used any more is taken away later: %s", error.message)


def _same(new: Document, old: Entry | None) -> Entry | None:
    """The new document with the old one's body, where its text and title are the same."""
    if old is None or (new.sha256, new.title) != (old.document.sha256, old.document.title):
        return None
    return Entry(replace(new, chunks=old.document.chunks, text=None), old.body)


def _valid(chunking: Chunking) -> Chunking:
    if not 50 <= chunking.size <= 100_000:
        message = "The field 'chunking.size' must be a whole number from 50 to 100000."
        raise InvalidField(message, param="chunking.size")
    if not 0 <= chunking.overlap < chunking.size:
        message = "The field 'chunking.overlap' must be a whole number from 0 and less than the size."
        raise InvalidField(message, param="chunking.overlap")
    return chunking
