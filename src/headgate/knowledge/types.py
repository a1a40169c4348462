"""What is kept of knowledge, as values: an index holds documents, a document is cut into chunks, a chunk that answers
a question is a passage. Knows no database and no model. Times are milliseconds since the epoch.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any, Literal, NamedTuple

Mode = Literal["hybrid", "vector", "keyword"]
"""How passages are found: by meaning, by words, or by both, fused."""
MODES: tuple[Mode, ...] = ("hybrid", "vector", "keyword")

_random = SystemRandom()


class Span(NamedTuple):
    """A piece of a text: `text` is what stands between these two positions, counted in characters."""

    start: int
    end: int
    text: str


class Chunking(NamedTuple):
    """How texts are cut: characters of a chunk at most, and how many of them the next one repeats at most."""

    size: int = 1000
    overlap: int = 100
    markdown: bool = True
    """Cuts fall between the parts of a Markdown text where they can."""


@dataclass(frozen=True, slots=True)
class Index:
    """`name` is unique within its tenant. `embedding_model` is None where passages are found by words alone;
    `dimensions` is 0 until the first vector is there. `version` rises with every change of what it holds.
    """

    id: str
    name: str
    tenant: str
    mode: Mode
    embedding_model: str | None
    dimensions: int
    chunking: Chunking
    created_at: int
    updated_at: int
    documents: int
    chunks: int
    version: int
    generation: int = 0
    """How often everything in it was embedded anew."""
    embedded_by: str = ""
    """The provider's name for the model that made its vectors."""


@dataclass(frozen=True, slots=True)
class Document:
    """`index` is the id of its index; `sha256` is of its text in UTF-8 and `bytes` the length of that."""

    id: str
    index: str
    title: str
    source: str
    metadata: Mapping[str, Any]
    sha256: str
    bytes: int
    chunks: int
    version: int
    created_at: int
    updated_at: int
    text: str | None = None
    """Only where it was asked for."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to put into an index; without an id it gets one. `source` tells where it comes from, such as a URL."""

    text: str
    id: str | None = None
    title: str = ""
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """`number` counts from 0 within its document; `start` and `end` are positions in its text, in characters."""

    number: int
    start: int
    end: int
    text: str


class Ranks(NamedTuple):
    """Why a passage was found: its places among those nearest in meaning and in words, counted from 1, None where it
    is not among them; and how near: the cosine of the vectors, and the weight of the words, larger for nearer.
    """

    vector: int | None = None
    keyword: int | None = None
    similarity: float | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that answers a query. `index` is the name of its index and `document` an id in it; see Chunk."""

    index: str
    document: str
    title: str
    source: str
    chunk: int
    start: int
    end: int
    text: str
    score: float
    """Larger for better: with hybrid the reciprocal ranks summed, else the cosine or the weight of the words."""
    ranks: Ranks
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found, the best first. `mode` is how it was looked for."""

    passages: tuple[Passage, ...]
    mode: Mode


class Embedded(NamedTuple):
    """A vector for each text, in their order. `model` is the provider's name for what made them, and `known` are the
    providers' names for all that the public name stands for now.
    """

    vectors: Sequence[Sequence[float]]
    model: str
    known: frozenset[str] = frozenset()


Embed = Callable[[str, Sequence[str]], Awaitable[Embedded]]
"""Vectors for texts by the model of this public name, on the account of whoever asks; raises HeadgateError.

It is one call of a model: how many texts it gets at once is for whoever calls it to bound.
"""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a full replace came to. `kept` documents were there already with the same text and title."""

    index: Index
    added: int
    updated: int
    kept: int
    removed: int


class Expected(NamedTuple):
    """What a document has to be like for a change of it to go through; None for whatever it is."""

    sha256: str | None = None
    version: int | None = None


ANY_STATE = Expected()


class Limits(NamedTuple):
    """How many indices a tenant may have, and how many documents and chunks an index may hold."""

    indices: int
    documents: int
    chunks: int


class Origin(NamedTuple):
    """What made the vectors of a body: the provider's name for the model, and how many numbers each has; of texts
    without vectors, neither.
    """

    model: str = ""
    dimensions: int = 0


NO_VECTORS = Origin()


class Body(NamedTuple):
    """A text cut into chunks, each with its vector packed as 32-bit floats, where the index has vectors."""

    id: str
    title: str
    text: str
    chunks: Sequence[Span]
    vectors: Sequence[bytes]


class Entry(NamedTuple):
    """A document as it is to stand in its index, and the body that it refers to."""

    document: Document
    body: str


def new_id(kind: str) -> str:
    """Unique without coordination, ordered by time: `vs_` of an index, `doc_` of a document, `body_`, `ing_`."""
    return f"{kind}_{milliseconds():012x}{_random.getrandbits(80):020x}"


def milliseconds() -> int:
    return time.time_ns() // 1_000_000
