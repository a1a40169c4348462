"""Indices, documents, their chunks and vectors."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR

revision = "0009"
down_revision: str | None = "0008"


def upgrade() -> None:
    name = sa.String(512)

    def names(text: str) -> "list[sa.Column[str]]":
        return [sa.Column(one, name, nullable=False) for one in text.split()]

    def numbers(text: str) -> "list[sa.Column[int]]":
        return [sa.Column(one, sa.BigInteger, nullable=False) for one in text.split()]

    def texts(text: str) -> "list[sa.Column[str]]":
        return [sa.Column(one, sa.Text, nullable=False) for one in text.split()]

    op.create_table(
        "knowledge_indices",
        sa.Column("id", name, primary_key=True),
        *names("tenant name mode embedding_model embedded_by"),
        *numbers("dimensions"),
        *texts("chunking"),
        *numbers("created updated documents chunks version generation"),
    )
    op.create_index("ix_knowledge_indices_tenant_name", "knowledge_indices", ["tenant", "name"], unique=True)
    op.create_table(
        "knowledge_documents",
        sa.Column("index_id", name, primary_key=True),
        sa.Column("id", name, primary_key=True),
        *names("body"),
        *texts("title source metadata"),
        *names("sha256"),
        *numbers("bytes chunks version created updated"),
    )
    op.create_index("ix_knowledge_documents_body", "knowledge_documents", ["body"], unique=True)
    op.create_table(
        "knowledge_bodies",
        sa.Column("id", name, primary_key=True),
        *names("index_id ingest"),
        *texts("title"),
    )
    op.create_index("ix_knowledge_bodies_index_id", "knowledge_bodies", ["index_id"])
    op.create_index("ix_knowledge_bodies_ingest", "knowledge_bodies", ["ingest"])
    op.create_table("knowledge_texts", sa.Column("body", name, primary_key=True), *names("index_id"), *texts("text"))
    op.create_index("ix_knowledge_texts_index_id", "knowledge_texts", ["index_id"])
    op.create_table(
        "knowledge_ingests", sa.Column("id", name, primary_key=True), *names("index_id"), *numbers("touched")
    )
    op.create_table(
        "knowledge_chunks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        *names("index_id body"),
        *numbers("number start end"),
        *texts("text"),
        sa.Column("words", sa.Text().with_variant(TSVECTOR, "postgresql"), nullable=True),
    )
    op.create_index("ix_knowledge_chunks_index_id", "knowledge_chunks", ["index_id"])
    op.create_index("ix_knowledge_chunks_body_number", "knowledge_chunks", ["body", "number"])
    op.create_index(
        "ix_knowledge_chunks_words",
        "knowledge_chunks",
        ["words"],
        postgresql_using="gin",
        sqlite_where=sa.text("words IS NOT NULL"),
    )
    op.create_table(
        "knowledge_vectors",
        sa.Column("chunk", sa.BigInteger, primary_key=True, autoincrement=False),
        *names("index_id body"),
        sa.Column("vector", sa.LargeBinary().with_variant(ARRAY(sa.REAL, dimensions=1), "postgresql"), nullable=False),
    )
    op.create_index("ix_knowledge_vectors_index_id", "knowledge_vectors", ["index_id"])
    op.create_index("ix_knowledge_vectors_body", "knowledge_vectors", ["body"])
