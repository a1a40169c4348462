"""Documents in the database. Each verb that changes them is one transaction, which also counts and numbers the index.

A document refers to a body that was put there before, by an ingest; with the transaction that ingest has ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.core.audit import Act
from headgate.core.errors import AlreadyExists, DatabaseUnavailable
from headgate.core.knowledge_errors import DocumentChanged, DocumentNotFound, EmbeddingMismatch, IndexChanged
from headgate.core.ports import Witness
from headgate.db.engine import Database
from headgate.knowledge.store.indices import changed, grown, held, refuse_other
from headgate.knowledge.store.tables import GONE, bodies, documents, ingests, texts
from headgate.knowledge.types import (
    ANY_STATE,
    NO_VECTORS,
    Document,
    Entry,
    Expected,
    Index,
    Limits,
    Origin,
    Replaced,
    milliseconds,
)

_MOST_AT_ONCE = 500


class Documents:
    """Raises DocumentNotFound, IndexNotFound where the index is gone meanwhile, and DatabaseUnavailable.

    Verbs with an Origin raise IndexChanged where the index was embedded anew since it was read, and EmbeddingMismatch.
    """

    def __init__(self, database: Database, limits: Limits, witness: Witness | None = None) -> None:
        self._database = database
        self._limits = limits
        self._witness = witness

    async def page(self, index: Index, limit: int, after: str = "") -> list[Document]:
        """In the order of their ids, one more than `limit` where there are more."""
        mine = documents.c.index_id == index.id
        wanted = select(documents).where(mine, documents.c.id > after).order_by(documents.c.id).limit(limit + 1)

        async def act(connection: AsyncConnection) -> list[Document]:
            return [document_of(row) for row in await connection.execute(wanted)]

        return await self._database.do(act, read_only=True)

    async def get(self, index: Index, id_: str) -> Document:
        """With its text."""

        async def act(connection: AsyncConnection) -> Document:
            row = await _row(connection, index.id, id_)
            said = select(texts.c.text).where(texts.c.body == row.body)
            return replace(document_of(row), text=(await connection.execute(said)).scalar_one())

        return await self._database.do(act, read_only=True)

    async def entry(self, index: Index, id_: str) -> Entry:
        """Without its text."""

        async def act(connection: AsyncConnection) -> Entry:
            row = await _row(connection, index.id, id_)
            return Entry(document_of(row), row.body)

        return await self._database.do(act, read_only=True)

    async def entries(self, index: Index) -> dict[str, Entry]:
        """All, by their ids, without texts."""
        wanted = select(documents).where(documents.c.index_id == index.id).order_by(documents.c.id)

        async def act(connection: AsyncConnection) -> dict[str, Entry]:
            return {row.id: Entry(document_of(row), row.body) for row in await connection.execute(wanted)}

        return await self._database.do(act, read_only=True)

    async def add(self, index: Index, ingest: str, entries: Sequence[Entry], origin: Origin) -> list[Document]:
        """Further ones, all or none; raises AlreadyExists and IndexFull."""
        new = [one.document for one in entries]

        async def act(connection: AsyncConnection) -> list[Document]:
            now = await _begun(connection, index, origin)
            ids = documents.c.id.in_([one.id for one in new])
            taken = select(documents.c.id).where(documents.c.index_id == index.id, ids).limit(1)
            if (found := (await connection.execute(taken)).first()) is not None:
                raise AlreadyExists(f"There is a document '{found.id}' already.", param="id")
            await connection.execute(insert(documents), [_row_of(one) for one in entries])
            await _ended(connection, ingest, [one.body for one in entries], [])
            await grown(connection, now, len(new), sum(one.chunks for one in new), origin, self._limits)
            return new

        return await self._database.do(act)

    async def update(self, index: Index, ingest: str, entry: Entry, was: Entry, origin: Origin) -> Document:
        """Another state of one; raises DocumentChanged where it is not what it was. Its body may be the same."""
        document = replace(entry.document, version=was.document.version + 1, created_at=was.document.created_at)

        async def act(connection: AsyncConnection) -> Document:
            now = await _begun(connection, index, origin)
            refuse_changed(
                document_of(await _row(connection, index.id, document.id)), Expected(None, was.document.version)
            )
            here = documents.c.index_id == index.id, documents.c.id == document.id
            await connection.execute(update(documents).where(*here).values(_row_of(Entry(document, entry.body))))
            if entry.body != was.body:
                await _ended(connection, ingest, [entry.body], [was.body])
            await grown(connection, now, 0, document.chunks - was.document.chunks, origin, self._limits)
            return document

        return await self._database.do(act)

    async def remove(self, index: Index, id_: str, expected: Expected = ANY_STATE) -> Document:
        """Raises DocumentChanged."""
        noted = None
        async with self._database.writing() as connection:
            now = await held(connection, index.id)
            row = await _row(connection, index.id, id_)
            document = document_of(row)
            refuse_changed(document, expected)
            await connection.execute(delete(documents).where(documents.c.index_id == index.id, documents.c.id == id_))
            await _mark(connection, [row.body], GONE)
            await grown(connection, now, -1, -document.chunks, NO_VECTORS, self._limits)
            if self._witness is not None:
                told = {
                    "index_id": now.name,
                    "title": document.title,
                    "sha256": document.sha256,
                    "bytes": document.bytes,
                }
                noted = await self._witness.note(connection, Act("document.deleted", "document", id_, now.tenant, told))
        if self._witness is not None:
            await self._witness.committed(noted)
        return document

    async def replace(
        self, index: Index, ingest: str, entries: Sequence[Entry], origin: Origin, version: int | None = None
    ) -> Replaced | None:
        """These in the place of all; raises IndexChanged where the index is not of this version, and IndexFull.

        None where a body that one refers to is gone meanwhile.
        """
        noted = None
        async with self._database.writing() as connection:
            now = await _begun(connection, index, origin)
            refuse_other(now, version)
            mine = select(documents).where(documents.c.index_id == index.id)
            before = {row.id: Entry(document_of(row), row.body) for row in await connection.execute(mine)}
            alive = {one.body for one in before.values()} | await _put_by(connection, ingest)
            if any(one.body not in alive for one in entries):
                return None
            after = [_succeeding(one, before.get(one.document.id)) for one in entries]
            await connection.execute(delete(documents).where(documents.c.index_id == index.id))
            for first in range(0, len(after), _MOST_AT_ONCE):
                rows = [_row_of(one) for one in after[first : first + _MOST_AT_ONCE]]
                await connection.execute(insert(documents), rows)
            used = {one.body for one in after}
            await _ended(connection, ingest, used, [one.body for one in before.values() if one.body not in used])
            told = _compared(before, after)
            grew = sum(one.document.chunks for one in after) - now.chunks
            now = await grown(connection, now, len(after) - now.documents, grew, origin, self._limits)
            if self._witness is not None and told["removed"] + told["updated"]:
                act = Act(
                    "index.replaced",
                    "index",
                    now.id,
                    now.tenant,
                    {"documents": len(before)},
                    {"name": now.name, **told},
                )
                noted = await self._witness.note(connection, act)
        if self._witness is not None and noted is not None:
            await self._witness.committed(noted)
        return Replaced(now, **told)

    async def exchange(
        self, index: Index, ingest: str, made: Mapping[str, tuple[str, Entry]], values: Mapping[str, Any]
    ) -> Index | None:
        """Other bodies for all documents, and other settings of the index; each document is told with the body that it
        had. None where there are others meanwhile: more have to be made.
        """

        async def act(connection: AsyncConnection) -> Index | None:
            now = await held(connection, index.id)
            _refuse_anew(now, index)
            mine = select(documents).where(documents.c.index_id == index.id)
            before = {row.id: row for row in await connection.execute(mine)}
            if any(id_ not in made or made[id_][0] != row.body for id_, row in before.items()):
                return None
            for id_ in before:
                entry = made[id_][1]
                here = documents.c.index_id == index.id, documents.c.id == id_
                said = {"body": entry.body, "chunks": entry.document.chunks}
                await connection.execute(update(documents).where(*here).values(said))
            used = {made[id_][1].body for id_ in before}
            unused = {entry.body for _, entry in made.values()} - used
            await _ended(connection, ingest, used, [*(row.body for row in before.values()), *unused])
            numbers = {
                "chunks": sum(made[id_][1].document.chunks for id_ in before),
                "generation": now.generation + 1,
                "version": now.version + 1,
                "updated": milliseconds(),
            }
            return await changed(connection, now, {**values, **numbers})

        return await self._database.do(act)

    async def text_of(self, body: str) -> str | None:
        """None where the body is gone."""

        async def act(connection: AsyncConnection) -> str | None:
            found: str | None = (await connection.execute(select(texts.c.text).where(texts.c.body == body))).scalar()
            return found

        return await self._database.do(act, read_only=True)


async def _begun(connection: AsyncConnection, index: Index, origin: Origin) -> Index:
    """The index as it is now, held; raises IndexChanged and EmbeddingMismatch."""
    now = await held(connection, index.id)
    _refuse_anew(now, index)
    refuse_mixed(now, origin)
    return now


def _refuse_anew(now: Index, index: Index) -> None:
    if now.generation != index.generation:
        raise IndexChanged(f"The index '{index.name}' was embedded anew meanwhile.")


def refuse_mixed(index: Index, origin: Origin) -> None:
    """Raises EmbeddingMismatch for vectors that do not go with those that are there."""
    if index.dimensions and origin.dimensions and origin.dimensions != index.dimensions:
        raise EmbeddingMismatch(
            f"The vectors of the index '{index.name}' have {index.dimensions} dimensions, made by "
            f"'{index.embedding_model}' ({index.embedded_by}); now that model ({origin.model}) answers with "
            f"{origin.dimensions}. Have it answer as before, or embed the index anew: "
            f"POST /a1/rag/indices/{index.name}/reindex.",
            param="embedding_model",
        )


def refuse_changed(document: Document, expected: Expected) -> None:
    if expected.version is not None and document.version != expected.version:
        message = f"The document '{document.id}' is at version {document.version}, not {expected.version}."
        raise DocumentChanged(message, param="version")
    if expected.sha256 is not None and document.sha256 != expected.sha256:
        raise DocumentChanged(f"The text of the document '{document.id}' has another sha256.", param="sha256")


async def _row(connection: AsyncConnection, index: str, id_: str) -> "Row[Any]":
    wanted = select(documents).where(documents.c.index_id == index, documents.c.id == id_)
    row = (await connection.execute(wanted)).first()
    if row is None:
        raise DocumentNotFound(f"There is no document '{id_}' in the index.")
    return row


async def _put_by(connection: AsyncConnection, ingest: str) -> set[str]:
    return {row.id for row in await connection.execute(select(bodies.c.id).where(bodies.c.ingest == ingest))}


async def _ended(connection: AsyncConnection, ingest: str, used: Any, unused: Any) -> None:
    """Of what the ingest put there, documents refer to `used` now; to what is `unused`, nobody does any more."""
    ended = await connection.execute(delete(ingests).where(ingests.c.id == ingest))
    there = await _put_by(connection, ingest)
    if there and not ended.rowcount:
        raise DatabaseUnavailable("The ingest took so long that it was taken for broken off.", retry_after=1)
    await _mark(connection, [one for one in used if one in there], "")
    await _mark(connection, [*unused], GONE)


async def _mark(connection: AsyncConnection, ids: Sequence[str], ingest: str) -> None:
    for first in range(0, len(ids), _MOST_AT_ONCE):
        some = bodies.c.id.in_(ids[first : first + _MOST_AT_ONCE])
        await connection.execute(update(bodies).where(some).values(ingest=ingest))


def _succeeding(entry: Entry, before: Entry | None) -> Entry:
    """The document with the number and the time that it has after the one before it."""
    if before is None:
        return entry
    new, old = entry.document, before.document
    same = (new.source, dict(new.metadata)) == (old.source, dict(old.metadata))
    if same and entry.body == before.body:
        return before
    return Entry(replace(new, version=old.version + 1, created_at=old.created_at), entry.body)


def _compared(before: Mapping[str, Entry], after: Sequence[Entry]) -> dict[str, int]:
    kept = sum(before.get(one.document.id) == one for one in after)
    known = sum(one.document.id in before for one in after)
    removed = len(before) - known
    return {"added": len(after) - known, "updated": known - kept, "kept": kept, "removed": removed}


def document_of(row: "Row[Any]") -> Document:
    return Document(
        row.id,
        row.index_id,
        row.title,
        row.source,
        row.metadata,
        row.sha256,
        row.bytes,
        row.chunks,
        row.version,
        row.created,
        row.updated,
    )


def _row_of(entry: Entry) -> dict[str, Any]:
    document = entry.document
    return {
        "index_id": document.index,
        "id": document.id,
        "body": entry.body,
        "title": document.title,
        "source": document.source,
        "metadata": dict(document.metadata),
        "sha256": document.sha256,
        "bytes": document.bytes,
        "chunks": document.chunks,
        "version": document.version,
        "created": document.created_at,
        "updated": document.updated_at,
    }
