"""What is found: the nearest first, by words that are only words, and the same by whatever compares the vectors."""

import importlib
import importlib.util
import random
import tempfile
from asyncio import Runner
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headgate.core.errors import InvalidField, UpstreamGarbled
from headgate.core.knowledge_errors import EmbeddingMismatch, VectorsUnavailable
from headgate.knowledge.fuse import fuse
from headgate.knowledge.scan import Near, Scan
from headgate.knowledge.store.search import Search
from headgate.knowledge.types import Embedded
from headgate.knowledge.vectors import packed
from tests.harness.databases import on_each_database
from tests.harness.embeddings import Embedder, vector
from tests.knowledge.shelf import TENANT, Shelf, new, opened
from tests.requirements import covers

pytestmark = [covers("94"), on_each_database]
WORDS = [f"{one}{two}" for one in ("ka", "lo", "mi", "ne", "pu", "ra") for two in ("ban", "del", "fir", "gos", "hut")]


def many(count: int) -> list[Any]:
    chosen = random.Random(7)
    return [new(f"d{at:03}", " ".join(chosen.choices(WORDS, k=12))) for at in range(count)]


async def filled(shelf: Shelf, embed: Embedder, count: int = 80) -> list[Any]:
    documents = many(count)
    await shelf.knowledge.create(TENANT, "facts")
    await shelf.knowledge.replace(TENANT, "facts", documents, embed)
    return documents


async def test_a_text_finds_itself_first_in_every_mode(tmp_path: Path) -> None:
    async with opened(tmp_path) as shelf:
        embed = Embedder()
        for one in (await filled(shelf, embed))[::8]:
            for mode in ("hybrid", "vector", "keyword"):
                assert (await shelf.found(one.text, embed, mode=mode))[0] == one.id, mode


async def test_words_are_found_in_other_forms_and_other_case_and_in_titles(tmp_path: Path) -> None:
    async with opened(tmp_path) as shelf:
        embed = Embedder()
        await shelf.knowledge.create(TENANT, "facts")
        several = [new("a", "The cats were RUNNING."), new("b", "It rains.", title="Weather in Köln"), new("c", "Tea.")]
        await shelf.knowledge.replace(TENANT, "facts", several, embed)
        for query, id_ in (("cat run", "a"), ("weather", "b"), ("KÖLN", "b"), ("raining", "b")):
            assert await shelf.found(query, embed, mode="keyword") == [id_], query


async def test_vectors_are_compared_alike_by_the_database_and_in_memory(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path, pgvector=False) as other:
        embed = Embedder()
        await filled(one, embed)
        index = await one.knowledge.index(TENANT, "facts")
        asked = packed(vector(" ".join(WORDS[:9])))
        known = {
            body.chunk: body.vector for body in await one.shelves.search.vectors(await one.shelves.search.bodies(index))
        }
        by_hand = sorted(((-_product(asked, kept), chunk) for chunk, kept in known.items()))[:20]
        seen = [await Scan(other.shelves.search, most).nearest(index, asked, 20) for most in (1 << 20, 0)]
        if await one.shelves.search.has_pgvector():
            seen.append([Near(*hit) for hit in await one.shelves.search.by_vector(index, asked, 20)])
        assert not await other.shelves.search.has_pgvector()
        for hits in seen:
            assert [round(hit.weight, 5) for hit in hits] == [round(-weight, 5) for weight, _ in by_hand]
        assert seen[0] == seen[1]


def _product(one: bytes, other: bytes) -> float:
    from array import array

    return sum(a * b for a, b in zip(array("f", one), array("f", other), strict=True))


async def test_postgresql_has_the_extension_here_and_works_without(tmp_path: Path) -> None:
    async with opened(tmp_path, vector_memory=0) as one, opened(tmp_path, pgvector=False) as other:
        is_postgresql = one.database.engine.dialect.name == "postgresql"
        assert await one.shelves.search.has_pgvector() is is_postgresql
        embed = Embedder()
        documents = await filled(one, embed, 12)
        for shelf in (one, other):
            assert (await shelf.found(documents[3].text, embed, mode="vector"))[0] == "d003"


async def test_what_another_worker_changes_is_seen(tmp_path: Path) -> None:
    async with opened(tmp_path, pgvector=False) as one, opened(tmp_path, pgvector=False) as other:
        embed = Embedder()
        await filled(one, embed, 10)
        assert len(await one.found("kaban", embed, mode="vector", top_k=50)) == 10
        await other.knowledge.add(TENANT, "facts", new("zebra", "zebra"), embed)
        await other.knowledge.remove(TENANT, "facts", "d004")
        found = await one.found("zebra", embed, mode="vector", top_k=50)
        assert (found[0], len(found), "d004" in found) == ("zebra", 10, False)
        await other.knowledge.reindex(TENANT, "facts", Embedder(16, "small"), embedding_model="small")
        assert (await one.found("zebra", Embedder(16, "small"), mode="vector"))[0] == "zebra"


async def test_only_what_is_new_is_read_and_what_is_held_is_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path, pgvector=False) as shelf:
        embed, search = Embedder(), Reads(shelf.shelves.search)
        await filled(shelf, embed, 10)
        held = Scan(search, 4000)
        asked = packed(vector("kaban"))
        for _ in range(3):
            await held.nearest(await shelf.knowledge.index(TENANT, "facts"), asked, 3)
        assert (search.read, held.size) == (10, 10 * 64 * 4)
        await shelf.knowledge.add(TENANT, "facts", new("zebra", "zebra"), embed)
        await held.nearest(await shelf.knowledge.index(TENANT, "facts"), asked, 3)
        assert (search.read, held.size) == (11, 11 * 64 * 4)
        await shelf.knowledge.create(TENANT, "more")
        await shelf.knowledge.replace(TENANT, "more", many(6), embed)
        await held.nearest(await shelf.knowledge.index(TENANT, "more"), asked, 3)
        assert held.size == 6 * 64 * 4


class Reads:
    """Counts the vectors that are read."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self.read = 0

    async def bodies(self, index: Any) -> list[str]:
        return await self._search.bodies(index)

    async def vectors(self, bodies: Any) -> Any:
        found = await self._search.vectors(bodies)
        self.read += len(found)
        return found


def test_no_text_breaks_the_query_language() -> None:
    with tempfile.TemporaryDirectory() as folder, Runner() as runner:
        place = opened(Path(folder), embedding_model=None)
        shelf = runner.run(place.__aenter__())
        runner.run(shelf.knowledge.create(TENANT, "facts"))
        runner.run(shelf.knowledge.add(TENANT, "facts", new("a", 'near "and" or not cat: * ^ ( )'), Embedder()))

        @hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.text(min_size=1, max_size=60) | st.text("\"*^():-+&|!<>~'\\ NEARORANDTcat{}", min_size=1, max_size=60)
        )
        def holds(query: str) -> None:
            if query.strip():
                assert len(runner.run(shelf.found(query, Embedder()))) <= 1

        try:
            holds()
            for query in ('"', "cat OR", "NOT cat", 'NEAR("cat")', "cat:*", "text : cat", "cat & !(", "-cat"):
                found = runner.run(shelf.found(query, Embedder()))
                assert found == (["a"] if "cat" in query else []), query
        finally:
            runner.run(place.__aexit__(None, None, None))


async def test_a_query_has_to_make_sense(tmp_path: Path) -> None:
    async with opened(tmp_path) as shelf:
        await shelf.knowledge.create(TENANT, "facts")
        for param, asked in (("query", {"text": " "}), ("query", {"text": "x" * 20_001}), ("top_k", {"top_k": 101})):
            with pytest.raises(InvalidField) as error:
                await shelf.knowledge.query(TENANT, ["facts"], **{"text": "x", "embed": Embedder(), **asked})  # type: ignore[arg-type]
            assert error.value.param == param
        with pytest.raises(InvalidField):
            await shelf.knowledge.query(TENANT, [], "x", Embedder())


@covers("99")
async def test_another_model_behind_the_name_is_told_by_its_dimensions_or_its_own_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as shelf:
        await filled(shelf, Embedder(), 3)
        for other, told in (
            (Embedder(32), ("64 dimensions", "32")),
            (Embedder(model="else"), ("'stub-embed'", "'else'")),
        ):
            for act in (
                lambda embed: shelf.knowledge.query(TENANT, ["facts"], "x", embed),
                lambda embed: shelf.knowledge.add(TENANT, "facts", new("n", "x"), embed),
                lambda embed: shelf.knowledge.update(TENANT, "facts", new("d000", "x"), embed),
            ):
                with pytest.raises(EmbeddingMismatch) as error:
                    await act(other)
                assert all(one in error.value.message for one in (*told, "/a1/rag/indices/facts/reindex"))
            assert await shelf.found("kaban", other, mode="keyword") is not None
        assert (await shelf.knowledge.index(TENANT, "facts")).documents == 3


async def test_without_numpy_words_are_found_and_vectors_are_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, pgvector=False) as shelf:
        await filled(shelf, Embedder(), 3)
        real = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numpy" else real(name))
        monkeypatch.setattr(importlib, "import_module", _missing)
        assert await shelf.found("kaban", Embedder(), mode="keyword") is not None
        for act in (
            lambda: shelf.found("kaban", Embedder()),
            lambda: shelf.knowledge.create(TENANT, "more"),
        ):
            with pytest.raises(VectorsUnavailable):
                await act()
        assert (await shelf.knowledge.create(TENANT, "words", mode="keyword")).mode == "keyword"


def _missing(name: str) -> None:
    raise ImportError(name)


@pytest.mark.parametrize("answer", [[[1.0, "x"]], [[float("inf"), 1.0]], [[1e308] * 9]])
async def test_what_is_no_vector_is_told(tmp_path: Path, answer: Any) -> None:
    async def embed(model: str, texts: Any) -> Embedded:
        return Embedded(answer, "m")

    async with opened(tmp_path) as shelf:
        await shelf.knowledge.create(TENANT, "facts")
        with pytest.raises(UpstreamGarbled):
            await shelf.knowledge.add(TENANT, "facts", new("a", "x"), embed)


def test_orders_are_fused_by_reciprocal_ranks_and_ties_stay_in_order() -> None:
    fused = fuse([["a", "b", "c"], ["b", "d"]])
    assert [one for one, _ in fused] == ["b", "a", "d", "c"]
    assert fused[0][1] == 1 / 62 + 1 / 61
    assert [one for one, _ in fuse([["x", "y"], ["y", "x"]])] == ["x", "y"]
