"""Knowledge outlives what it was put there by: restarts, a process that is killed; and goes when its tenant goes."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from sqlalchemy import inspect, select

from headgate.db.columns import metadata
from headgate.db.engine import open_database
from tests.harness.databases import on_each_database, url_of
from tests.harness.embeddings import Embedder
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Answer, Recorded, Stub, usual
from tests.journeys.test_knowledge import DOCUMENTS, INDICES, embedder, filled, found, refusal, settings
from tests.journeys.test_money import new_key
from tests.requirements import covers

pytestmark = on_each_database
__all__ = ["embedder"]
SAID = "the-green-door-code-is-4711"


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path, embedder: Embedder) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as running:
        yield running


@covers("99")
async def test_after_a_restart_nothing_is_embedded_again(stub: Stub, tmp_path: Path, embedder: Embedder) -> None:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as gateway:
        await filled(gateway.http)
        before = await found(gateway.http, "how many wheels has an automobile")
    embedder.calls = 0
    async with running_gateway(settings(stub, tmp_path), tmp_path) as gateway:
        assert (await gateway.http.get(f"{INDICES}/facts")).json()["doc_count"] == 3
        assert embedder.calls == 0
        assert await found(gateway.http, "how many wheels has an automobile") == before
        assert embedder.texts[-1] == "how many wheels has an automobile"
        assert embedder.calls == 1


@covers("99")
async def test_another_model_is_told_with_the_remedy_which_helps(
    stub: Stub, tmp_path: Path, embedder: Embedder
) -> None:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as gateway:
        await filled(gateway.http)
    changed = settings(stub, tmp_path)
    changed["models"][0]["targets"][0]["model"] = "another-embed"
    async with running_gateway(changed, tmp_path) as gateway:
        http = gateway.http
        asked = [(f"{INDICES}/facts/query", {"query": "cats"}), (f"{INDICES}/facts/documents:add", {"text": "Rain."})]
        for dimensions, told in ((64, "another-embed"), (16, "16")):
            embedder.dimensions = dimensions
            for path, body in asked:
                answer = await http.post(path, json=body)
                assert refusal(answer) == (409, "embedding_mismatch", "embedding_model")
                message = answer.json()["error"]["message"]
                assert all(one in message for one in (told, "stub-embed", "reindex"))
        for path, body in asked:
            answer = await http.post(path, json={**body, "embedding_model": "other"})
            assert refusal(answer) == (409, "embedding_mismatch", "embedding_model")
        done = (await http.post(f"{INDICES}/facts/reindex", json={"embedding_model": "other"})).json()
        assert (done["embedding_model"], done["dimensions"], done["doc_count"]) == ("other", 16, 3)
        assert (await found(http, "feline", mode="vector"))[0]["document"] == "cats"
        assert (await http.post(f"{INDICES}/facts/reindex", json={"mode": "keyword"})).json()["embedding_model"] is None
        assert [one["document"] for one in await found(http, "cats")] == ["cats"]


@covers("93")
async def test_a_process_that_is_killed_in_an_ingest_leaves_the_old_documents(
    stub: Stub, tmp_path: Path, embedder: Embedder, processes: Processes
) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(json.dumps({**settings(stub, tmp_path, embedding_batch=1), "auth": {"required": True}}))
    process = await asyncio.to_thread(processes.serve, "--config", str(file))
    async with client_of(process) as http:
        await filled(http)
        stub.otherwise = lambda one: hanging(one, embedder)
        calls = embedder.calls
        task = asyncio.create_task(http.post(f"{INDICES}/facts/documents", json={"documents": new_documents()}))
        async with asyncio.timeout(BOUND):
            while embedder.calls < calls + 3:
                await asyncio.sleep(0.01)
        process.signal(signal.SIGKILL)
        process.wait()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], httpx.HTTPError)
    stub.otherwise = lambda one: embedder.answer(one) if one.path.endswith("/embeddings") else usual(one)
    embedder.calls = 0
    process = await asyncio.to_thread(processes.serve, "--config", str(file))
    async with client_of(process) as http:
        listed = (await http.get(f"{INDICES}/facts/documents")).json()["data"]
        assert [one["id"] for one in listed] == ["cars", "cats", "tea"]
        assert embedder.calls == 0
        assert (await found(http, "feline", mode="vector"))[0]["document"] == "cats"
        assert await found(http, "zebra", mode="keyword") == []
        again = await http.post(f"{INDICES}/facts/documents", json={"documents": new_documents()})
        assert again.json()["added"] == 6


def new_documents() -> list[dict[str, Any]]:
    return [{"id": f"new{at}", "text": f"A zebra of number {at}."} for at in range(6)]


def hanging(request: Recorded, embedder: Embedder) -> Answer:
    """The third text is never embedded."""
    answer = embedder.answer(request)
    if "number 2" in request.json["input"][0]:
        answer.hang = True
    return answer


def client_of(process: Process) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=process.url, headers={"authorization": f"Bearer {process.key}"}, timeout=BOUND)


@covers("93")
async def test_files_become_documents_by_their_kind(gateway: Gateway) -> None:
    http, path = gateway.http, f"{INDICES}/facts/documents"
    await filled(http)
    page = b"<html><head><title>Trains</title></head><body><h1>Trains</h1><p>A train runs on rails.</p></body></html>"
    sent = [
        ("files", ("notes/rain.md", b"# Rain\n\nRain is wet.", "text/markdown")),
        ("files", ("t.html", page, "text/html")),
    ]
    answer = await http.post(f"{path}:add", files=sent)
    assert answer.status_code == 201, answer.text
    assert [(one["source"], one["chunk_count"]) for one in answer.json()["data"]] == [("rain.md", 1), ("t.html", 1)]
    first = (await found(http, "train on rails"))[0]
    assert (first["title"], first["source"]) == ("Trains", "t.html")
    bad = [("files", ("a.txt", b"Fine.", "text/plain")), ("files", ("b.txt", b"\xff\xfe\xff", "text/plain"))]
    assert refusal(await http.post(f"{path}:add", files=bad)) == (400, "document_unreadable", "files[1]")
    odd = await http.post(f"{path}:add", data={"colour": "red"}, files=bad[:1])
    assert refusal(odd) == (400, "invalid_field", "colour")
    assert (await http.get(f"{INDICES}/facts")).json()["doc_count"] == 5
    done = await http.post(path, files=[("files", ("only.txt", b"The only one.", "text/plain"))])
    assert (done.json()["added"], done.json()["removed"]) == (1, 5)


@covers("93")
async def test_what_is_too_large_or_wrong_is_told_by_its_place(stub: Stub, tmp_path: Path, embedder: Embedder) -> None:
    async with running_gateway(settings(stub, tmp_path, document_bytes=1000, chunks=5), tmp_path) as gateway:
        http, path = gateway.http, f"{INDICES}/facts/documents"
        await filled(http)
        large, long = {"text": "x" * 1001}, {"documents": [{"text": "Fine."}, {"text": "ä" * 501}]}
        assert refusal(await http.post(f"{path}:add", json=large)) == (413, "document_too_long", "text")
        assert refusal(await http.post(path, json=long)) == (413, "document_too_long", "documents[1].text")
        files = [("files", ("large.txt", b"x" * 1001, "text/plain"))]
        assert refusal(await http.post(f"{path}:add", files=files)) == (413, "document_too_long", "files[0]")
        many = {"documents": [{"text": f"Text {at}."} for at in range(6)]}
        assert refusal(await http.post(path, json=many))[:2] == (409, "index_full")
        for body, param in (
            ({}, "documents"),
            ({"documents": [{"text": 1}]}, "documents[0].text"),
            ({"documents": [{"text": "x", "colour": "red"}]}, "documents[0].colour"),
            ({"documents": [{"text": "x", "id": "a b"}]}, "documents[0].id"),
            ({"documents": [{"text": "x", "id": "a"}, {"text": "y", "id": "a"}]}, "documents[1].id"),
            ({"documents": [{"text": "x", "metadata": {"m": "x" * 20_000}}]}, "documents[0].metadata"),
        ):
            answer = await http.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
        for fields, param in (
            ({"name": "Upper"}, "name"),
            ({"name": "vs_" + "0" * 32}, "name"),
            ({"name": "x", "mode": "magic"}, "mode"),
            ({"name": "x", "chunking": {"size": 10}}, "chunking.size"),
            ({"name": "x", "chunking": {"size": 100, "overlap": 100}}, "chunking.overlap"),
            ({"name": "x", "mode": "keyword", "embedding_model": "embed"}, "embedding_model"),
        ):
            answer = await http.post(INDICES, json=fields)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
        assert (await http.get(f"{INDICES}/facts")).json()["doc_count"] == 3


@covers("172")
async def test_a_tenants_knowledge_is_handed_out_and_gone_with_it(gateway: Gateway, tmp_path: Path) -> None:
    await gateway.http.post("/admin/tenants", json={"id": "blue-house"})
    async with await new_key(gateway, tenant="blue-house", scopes=["rag:*"]) as blue:
        await filled(blue)
        await blue.post(f"{INDICES}/facts/documents:add", json={"id": "secret", "text": SAID, "source": "blue-house"})
    lines = (await gateway.http.get("/admin/data/blue-house")).text.splitlines()
    told = [json.loads(line) for line in lines]
    assert [one["name"] for one in told if one["type"] == "index"] == ["facts"]
    assert {one["id"]: one["text"] for one in told if one["type"] == "document"} == {
        **{one["id"]: one["text"] for one in DOCUMENTS},
        "secret": SAID,
    }
    database = open_database(url_of(tmp_path))
    assert await mentions(database, SAID) >= {"knowledge_texts", "knowledge_chunks"}
    done = (await gateway.http.delete("/admin/data/blue-house")).json()
    assert done["counts"]["knowledge"] == 5
    assert await mentions(database, SAID) == set()
    assert await mentions(database, "blue-house") == {"attempts"}
    async with database.reading() as connection:
        left = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert not [name for name in left if name.startswith("knowledge_words")]
    await database.close()


async def mentions(database: Any, text: str) -> set[str]:
    """The tables in which a text stands anywhere."""
    seen = set()
    async with database.reading() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(select(table)):
                if text in repr(tuple(row)):
                    seen.add(table.name)
    return seen
