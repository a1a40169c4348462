"""Finding by vectors in memory: those of an index stand in one matrix, and all of them are compared.

The matrices that are held are bounded; the one that was used longest ago goes first. Each is of a version of its index,
and is brought up to date when that is another one, by reading only what is new. NumPy is imported with the first use.
"""

import asyncio
import importlib
import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from headgate.core.knowledge_errors import VectorsUnavailable
from headgate.knowledge.types import Index

_BLOCK = 16_384
"""Chunks whose vectors are read at once where they are not held."""


class _Vector(Protocol):
    @property
    def chunk(self) -> int: ...
    @property
    def body(self) -> str: ...
    @property
    def vector(self) -> bytes: ...


class Source(Protocol):
    """Where vectors are kept."""

    async def bodies(self, index: Index) -> list[str]: ...

    async def vectors(self, bodies: Sequence[str]) -> Sequence[_Vector]: ...


class Near(NamedTuple):
    """A chunk and the cosine between its vector and the one that was asked for."""

    chunk: int
    weight: float


@dataclass(slots=True)
class _Matrix:
    """Row by row: the chunk, the number of its body, and its vector. `bodies` are the numbers by their ids."""

    version: int
    bodies: dict[str, int]
    chunks: Any
    of: Any
    rows: Any
    next: int

    @property
    def size(self) -> int:
        return int(self.rows.nbytes)


class Scan:
    """Vectors of several indices, up to `most` bytes."""

    def __init__(self, source: Source, most: int) -> None:
        self._source = source
        self._most = most
        self._held: OrderedDict[tuple[str, int], _Matrix] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return sum(one.size for one in self._held.values())

    def holds(self, index: Index, size: int) -> bool:
        """Whether there is room for all vectors of an index, of so many bytes each, and NumPy to compare them."""
        return index.chunks * size <= self._most and importlib.util.find_spec("numpy") is not None

    async def nearest(self, index: Index, vector: bytes, most: int) -> list[Near]:
        """The nearest first; of equal ones, the one with the smaller id. Raises VectorsUnavailable without NumPy."""
        numpy = _numpy()
        asked = numpy.frombuffer(vector, numpy.float32)
        if not self.holds(index, len(vector)):
            return await self._through(index, asked, most)
        async with self._locks.setdefault(index.id, asyncio.Lock()):
            matrix = await self._current(index, len(asked))
        return await asyncio.to_thread(_best, matrix.chunks, matrix.rows, asked, most)

    def forget(self, index: str) -> None:
        """Let go of an index that is gone."""
        for key in [one for one in self._held if one[0] == index]:
            del self._held[key]
        self._locks.pop(index, None)

    async def _current(self, index: Index, dimensions: int) -> _Matrix:
        """The matrix of an index as it is now. Of another generation nothing is of use."""
        key = (index.id, index.generation)
        held = self._held.get(key)
        if held is None:
            self.forget(index.id)
            held = _empty(dimensions)
        if held.version != index.version:
            bodies = await self._source.bodies(index)
            new = [one for one in bodies if one not in held.bodies]
            read = await self._source.vectors(new) if new else []
            held = await asyncio.to_thread(_renewed, held, index.version, set(bodies), new, read)
            self._held[key] = held
        self._held.move_to_end(key)
        while self.size > self._most and len(self._held) > 1:
            self._held.popitem(last=False)
        return held

    async def _through(self, index: Index, asked: Any, most: int) -> list[Near]:
        """Read block by block, and hold nothing but the best."""
        bodies = await self._source.bodies(index)
        found: list[Near] = []
        each = max(1, index.chunks // max(1, len(bodies)))
        step = max(1, _BLOCK // each)
        for first in range(0, len(bodies), step):
            some = bodies[first : first + step]
            read = await self._source.vectors(some)
            block = _renewed(_empty(len(asked)), 0, set(some), some, read)
            found += await asyncio.to_thread(_best, block.chunks, block.rows, asked, most)
        return sorted(found, key=lambda one: (-one.weight, one.chunk))[:most]


def _numpy() -> Any:
    """It is large, and an extra."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise VectorsUnavailable("NumPy is not installed here, so that nothing can be found by meaning.") from None


def _empty(dimensions: int) -> _Matrix:
    numpy = _numpy()
    nothing = numpy.zeros(0, numpy.int64)
    return _Matrix(-1, {}, nothing, nothing, numpy.zeros((0, dimensions), numpy.float32), 0)


def _renewed(held: _Matrix, version: int, alive: set[str], new: Sequence[str], read: Sequence[_Vector]) -> _Matrix:
    """Without the rows of what is gone, with those that were read behind the others."""
    numpy = _numpy()
    numbers = {body: held.next + at for at, body in enumerate(new)}
    bodies = {body: number for body, number in held.bodies.items() if body in alive} | numbers
    stays = numpy.isin(held.of, numpy.fromiter(bodies.values(), numpy.int64, len(bodies)))
    if stays.all():
        stays = slice(None)  # a view, where a copy of all would take longer than the search
    width = held.rows.shape[1] * 4
    fits = [one for one in read if len(one.vector) == width]
    added = numpy.frombuffer(b"".join(one.vector for one in fits), numpy.float32).reshape(-1, held.rows.shape[1])
    chunks = numpy.array([one.chunk for one in fits], numpy.int64)
    of = numpy.array([numbers[one.body] for one in fits], numpy.int64)
    return _Matrix(
        version,
        bodies,
        numpy.concatenate((held.chunks[stays], chunks)),
        numpy.concatenate((held.of[stays], of)),
        numpy.concatenate((held.rows[stays], added)),
        held.next + len(new),
    )


def _best(chunks: Any, rows: Any, asked: Any, most: int) -> list[Near]:
    numpy = _numpy()
    weights = rows @ asked
    if len(weights) > most:
        edge = numpy.partition(weights, len(weights) - most)[len(weights) - most]
        chosen = numpy.flatnonzero(weights >= edge)  # all that are equal at the edge: the ids decide
    else:
        chosen = numpy.arange(len(weights))
    order = chosen[numpy.lexsort((chunks[chosen], -weights[chosen]))][:most]
    return [Near(int(chunks[at]), float(weights[at])) for at in order]
