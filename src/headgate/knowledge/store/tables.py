"""The tables of knowledge. A body is a document's text with its chunks and vectors, and is never changed: it is put
there first, and found once a document refers to it. Its `ingest` tells which one puts it there; it is empty when a
document refers to it, and GONE when none does any more.

Words are found by a full-text table of its own for each index in SQLite (see words.py), and by a column in PostgreSQL.
"""

from sqlalchemy import REAL, BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR

from headgate.db.columns import Json, Name, metadata

GONE = "gone"

indices = Table(
    "knowledge_indices",
    metadata,
    Column("id", Name, primary_key=True),
    Column("tenant", Name, nullable=False),
    Column("name", Name, nullable=False),
    Column("mode", Name, nullable=False),
    Column("embedding_model", Name, nullable=False),
    Column("embedded_by", Name, nullable=False),
    Column("dimensions", BigInteger, nullable=False),
    Column("chunking", Json, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("documents", BigInteger, nullable=False),
    Column("chunks", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Index(None, "tenant", "name", unique=True),
)
documents = Table(
    "knowledge_documents",
    metadata,
    Column("index_id", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("body", Name, nullable=False),
    Column("title", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("sha256", Name, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("chunks", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index(None, "body", unique=True),
)
bodies = Table(
    "knowledge_bodies",
    metadata,
    Column("id", Name, primary_key=True),
    Column("index_id", Name, nullable=False),
    Column("ingest", Name, nullable=False),
    Column("title", Text, nullable=False),
    Index(None, "index_id"),
    Index(None, "ingest"),
)
texts = Table(
    "knowledge_texts",
    metadata,
    Column("body", Name, primary_key=True),
    Column("index_id", Name, nullable=False),
    Column("text", Text, nullable=False),
    Index(None, "index_id"),
)
ingests = Table(
    "knowledge_ingests",
    metadata,
    Column("id", Name, primary_key=True),
    Column("index_id", Name, nullable=False),
    Column("touched", BigInteger, nullable=False),
)
chunks = Table(
    "knowledge_chunks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("index_id", Name, nullable=False),
    Column("body", Name, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("words", Text().with_variant(TSVECTOR, "postgresql"), nullable=True),
    Index(None, "index_id"),
    Index(None, "body", "number"),
    Index(None, "words", postgresql_using="gin", sqlite_where=text("words IS NOT NULL")),
)
vectors = Table(
    "knowledge_vectors",
    metadata,
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("index_id", Name, nullable=False),
    Column("body", Name, nullable=False),
    Column("vector", LargeBinary().with_variant(ARRAY(REAL, dimensions=1), "postgresql"), nullable=False),
    Index(None, "index_id"),
    Index(None, "body"),
)
