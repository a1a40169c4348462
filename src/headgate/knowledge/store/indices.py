"""Indices in the database. An index is known by its name or its id, and only to its tenant."""

from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.core.audit import Act
from headgate.core.errors import AlreadyExists
from headgate.core.knowledge_errors import IndexChanged, IndexFull, IndexNotFound
from headgate.core.ports import Witness
from headgate.db.engine import Database
from headgate.knowledge.store.tables import GONE, bodies, chunks, documents, indices, ingests, texts, vectors
from headgate.knowledge.store.words import Words
from headgate.knowledge.types import Chunking, Index, Limits, Origin, milliseconds

_LOCK = 0x6B6E_6F77


class Indices:
    """Raises IndexNotFound for what is not there or another tenant's, and DatabaseUnavailable."""

    def __init__(self, database: Database, words: Words, witness: Witness | None = None) -> None:
        self._database = database
        self._words = words
        self._witness = witness

    async def all(self, tenant: str) -> list[Index]:
        wanted = select(indices).where(indices.c.tenant == tenant).order_by(indices.c.name)

        async def act(connection: AsyncConnection) -> list[Index]:
            return [index_of(row) for row in await connection.execute(wanted)]

        return await self._database.do(act, read_only=True)

    async def get(self, tenant: str, name: str) -> Index:
        """By its name or its id."""
        known = or_(indices.c.name == name, indices.c.id == name)
        wanted = select(indices).where(indices.c.tenant == tenant, known)

        async def act(connection: AsyncConnection) -> Index:
            row = (await connection.execute(wanted)).first()
            if row is None:
                raise IndexNotFound(f"There is no index '{name}'.")
            return index_of(row)

        return await self._database.do(act, read_only=True)

    async def create(self, index: Index, limits: Limits) -> Index:
        """Raises AlreadyExists and IndexFull."""

        async def act(connection: AsyncConnection) -> Index:
            if self._database.engine.dialect.name == "postgresql":
                await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            mine = indices.c.tenant == index.tenant
            names = [row.name for row in await connection.execute(select(indices.c.name).where(mine))]
            if index.name in names:
                raise AlreadyExists(f"There is an index '{index.name}' already.", param="name")
            if len(names) >= limits.indices:
                raise IndexFull(f"There are {limits.indices} indices already, and no more may be kept.")
            await connection.execute(insert(indices).values(_row_of(index)))
            await self._words.create(connection, index.id)
            return index

        return await self._database.do(act)

    async def drop(self, index: Index, version: int | None = None) -> Index:
        """With everything in it, of which nothing is found any more; most of it is taken away by the next sweep, for
        that may take a while. Raises IndexChanged where it is not of this version.
        """
        noted = None
        async with self._database.writing() as connection:
            now = await held(connection, index.id)
            refuse_other(now, version)
            await self._words.drop(connection, index.id)
            for table in (documents, ingests):
                await connection.execute(delete(table).where(table.c.index_id == index.id))
            await connection.execute(update(bodies).where(bodies.c.index_id == index.id).values(ingest=GONE))
            await connection.execute(delete(indices).where(indices.c.id == index.id))
            if self._witness is not None:
                told = {"name": now.name, "documents": now.documents, "chunks": now.chunks, "version": now.version}
                noted = await self._witness.note(connection, Act("index.deleted", "index", now.id, now.tenant, told))
        if self._witness is not None:
            await self._witness.committed(noted)
        return now


async def held(connection: AsyncConnection, index: str) -> Index:
    """The index as it is now, which nobody else changes until the transaction ends. Raises IndexNotFound."""
    row = (await connection.execute(select(indices).where(indices.c.id == index).with_for_update())).first()
    if row is None:
        raise IndexNotFound("The index was deleted meanwhile.")
    return index_of(row)


def refuse_other(index: Index, version: int | None) -> None:
    if version is not None and index.version != version:
        raise IndexChanged(f"The index '{index.name}' is at version {index.version}, not {version}.", param="version")


async def grown(
    connection: AsyncConnection, index: Index, added: int, chunks_added: int, origin: Origin, limits: Limits
) -> Index:
    """Note that an index that is held changed by so much; raises IndexFull."""
    if added > 0 and index.documents + added > limits.documents:
        raise IndexFull(f"The index '{index.name}' may hold {limits.documents} documents, and would hold more.")
    if chunks_added > 0 and index.chunks + chunks_added > limits.chunks:
        raise IndexFull(f"The index '{index.name}' may hold {limits.chunks} chunks, and would hold more.")
    values: dict[str, Any] = {
        "documents": index.documents + added,
        "chunks": index.chunks + chunks_added,
        "version": index.version + 1,
        "updated": milliseconds(),
    }
    if origin.dimensions:
        values["dimensions"] = origin.dimensions
    if origin.model and not index.embedded_by:
        values["embedded_by"] = origin.model
    return await changed(connection, index, values)


async def changed(connection: AsyncConnection, index: Index, values: dict[str, Any]) -> Index:
    """Other columns of an index that is held."""
    await connection.execute(update(indices).where(indices.c.id == index.id).values(values))
    return index_of((await connection.execute(select(indices).where(indices.c.id == index.id))).one())


async def erase(connection: AsyncConnection, words: Words, ids: list[str]) -> None:
    """Everything of these indices, and themselves."""
    for id_ in ids:
        await words.drop(connection, id_)
        for table in (vectors, chunks, texts, bodies, documents, ingests):
            await connection.execute(delete(table).where(table.c.index_id == id_))
        await connection.execute(delete(indices).where(indices.c.id == id_))


def index_of(row: "Row[Any]") -> Index:
    return Index(
        row.id,
        row.name,
        row.tenant,
        row.mode,
        row.embedding_model or None,
        row.dimensions,
        Chunking(**row.chunking),
        row.created,
        row.updated,
        row.documents,
        row.chunks,
        row.version,
        row.generation,
        row.embedded_by,
    )


def _row_of(index: Index) -> dict[str, Any]:
    return {
        "id": index.id,
        "tenant": index.tenant,
        "name": index.name,
        "mode": index.mode,
        "embedding_model": index.embedding_model or "",
        "embedded_by": index.embedded_by,
        "dimensions": index.dimensions,
        "chunking": index.chunking._asdict(),
        "created": index.created_at,
        "updated": index.updated_at,
        "documents": index.documents,
        "chunks": index.chunks,
        "version": index.version,
        "generation": index.generation,
    }
