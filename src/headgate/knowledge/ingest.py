"""Documents made into bodies: cut, embedded in batches, and put into the database before anything refers to them.

An ingest that breaks off, or whose process dies, leaves everything as it was; what it put there is taken away later.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

from headgate.core.document_errors import DocumentTooLong
from headgate.core.errors import HeadgateError, InvalidField
from headgate.core.knowledge_errors import EmbeddingMismatch, IndexFull
from headgate.knowledge.chunk import split
from headgate.knowledge.store import Shelves
from headgate.knowledge.store.documents import refuse_mixed
from headgate.knowledge.types import (
    NO_VECTORS,
    Body,
    Document,
    Embed,
    Embedded,
    Entry,
    Index,
    NewDocument,
    Origin,
    Span,
    milliseconds,
    new_id,
)
from headgate.knowledge.vectors import packed

log = logging.getLogger(__name__)


class Bounds(NamedTuple):
    """`batch` texts are embedded at once; `document_bytes` is the longest text, and `chunks` the most of an index."""

    batch: int
    document_bytes: int
    chunks: int


def documents_of(index: Index, several: Sequence[NewDocument], most_bytes: int, path: str = "") -> list[Document]:
    """Documents with their texts, not cut yet. `path` is where the caller wrote them.

    Raises DocumentTooLong, and InvalidField for what cannot be kept.
    """
    found: list[Document] = []
    seen: set[str] = set()
    now = milliseconds()
    for number, new in enumerate(several):
        here = f"{path}[{number}]." if path else ""
        raw, _, _ = [_bytes(here + name, getattr(new, name)) for name in ("text", "title", "source")]
        if len(raw) > most_bytes:
            message = f"The field '{here}text' has {len(raw)} bytes; a document has at most {most_bytes}."
            raise DocumentTooLong(message, param=f"{here}text")
        id_ = new.id or new_id("doc")
        if id_ in seen:
            raise InvalidField(f"The id '{id_}' is given twice.", param=f"{here}id")
        seen.add(id_)
        digest = hashlib.sha256(raw).hexdigest()
        metadata = dict(new.metadata)
        found.append(
            Document(id_, index.id, new.title, new.source, metadata, digest, len(raw), 0, 1, now, now, new.text)
        )
    return found


def _bytes(path: str, value: str) -> bytes:
    try:
        if "\x00" not in value:
            return value.encode()
    except UnicodeEncodeError:
        pass
    raise InvalidField(f"The field '{path}' holds a NUL or half a character, which cannot be kept.", param=path)


class Ingest:
    """One of them. `origin` tells what made the vectors so far."""

    def __init__(self, id_: str, index: Index, shelves: Shelves, bounds: Bounds, embed: Embed) -> None:
        self.id = id_
        self.origin: Origin = NO_VECTORS
        self._index = index
        self._shelves = shelves
        self._bounds = bounds
        self._embed = embed
        self._chunks = 0

    async def put(self, documents: Sequence[Document]) -> list[Entry]:
        """Bodies for these; raises IndexFull, EmbeddingMismatch, and what the model answers."""
        entries: list[Entry] = []
        few: list[tuple[Document, list[Span]]] = []
        waiting = 0
        for document in documents:
            spans = await self._cut(document)
            few.append((document, spans))
            waiting += len(spans)
            if waiting >= self._bounds.batch:
                entries += await self._put(few)
                few, waiting = [], 0
        return entries + (await self._put(few) if few else [])

    async def _cut(self, document: Document) -> list[Span]:
        size, overlap, markdown = self._index.chunking
        text = document.text or ""
        if len(text) > 100_000:  # a large one takes a while, and others are served meanwhile
            spans = await asyncio.to_thread(split, text, size=size, overlap=overlap, markdown=markdown)
        else:
            spans = split(text, size=size, overlap=overlap, markdown=markdown)
        self._chunks += len(spans)
        if self._chunks > self._bounds.chunks:
            raise IndexFull(f"These documents make more than the {self._bounds.chunks} chunks that an index may hold.")
        return spans

    async def _put(self, several: Sequence[tuple[Document, list[Span]]]) -> list[Entry]:
        vectors = await self._vectors([_said(document, span) for document, spans in several for span in spans])
        bodies: list[Body] = []
        entries: list[Entry] = []
        at = 0
        for document, spans in several:
            own = vectors[at : at + len(spans)]
            at += len(spans)
            body = Body(new_id("body"), document.title, document.text or "", spans, own)
            bodies.append(body)
            entries.append(Entry(replace(document, chunks=len(spans), text=None), body.id))
        await self._shelves.bodies.put(self._index.id, self.id, bodies)
        return entries

    async def _vectors(self, texts: Sequence[str]) -> list[bytes]:
        model = self._index.embedding_model
        if self._index.mode == "keyword" or model is None:
            return []
        found: list[bytes] = []
        for first in range(0, len(texts), self._bounds.batch):
            answer = await self._embed(model, texts[first : first + self._bounds.batch])
            origin = origin_of(self._index, answer)
            if self.origin.dimensions not in (0, origin.dimensions):
                raise EmbeddingMismatch(f"The model '{model}' answers with vectors of different dimensions.")
            self.origin = self.origin if self.origin.dimensions else origin
            found += [packed(vector) for vector in answer.vectors]
        return found


def origin_of(index: Index, answer: Embedded) -> Origin:
    """What made these vectors; raises EmbeddingMismatch where they do not go with those of the index."""
    origin = Origin(answer.model, len(answer.vectors[0]))
    refuse_mixed(index, origin)
    if index.embedded_by and answer.known and index.embedded_by not in answer.known:
        raise EmbeddingMismatch(
            f"The index '{index.name}' was embedded by '{index.embedded_by}'; its model '{index.embedding_model}' is "
            f"now '{answer.model}', whose vectors mean something else. Have the name stand for the former again, or "
            f"embed the index anew: POST /a1/rag/indices/{index.name}/reindex.",
            param="embedding_model",
        )
    return origin


@asynccontextmanager
async def ingesting(
    index: Index, shelves: Shelves, bounds: Bounds, embed: Embed, tasks: "set[asyncio.Task[None]]"
) -> AsyncIterator[Ingest]:
    """Afterwards what it left is taken away, and so is what it put others in the place of; nobody waits for that."""
    ingest = Ingest(await shelves.bodies.begin(index.id), index, shelves, bounds, embed)
    try:
        yield ingest
    finally:
        task = asyncio.get_running_loop().create_task(_tidied(shelves, ingest.id))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _tidied(shelves: Shelves, ingest: str) -> None:
    try:
        await shelves.bodies.abandon(ingest)
    except HeadgateError as error:
        log.warning("what an ingest left is taken away later: %s", error.message)


def _said(document: Document, span: Span) -> str:
    """What is embedded: a piece of a text says more with the title of the whole."""
    return f"{document.title}\n{span.text}" if document.title else span.text
