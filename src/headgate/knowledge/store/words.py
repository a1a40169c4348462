"""Chunks, and finding them by words: what each database has for that, behind the same verbs.

SQLite gets a full-text table for each index, so that one tenant's texts do not weigh on what another one finds, and go
with the index. It keeps no texts: to take a row out of it, it has to be told what was put in.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.db.engine import Database
from headgate.knowledge.store.tables import bodies, chunks, documents
from headgate.knowledge.types import Body, milliseconds

_MOST_WORDS = 32
_WORD = re.compile(r"[^\W_]+")
_ID = re.compile(r"vs_[0-9a-f]{32}")
_ENGLISH: ColumnElement[Any] = literal_column("'english'::regconfig")


class Hit(NamedTuple):
    """A chunk, and how much it weighs: larger for nearer."""

    chunk: int
    weight: float


def words_of(query: str) -> list[str]:
    """The first words of a query, each once. Nothing is left of what has a meaning in a query language."""
    return list(dict.fromkeys(_WORD.findall(query.casefold())))[:_MOST_WORDS]


class Fts5:
    """SQLite."""

    async def create(self, connection: AsyncConnection, index: str) -> None:
        """What a new index needs."""
        options = "title, text, content='', tokenize='porter unicode61 remove_diacritics 2'"
        await connection.execute(text(f"CREATE VIRTUAL TABLE {_table(index)} USING fts5({options})"))

    async def drop(self, connection: AsyncConnection, index: str) -> None:
        """Take that away."""
        await connection.execute(text(f"DROP TABLE IF EXISTS {_table(index)}"))

    async def put(self, connection: AsyncConnection, index: str, body: Body, first: int, last: int) -> list[int]:
        """The chunks of a body from one number up to another; their ids."""
        highest = (await connection.execute(select(func.max(chunks.c.id)))).scalar() or 0
        lowest = max(milliseconds() << 16, highest + 1)  # ids of chunks that are gone are not given again
        rows = _rows(index, body, first, last)
        ids = [*range(lowest, lowest + len(rows))]
        await connection.execute(insert(chunks), [{"id": id_, **row} for id_, row in zip(ids, rows, strict=True)])
        statement = text(f"INSERT INTO {_table(index)}(rowid, title, text) VALUES (:id, :title, :text)")  # noqa: S608
        said = [{"id": id_, "title": body.title, "text": row["text"]} for id_, row in zip(ids, rows, strict=True)]
        await connection.execute(statement, said)
        return ids

    async def remove(self, connection: AsyncConnection, index: str | None, body: str, most: int) -> int:
        """Some chunks of a body; how many that were. `index` is None where it was dropped."""
        wanted = select(chunks.c.id, bodies.c.title, chunks.c.text).join(bodies, bodies.c.id == chunks.c.body)
        rows = list(await connection.execute(wanted.where(chunks.c.body == body).limit(most)))
        if rows and index is not None:
            table = _table(index)
            said = f"INSERT INTO {table}({table}, rowid, title, text) VALUES ('delete', :id, :title, :text)"  # noqa: S608
            await connection.execute(text(said), [{"id": row.id, "title": row.title, "text": row.text} for row in rows])
        await _delete(connection, [row.id for row in rows])
        return len(rows)

    async def search(self, connection: AsyncConnection, index: str, words: Sequence[str], most: int) -> list[Hit]:
        """The chunks of documents that hold some of the words, the nearest first."""
        table = _table(index)
        statement = text(
            f"SELECT c.id AS chunk, -f.rank AS weight FROM {table} f "  # noqa: S608
            "JOIN knowledge_chunks c ON c.id = f.rowid JOIN knowledge_documents d ON d.body = c.body "
            f"WHERE {table} MATCH :query ORDER BY f.rank LIMIT :most"
        )
        query = " OR ".join(f'"{word}"' for word in words)
        return _hits(await connection.execute(statement, {"query": query, "most": most}))


class Tsvector:
    """PostgreSQL. What is found lies in the row of the chunk itself."""

    async def create(self, connection: AsyncConnection, index: str) -> None:
        pass

    async def drop(self, connection: AsyncConnection, index: str) -> None:
        pass

    async def put(self, connection: AsyncConnection, index: str, body: Body, first: int, last: int) -> list[int]:
        rows = _rows(index, body, first, last)
        series = text("SELECT nextval('knowledge_chunks_id_seq') FROM generate_series(1, :count)")
        ids = [int(row[0]) for row in await connection.execute(series, {"count": len(rows)})]
        said = bindparam("said", type_=chunks.c.text.type)
        names = ("id", *rows[0])
        values = {name: bindparam(name, type_=chunks.c[name].type) for name in names}
        statement = insert(chunks).values({**values, "words": func.to_tsvector(_ENGLISH, said)})
        told = [{"id": id_, **row, "said": f"{body.title}\n{row['text']}"} for id_, row in zip(ids, rows, strict=True)]
        await connection.execute(statement, told)
        return ids

    async def remove(self, connection: AsyncConnection, index: str | None, body: str, most: int) -> int:
        rows = list(await connection.execute(select(chunks.c.id).where(chunks.c.body == body).limit(most)))
        await _delete(connection, [row.id for row in rows])
        return len(rows)

    async def search(self, connection: AsyncConnection, index: str, words: Sequence[str], most: int) -> list[Hit]:
        query = func.websearch_to_tsquery(_ENGLISH, " or ".join(f'"{word}"' for word in words))
        weight = func.ts_rank(chunks.c.words, query, 1).label("weight")
        wanted = select(chunks.c.id.label("chunk"), weight).join(documents, documents.c.body == chunks.c.body)
        wanted = wanted.where(chunks.c.index_id == index, chunks.c.words.op("@@")(query))
        return _hits(await connection.execute(wanted.order_by(weight.desc(), chunks.c.id).limit(most)))


Words = Fts5 | Tsvector


def words_for(database: Database) -> Words:
    return Tsvector() if database.engine.dialect.name == "postgresql" else Fts5()


def _rows(index: str, body: Body, first: int, last: int) -> list[dict[str, Any]]:
    return [
        {"index_id": index, "body": body.id, "number": number, "start": span.start, "end": span.end, "text": span.text}
        for number, span in enumerate(body.chunks[first:last], first)
    ]


async def _delete(connection: AsyncConnection, ids: Sequence[int]) -> None:
    await connection.execute(delete(chunks).where(chunks.c.id.in_(ids)))


def _table(index: str) -> str:
    """The name of its table. It becomes a part of statements, so it is made of an id of ours or of nothing."""
    if not _ID.fullmatch(index):
        raise ValueError("An index's id has another form.")
    return f"knowledge_words_{index.removeprefix('vs_')}"


def _hits(rows: Any) -> list[Hit]:
    return sorted((Hit(row.chunk, row.weight) for row in rows), key=lambda hit: (-hit.weight, hit.chunk))
