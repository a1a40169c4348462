"""Finding in the database: chunks by words, by vectors where PostgreSQL has pgvector, and what passages are made of."""

import importlib
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.core.errors import DatabaseUnavailable
from headgate.db.engine import Database
from headgate.knowledge.store.tables import chunks, documents, vectors
from headgate.knowledge.store.words import Hit, Words, words_of
from headgate.knowledge.types import Index

_MOST_AT_ONCE = 500
_HEADER = 5
"""Words of four bytes before the first number."""


class Vector(NamedTuple):
    """The packed vector of a chunk."""

    chunk: int
    body: str
    vector: bytes


class Place(NamedTuple):
    """Where a chunk stands, as its document is now."""

    chunk: int
    document: str
    title: str
    source: str
    metadata: Any
    number: int
    start: int
    end: int
    text: str


class Search:
    """Raises DatabaseUnavailable. `pgvector`: whether to use the extension where it is there."""

    def __init__(self, database: Database, words: Words, *, pgvector: bool = True) -> None:
        self._database = database
        self._words = words
        self._is_postgresql = database.engine.dialect.name == "postgresql"
        self._pgvector: bool | None = None if pgvector and self._is_postgresql else False

    async def has_pgvector(self) -> bool:
        """Whether the database itself finds by vectors; the extension is made there if it can be."""
        if self._pgvector is None:
            try:
                async with self._database.writing() as connection:
                    await connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
            except DatabaseUnavailable:  # it is not installed there, we may not, or another worker was faster
                pass
            async with self._database.reading() as connection:
                known = text("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
                self._pgvector = (await connection.execute(known)).first() is not None
        return self._pgvector

    async def by_words(self, index: Index, query: str, most: int) -> list[Hit]:
        """The nearest first; none for a query without words."""
        words = words_of(query)
        if not words:
            return []

        async def act(connection: AsyncConnection) -> list[Hit]:
            return await self._words.search(connection, index.id, words, most)

        return await self._database.do(act, read_only=True)

    async def by_vector(self, index: Index, vector: bytes, most: int) -> list[Hit]:
        """By the cosine, the nearest first; for PostgreSQL with pgvector."""
        asked = "[" + ",".join(map(repr, array("f", vector))) + "]"
        statement = text(
            "SELECT v.chunk AS chunk, -(CAST(v.vector AS vector) <#> CAST(CAST(:asked AS text) AS vector)) AS weight "
            "FROM knowledge_vectors v JOIN knowledge_documents d ON d.body = v.body WHERE v.index_id = :index_id "
            "ORDER BY weight DESC, chunk LIMIT :most"
        )
        async with self._database.reading() as connection:
            told = {"asked": asked, "index_id": index.id, "most": most}
            return [Hit(row.chunk, row.weight) for row in await connection.execute(statement, told)]

    async def bodies(self, index: Index) -> list[str]:
        """Those of its documents, in a stable order."""
        wanted = select(documents.c.body).where(documents.c.index_id == index.id).order_by(documents.c.body)

        async def act(connection: AsyncConnection) -> list[str]:
            return [row.body for row in await connection.execute(wanted)]

        return await self._database.do(act, read_only=True)

    async def vectors(self, bodies: Sequence[str]) -> list[Vector]:
        """Of the chunks of these bodies, in the order of their ids."""
        column = vectors.c.vector
        stored = func.array_send(column).label("vector") if self._is_postgresql else column
        wanted = select(vectors.c.chunk, vectors.c.body, stored)

        async def act(connection: AsyncConnection) -> list[Vector]:
            found: list[Vector] = []
            for first in range(0, len(bodies), _MOST_AT_ONCE):
                some = wanted.where(vectors.c.body.in_(bodies[first : first + _MOST_AT_ONCE]))
                rows = list(await connection.execute(some))
                packed = _read([row.vector for row in rows]) if self._is_postgresql else [row.vector for row in rows]
                found += [Vector(row.chunk, row.body, vector) for row, vector in zip(rows, packed, strict=True)]
            return sorted(found)

        return await self._database.do(act, read_only=True)

    async def places(self, index: Index, ids: Sequence[int]) -> dict[int, Place]:
        """Of those chunks of the index that belong to a document."""
        d, c = documents.c, chunks.c
        wanted = select(c.id.label("chunk"), d.id.label("document"), d.title, d.source, d.metadata)
        wanted = wanted.add_columns(c.number, c.start, c.end, c.text).join(chunks, d.body == c.body)
        wanted = wanted.where(c.index_id == index.id, c.id.in_(ids))

        async def act(connection: AsyncConnection) -> dict[int, Place]:
            return {row.chunk: Place(*tuple(row)) for row in await connection.execute(wanted)}

        return await self._database.do(act, read_only=True)


def _read(stored: Sequence[bytes]) -> list[bytes]:
    """Vectors of one length, out of PostgreSQL's binary form of arrays: a header, then each number behind its size."""
    if not stored:
        return []
    numpy = importlib.import_module("numpy")  # whoever compares vectors has it
    words = numpy.frombuffer(b"".join(stored), ">f4").reshape(len(stored), -1)
    return [row.tobytes() for row in words[:, _HEADER + 1 :: 2].astype(numpy.float32)]
