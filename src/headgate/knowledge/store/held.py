"""What is kept of a tenant's knowledge, to be handed out and taken away as a whole. It is nobody's among its users."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from headgate.core.ports import Whose
from headgate.db.engine import Database
from headgate.knowledge.store.documents import document_of
from headgate.knowledge.store.indices import erase, index_of
from headgate.knowledge.store.tables import documents, indices, texts
from headgate.knowledge.store.words import words_for
from headgate.knowledge.types import Index

_PAGE = 50


class Held:
    """Indices, and their documents with the texts."""

    name = "knowledge"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._words = words_for(database)

    async def export(self, whose: Whose) -> AsyncIterator[Mapping[str, Any]]:
        if whose.user is not None:
            return
        async with self._database.reading() as connection:
            mine = select(indices).where(indices.c.tenant == whose.tenant).order_by(indices.c.id)
            found = [index_of(row) for row in await connection.execute(mine)]
        for index in found:
            yield {"type": "index", **asdict(index), "chunking": index.chunking._asdict()}
            async for one in self._documents(index):
                yield one

    async def erase(self, transaction: Any, whose: Whose, name: str) -> int:
        if whose.user is not None:
            return 0
        mine = select(indices.c.id, indices.c.documents).where(indices.c.tenant == whose.tenant)
        rows = list(await transaction.execute(mine))
        await erase(transaction, self._words, [row.id for row in rows])
        return len(rows) + sum(int(row.documents) for row in rows)

    async def _documents(self, index: Index) -> AsyncIterator[Mapping[str, Any]]:
        after = ""
        wanted = select(documents, texts.c.text).join(texts, texts.c.body == documents.c.body)
        wanted = wanted.where(documents.c.index_id == index.id).order_by(documents.c.id).limit(_PAGE)
        while True:
            async with self._database.reading() as connection:
                rows = list(await connection.execute(wanted.where(documents.c.id > after)))
            for row in rows:
                yield {"type": "document", **asdict(document_of(row)), "text": row.text}
            if not rows:
                return
            after = rows[-1].id
