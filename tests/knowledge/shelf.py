"""Knowledge over a real database, without a gateway around it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from headgate.db.engine import Database, open_database
from headgate.db.migrate import migrate
from headgate.knowledge.service import Knowledge
from headgate.knowledge.settings import KnowledgeSettings
from headgate.knowledge.store import Shelves, shelves_of
from headgate.knowledge.store.tables import bodies, chunks, documents, ingests, texts, vectors
from headgate.knowledge.types import Limits, NewDocument
from tests.harness.databases import url_of

TENANT = "red"


@dataclass
class Shelf:
    """What a worker has of it."""

    database: Database
    shelves: Shelves
    knowledge: Knowledge

    async def counted(self) -> dict[str, int]:
        """The rows of each table."""
        tables = (documents, bodies, texts, chunks, vectors, ingests)
        async with self.database.reading() as connection:
            return {
                one.name.removeprefix("knowledge_"): (
                    await connection.execute(select(func.count()).select_from(one))
                ).scalar_one()
                for one in tables
            }

    async def found(self, query: str, embed: Any, index: str = "facts", **more: Any) -> list[str]:
        """The documents that answer, the best first."""
        answer = await self.knowledge.query(TENANT, [index], query, embed, **more)
        return [one.document for one in answer.passages]


@asynccontextmanager
async def opened(folder: Path, *, pgvector: bool = True, **settings: Any) -> AsyncIterator[Shelf]:
    """One worker's view; several may be open at once."""
    asked = KnowledgeSettings.model_validate({"embedding_model": "embed", **settings})
    database = open_database(url_of(folder))
    await migrate(database)
    shelves = shelves_of(database, Limits(asked.indices, asked.documents, asked.chunks), pgvector=pgvector)
    knowledge = Knowledge(shelves, asked)
    try:
        yield Shelf(database, shelves, knowledge)
    finally:
        await knowledge.close()
        await database.close()


def new(id_: str, text: str, **more: Any) -> NewDocument:
    return NewDocument(text, id_, **more)
