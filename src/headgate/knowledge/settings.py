"""The settings section of knowledge."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate.knowledge.types import Chunking, Mode


class KnowledgeSettings(BaseModel):
    """Documents that are kept to be found again: what new indices are like, and how much there may be."""

    model_config = ConfigDict(extra="forbid")

    embedding_model: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="The model that turns texts into vectors for indices that name none; without one, they are "
        "searched by words alone.",
    )
    mode: Mode | None = Field(
        None,
        description="How indices are searched that say nothing: by meaning and words (hybrid), by one of them (vector, "
        "keyword). Without it, hybrid if there is an embedding model, else keyword.",
    )
    chunk_size: int = Field(1000, ge=50, le=100_000, description="Characters of a chunk at most.")
    chunk_overlap: int = Field(100, ge=0, description="Characters that the next chunk repeats at most.")
    top_k: int = Field(5, ge=1, le=100, description="Passages that a query finds if it does not say how many.")
    embedding_batch: int = Field(64, ge=1, le=2048, description="Texts that are sent to the embedding model at once.")
    indices: int = Field(100, ge=1, description="Indices of a tenant at most.")
    documents: int = Field(100_000, ge=1, description="Documents of an index at most.")
    chunks: int = Field(500_000, ge=1, description="Chunks of an index at most.")
    document_bytes: int = Field(
        8 << 20, ge=1, description="Longest text of a document, in bytes; and the largest file that is taken for one."
    )
    vector_memory: int = Field(
        256 << 20, ge=0, description="Bytes of vectors that a worker holds in memory; what is more is read each time."
    )

    @model_validator(mode="after")
    def _overlaps_less_than_all(self) -> Self:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("chunk_overlap must be less than chunk_size")
        if self.mode in ("hybrid", "vector") and self.embedding_model is None:
            raise ValueError(f"mode '{self.mode}' needs an embedding_model")
        return self

    @property
    def chunking(self) -> Chunking:
        return Chunking(self.chunk_size, self.chunk_overlap)
