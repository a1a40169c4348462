"""What answers a query: chunks of one or several indices, near in meaning, in words or in both, put in one order.

Cosines are compared among indices of one model, weights of words among all; the orders that this makes are fused.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from headgate.core.errors import InvalidField
from headgate.knowledge.fuse import fuse
from headgate.knowledge.ingest import origin_of
from headgate.knowledge.scan import Near, Scan
from headgate.knowledge.store import Search
from headgate.knowledge.store.search import Place
from headgate.knowledge.store.words import Hit
from headgate.knowledge.types import Embed, Found, Index, Mode, Passage, Ranks
from headgate.knowledge.vectors import packed

_LEAST_DEPTH, _DEPTH = 50, 4
"""How many candidates each order has at least, and for each passage that is wanted."""
_Key = tuple[int, int]
"""The place of an index among those that are asked, and a chunk of it."""


class Order(NamedTuple):
    """Candidates, the nearest first, each with its cosine or the weight of its words."""

    by: str
    hits: Sequence[tuple[_Key, float]]


class Query:
    """Asks one or several indices."""

    def __init__(self, search: Search, scan: Scan) -> None:
        self._search = search
        self._scan = scan

    async def ask(self, indices: Sequence[Index], text: str, embed: Embed, top_k: int, mode: Mode | None) -> Found:
        """Raises EmbeddingMismatch, VectorsUnavailable, and what the model answers."""
        modes = [_mode_of(index, mode) for index in indices]
        depth = max(_LEAST_DEPTH, _DEPTH * top_k)
        orders = await self._by_meaning(indices, modes, text, embed, depth)
        words: list[tuple[_Key, float]] = []
        for number, index in enumerate(indices):
            if modes[number] != "vector" and index.chunks:
                found = await self._search.by_words(index, text, depth)
                words += [((number, hit.chunk), hit.weight) for hit in found]
        if words:
            orders.append(Order("keyword", sorted(words, key=_nearest)[:depth]))
        used: Mode = modes[0] if len(set(modes)) == 1 else "hybrid"
        return Found(tuple(await self._passages(indices, _scored(orders, used), orders, top_k)), used)

    async def _by_meaning(
        self, indices: Sequence[Index], modes: Sequence[Mode], text: str, embed: Embed, depth: int
    ) -> list[Order]:
        """An order for each model; each is called once."""
        groups: dict[str, list[int]] = {}
        for number, index in enumerate(indices):
            if modes[number] != "keyword" and index.chunks and index.dimensions and index.embedding_model:
                groups.setdefault(index.embedding_model, []).append(number)
        orders = []
        for model, several in groups.items():
            answer = await embed(model, [text])
            vector = packed(answer.vectors[0])
            hits: list[tuple[_Key, float]] = []
            for number in several:
                origin_of(indices[number], answer)
                hits += [((number, hit.chunk), hit.weight) for hit in await self._near(indices[number], vector, depth)]
            orders.append(Order("vector", sorted(hits, key=_nearest)[:depth]))
        return orders

    async def _near(self, index: Index, vector: bytes, depth: int) -> Sequence[Hit | Near]:
        """In memory where there is room, which is some twenty times as fast as in the database."""
        if not self._scan.holds(index, len(vector)) and await self._search.has_pgvector():
            return await self._search.by_vector(index, vector, depth)
        return await self._scan.nearest(index, vector, depth)

    async def _passages(
        self, indices: Sequence[Index], scored: Sequence[tuple[_Key, float]], orders: Sequence[Order], top_k: int
    ) -> list[Passage]:
        """The best of those whose documents are there still."""
        passages: list[Passage] = []
        for first in range(0, len(scored), 2 * top_k):
            some = scored[first : first + 2 * top_k]
            places: dict[_Key, Place] = {}
            for number, index in enumerate(indices):
                ids = [chunk for (of, chunk), _ in some if of == number]
                found: Mapping[int, Place] = await self._search.places(index, ids) if ids else {}
                places |= {(number, chunk): place for chunk, place in found.items()}
            passages += [
                _passage(indices[key[0]], places[key], score, _ranks(orders, key))
                for key, score in some
                if key in places
            ]
            if len(passages) >= top_k:
                break
        return passages[:top_k]


def _mode_of(index: Index, asked: Mode | None) -> Mode:
    if asked in ("hybrid", "vector") and index.embedding_model is None:
        raise InvalidField(
            f"The index '{index.name}' has no vectors, so that it is searched by words alone: ask with the mode "
            "'keyword', or embed it with POST /a1/rag/indices/{id}/reindex.",
            param="mode",
        )
    return asked or index.mode


def _nearest(hit: tuple[_Key, float]) -> tuple[float, _Key]:
    return -hit[1], hit[0]


def _scored(orders: Sequence[Order], mode: Mode) -> list[tuple[_Key, float]]:
    if mode == "hybrid":
        return fuse([[key for key, _ in order.hits] for order in orders])
    return sorted((hit for order in orders for hit in order.hits), key=_nearest)


def _ranks(orders: Sequence[Order], key: _Key) -> Ranks:
    ranks = Ranks()
    for order in orders:
        for place, (other, weight) in enumerate(order.hits, 1):
            if other == key:
                ranks = (
                    ranks._replace(vector=place, similarity=weight)
                    if order.by == "vector"
                    else ranks._replace(keyword=place, weight=weight)
                )
    return ranks


def _passage(index: Index, place: Place, score: float, ranks: Ranks) -> Passage:
    return Passage(
        index.name,
        place.document,
        place.title,
        place.source,
        place.number,
        place.start,
        place.end,
        place.text,
        score,
        ranks,
        place.metadata,
    )
