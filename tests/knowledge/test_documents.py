"""Documents in an index: all or nothing, whatever breaks off, and never more kept than is there."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headgate.core.document_errors import DocumentTooLong
from headgate.core.errors import AlreadyExists, HeadgateError, InvalidField, UpstreamFault
from headgate.core.knowledge_errors import DocumentChanged, DocumentNotFound, IndexChanged, IndexFull, IndexNotFound
from headgate.knowledge.types import Embedded, Expected, NewDocument
from tests.harness.databases import on_each_database
from tests.harness.embeddings import Embedder
from tests.knowledge.shelf import TENANT, Shelf, new, opened
from tests.requirements import covers

pytestmark = [covers("93"), on_each_database]
LONG = "One car, two cats, three dogs and a pot of green tea. " * 12
WORDS = ("car", "cat", "dog", "tea", "rain")


class Breaking(Embedder):
    """Fails at its nth call, or waits there."""

    def __init__(self, at: int, wait: asyncio.Event | None = None) -> None:
        super().__init__()
        self.at = at
        self.wait = wait
        self.waits = asyncio.Event()

    async def __call__(self, model: str, texts: Sequence[str]) -> Embedded:
        answer = await super().__call__(model, texts)
        if self.calls == self.at:
            if self.wait is None:
                raise UpstreamFault("It broke.")
            self.waits.set()
            await asyncio.wait_for(self.wait.wait(), 10)
        return answer


async def settled(shelf: Shelf) -> dict[str, int]:
    await shelf.knowledge.close()
    await shelf.knowledge.tidy()
    return await shelf.counted()


async def test_an_ingest_that_breaks_off_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path, embedding_batch=2, chunk_size=100, chunk_overlap=0) as shelf:
        know, embed = shelf.knowledge, Embedder()
        await know.create(TENANT, "facts")
        await know.replace(TENANT, "facts", [new("a", "A car."), new("b", LONG)], embed)
        before = await shelf.counted()
        index = await know.index(TENANT, "facts")
        for act in (
            lambda broken: know.replace(TENANT, "facts", [new("b", LONG + "!"), new("c", LONG + "?")], broken),
            lambda broken: know.add(TENANT, "facts", new("c", LONG + "?"), broken),
            lambda broken: know.update(TENANT, "facts", new("b", LONG + "?"), broken),
            lambda broken: know.reindex(TENANT, "facts", broken),
        ):
            with pytest.raises(UpstreamFault):
                await act(Breaking(3))
            assert await know.index(TENANT, "facts") == index
            assert await shelf.found("car", embed) == ["a", *["b"] * 4]
            assert await settled(shelf) == before


async def test_the_old_documents_are_found_until_the_new_ones_are_there(tmp_path: Path) -> None:
    async with opened(tmp_path, embedding_batch=1) as shelf:
        embed, go_on = Embedder(), asyncio.Event()
        await shelf.knowledge.create(TENANT, "facts")
        await shelf.knowledge.replace(TENANT, "facts", [new("a", "A car."), new("b", "A cat.")], embed)
        slow = Breaking(2, go_on)
        task = asyncio.create_task(
            shelf.knowledge.replace(TENANT, "facts", [new("c", "A car."), new("d", "A dog.")], slow)
        )
        await asyncio.wait_for(slow.waits.wait(), 10)
        for mode in ("hybrid", "vector", "keyword"):
            assert (await shelf.found("car", embed, mode=mode))[0] == "a"
        go_on.set()
        done = await task
        assert (done.added, done.removed, done.index.documents) == (2, 2, 2)
        for mode in ("hybrid", "vector", "keyword"):
            assert (await shelf.found("car", embed, mode=mode))[0] == "c"
            assert {"a", "b"}.isdisjoint(await shelf.found("car cat", embed, mode=mode))
        assert await settled(shelf) == {
            "documents": 2,
            "bodies": 2,
            "texts": 2,
            "chunks": 2,
            "vectors": 2,
            "ingests": 0,
        }


async def test_of_two_updates_at_once_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as shelf, opened(tmp_path) as other:
        know, go_on = shelf.knowledge, asyncio.Event()
        await know.create(TENANT, "facts")
        await know.add(TENANT, "facts", new("a", "A car."), Embedder())
        slow = Breaking(1, go_on)
        task = asyncio.create_task(know.update(TENANT, "facts", new("a", "A slow car."), slow))
        await asyncio.wait_for(slow.waits.wait(), 10)
        won = await other.knowledge.update(TENANT, "facts", new("a", "A fast car."), Embedder())
        go_on.set()
        with pytest.raises(DocumentChanged):
            await task
        kept = await know.document(TENANT, "facts", "a")
        assert (won.version, kept.version, kept.text) == (2, 2, "A fast car.")
        with pytest.raises(DocumentChanged):
            await know.remove(TENANT, "facts", "a", Expected(version=1))
        assert (await settled(shelf))["bodies"] == 1


async def test_what_is_the_same_is_not_embedded_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as shelf:
        know, embed = shelf.knowledge, Embedder()
        await know.create(TENANT, "facts")
        two = [new("a", "A car.", title="Car"), new("b", "A cat.")]
        await know.replace(TENANT, "facts", two, embed)
        embed.texts.clear()
        done = await know.replace(TENANT, "facts", [two[0], new("b", "A dog."), new("c", "Tea.")], embed)
        assert (done.added, done.updated, done.kept, done.removed) == (1, 1, 1, 0)
        assert embed.texts == ["A dog.", "Tea."]
        embed.texts.clear()
        same = await know.update(TENANT, "facts", new("a", "A car.", title="Car", source="x"), embed)
        assert (same.version, same.source, embed.texts) == (2, "x", [])
        await know.update(TENANT, "facts", new("a", "A car.", title="Cars"), embed)
        assert embed.texts == ["Cars\nA car."]


async def test_bounds_are_told_and_nothing_is_kept_past_them(tmp_path: Path) -> None:
    bounds: dict[str, Any] = {
        "indices": 1,
        "documents": 2,
        "chunks": 20,
        "document_bytes": 2000,
        "chunk_size": 50,
        "chunk_overlap": 0,
    }
    async with opened(tmp_path, **bounds) as shelf:
        know, embed = shelf.knowledge, Embedder()
        await know.create(TENANT, "facts")
        with pytest.raises(IndexFull):
            await know.create(TENANT, "more")
        await know.create("blue", "more")
        with pytest.raises(DocumentTooLong) as long:
            await know.add(TENANT, "facts", NewDocument("x" * 2001), embed)
        assert long.value.param == "text"
        for several in ([NewDocument("x") for _ in range(3)], [NewDocument(LONG), NewDocument(LONG)]):
            with pytest.raises(IndexFull):
                await know.replace(TENANT, "facts", several, embed)
        with pytest.raises(InvalidField) as nul:
            await know.replace(TENANT, "facts", [NewDocument("x"), NewDocument("a\x00b")], embed)
        assert nul.value.param == "documents[1].text"
        with pytest.raises(InvalidField):
            await know.replace(TENANT, "facts", [new("a", "x"), new("a", "y")], embed)
        assert set((await settled(shelf)).values()) == {0}


async def test_an_index_that_is_deleted_meanwhile_takes_everything_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as shelf:
        know, go_on = shelf.knowledge, asyncio.Event()
        await know.create(TENANT, "facts")
        slow = Breaking(1, go_on)
        task = asyncio.create_task(know.add(TENANT, "facts", new("a", "A car."), slow))
        await asyncio.wait_for(slow.waits.wait(), 10)
        await know.drop(TENANT, "facts")
        go_on.set()
        with pytest.raises(IndexNotFound):
            await task
        assert set((await settled(shelf)).values()) == {0}


async def test_a_reindex_takes_in_what_was_added_meanwhile_and_refuses_what_comes_too_late(tmp_path: Path) -> None:
    async with opened(tmp_path) as shelf:
        know, go_on, at_last = shelf.knowledge, asyncio.Event(), asyncio.Event()
        await know.create(TENANT, "facts")
        await know.replace(TENANT, "facts", [new("a", "A car."), new("b", "A cat.")], Embedder())
        slow = Breaking(1, go_on)
        slow.dimensions, slow.model = 128, "newer"
        late = Breaking(1, at_last)
        task = asyncio.create_task(know.reindex(TENANT, "facts", slow, embedding_model="better"))
        await asyncio.wait_for(slow.waits.wait(), 10)
        await know.add(TENANT, "facts", new("c", "A dog."), Embedder())
        too_late = asyncio.create_task(know.add(TENANT, "facts", new("d", "Rain."), late))
        await asyncio.wait_for(late.waits.wait(), 10)
        go_on.set()
        index = await task
        at_last.set()
        assert (index.embedding_model, index.dimensions, index.documents, index.generation) == ("better", 128, 3, 1)
        assert sorted(slow.texts) == ["A car.", "A cat.", "A dog."]
        with pytest.raises(IndexChanged):
            await too_late
        newer = Embedder(128, "newer")
        assert (await shelf.found("dog", newer, mode="vector"))[0] == "c"
        assert (await settled(shelf))["vectors"] == 3


Op = tuple[str, Any, str]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=0, max_size=5).map(" ".join)
IDS = st.sampled_from(("a", "b", "c"))
OPS = st.one_of(
    st.tuples(st.sampled_from(("add", "update")), IDS, TEXTS),
    st.tuples(st.just("remove"), IDS, st.just("")),
    st.tuples(st.just("replace"), st.dictionaries(IDS, TEXTS), st.just("")),
)


def test_documents_are_what_a_dictionary_would_hold() -> None:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        place = opened(Path(folder))
        shelf = runner.run(place.__aenter__())
        number = iter(range(10_000))

        @hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(OPS, max_size=8))
        def holds(ops: list[Op]) -> None:
            runner.run(agrees(shelf, f"index-{next(number)}", ops))

        try:
            holds()
        finally:
            runner.run(place.__aexit__(None, None, None))


async def agrees(shelf: Shelf, name: str, ops: list[Op]) -> None:
    know, embed, model = shelf.knowledge, Embedder(), dict[str, str]()
    await know.create(TENANT, name)
    for op, key, text in ops:
        expected, after = _expected(model, op, key, text)
        try:
            if op == "replace":
                await know.replace(TENANT, name, [new(id_, one) for id_, one in key.items()], embed)
            elif op == "remove":
                await know.remove(TENANT, name, key)
            else:
                await getattr(know, op)(TENANT, name, new(key, text), embed)
            raised = None
        except HeadgateError as error:
            raised = type(error)
        assert raised is expected
        model = after
        listed = await know.documents(TENANT, name)
        assert [one.id for one in listed] == sorted(model)
    index = await know.index(TENANT, name)
    assert index.documents == len(model)
    assert index.chunks == sum(bool(text) for text in model.values())
    for id_, text in model.items():
        assert (await know.document(TENANT, name, id_)).text == text
    for word in WORDS:
        holding = {id_ for id_, text in model.items() if word in text.split()}
        assert set(await shelf.found(word, embed, name, mode="keyword")) == holding
        assert set(await shelf.found(word, embed, name, mode="vector")) == {id_ for id_ in model if model[id_]}
    await know.drop(TENANT, name)
    assert set((await settled(shelf)).values()) == {0}


def _expected(model: dict[str, str], op: str, key: Any, text: str) -> tuple[type[HeadgateError] | None, dict[str, str]]:
    if op == "replace":
        return None, dict(key)
    if op == "add":
        return (AlreadyExists, model) if key in model else (None, {**model, key: text})
    if key not in model:
        return DocumentNotFound, model
    rest = {id_: one for id_, one in model.items() if id_ != key}
    return None, rest if op == "remove" else {**rest, key: text}
