"""Bodies in the database: put there piece by piece, each piece in a transaction of its own, so that nobody waits long.

No query finds a body before a document refers to it. What nobody refers to goes away: it is left by an ingest that
broke off, or its document has another body now.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.core.errors import DatabaseUnavailable
from headgate.db.engine import Database
from headgate.knowledge.store.indices import held
from headgate.knowledge.store.tables import bodies, indices, ingests, texts, vectors
from headgate.knowledge.store.words import Words
from headgate.knowledge.types import Body, milliseconds, new_id
from headgate.knowledge.vectors import numbers_of

_PIECE = 256
"""Chunks that one transaction writes or removes."""
_FEW = 64
"""Bodies that one transaction removes at most."""
_STALE = 3_600_000
"""Milliseconds after which an ingest that wrote nothing is taken for broken off."""


class Bodies:
    """Raises IndexNotFound where the index is gone, and DatabaseUnavailable."""

    def __init__(self, database: Database, words: Words) -> None:
        self._database = database
        self._words = words
        self._as_numbers = database.engine.dialect.name == "postgresql"

    async def begin(self, index: str) -> str:
        """The id of a new ingest."""
        id_ = new_id("ing")

        async def act(connection: AsyncConnection) -> None:
            await held(connection, index)
            await connection.execute(insert(ingests).values(id=id_, index_id=index, touched=milliseconds()))

        await self._database.do(act)
        return id_

    async def put(self, index: str, ingest: str, several: Sequence[Body]) -> None:
        """Bodies for documents to refer to; one that is longer than a piece takes several transactions."""
        few: list[Body] = []
        count = 0
        for body in several:
            few.append(body)
            count += len(body.chunks)
            if count >= _PIECE:
                await self._put(index, ingest, few)
                few, count = [], 0
        if few:
            await self._put(index, ingest, few)

    async def _put(self, index: str, ingest: str, several: Sequence[Body]) -> None:
        async def head(connection: AsyncConnection) -> None:
            await held(connection, index)
            rows = [{"id": one.id, "index_id": index, "ingest": ingest, "title": one.title} for one in several]
            await connection.execute(insert(bodies), rows)
            rows = [{"body": one.id, "index_id": index, "text": one.text} for one in several]
            await connection.execute(insert(texts), rows)
            for body in several:
                if 0 < len(body.chunks) <= _PIECE:
                    await self._put_chunks(connection, index, body, 0, len(body.chunks))
            await self._touch(connection, ingest)

        await self._database.do(head)
        for body in several:
            if len(body.chunks) > _PIECE:
                for first, last in pairwise([*range(0, len(body.chunks), _PIECE), len(body.chunks)]):

                    async def piece(
                        connection: AsyncConnection, body: Body = body, first: int = first, last: int = last
                    ) -> None:
                        await self._touch(connection, ingest)
                        await self._put_chunks(connection, index, body, first, last)

                    await self._database.do(piece)

    async def _touch(self, connection: AsyncConnection, ingest: str) -> None:
        said = update(ingests).where(ingests.c.id == ingest).values(touched=milliseconds())
        if not (await connection.execute(said)).rowcount:
            raise DatabaseUnavailable("The ingest took so long that it was taken for broken off.", retry_after=1)

    async def _put_chunks(self, connection: AsyncConnection, index: str, body: Body, first: int, last: int) -> None:
        ids = await self._words.put(connection, index, body, first, last)
        if body.vectors:
            rows = [
                {"chunk": id_, "index_id": index, "body": body.id, "vector": self._stored(vector)}
                for id_, vector in zip(ids, body.vectors[first:last], strict=True)
            ]
            await connection.execute(insert(vectors), rows)

    def _stored(self, vector: bytes) -> Any:
        return numbers_of(vector) if self._as_numbers else vector

    async def abandon(self, ingest: str) -> None:
        """Take away what an ingest left."""

        async def act(connection: AsyncConnection) -> None:
            await connection.execute(delete(ingests).where(ingests.c.id == ingest))

        await self._database.do(act)
        await self.sweep()

    async def sweep(self) -> None:
        """Take away what nobody refers to."""
        while await self._database.do(self._sweep_some):
            pass

    async def _sweep_some(self, connection: AsyncConnection) -> bool:
        """Whether there may be more."""
        await connection.execute(delete(ingests).where(ingests.c.touched < milliseconds() - _STALE))
        busy = exists().where(ingests.c.id == bodies.c.ingest)
        indexed = exists().where(indices.c.id == bodies.c.index_id).label("indexed")
        unused = select(bodies.c.id, bodies.c.index_id, indexed).where(bodies.c.ingest > "", ~busy).limit(_FEW)
        left = _PIECE
        rows = list(await connection.execute(unused))
        for row in rows:
            removed = await self._words.remove(connection, row.index_id if row.indexed else None, row.id, left)
            left -= removed
            if left <= 0:
                return True
            for table in (vectors, texts):
                await connection.execute(delete(table).where(table.c.body == row.id))
            await connection.execute(delete(bodies).where(bodies.c.id == row.id))
        return bool(rows)
