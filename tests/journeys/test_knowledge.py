"""Indices and documents through their doors: made, filled, searched, changed and deleted, each tenant's its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from tests.harness.databases import on_each_database, url_of
from tests.harness.embeddings import Embedder
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, usual
from tests.journeys.test_money import new_key, rows
from tests.requirements import covers

pytestmark = on_each_database
INDICES = "/a1/rag/indices"
DOCUMENTS: list[dict[str, Any]] = [
    {"id": "cars", "title": "Cars", "source": "https://example.org/cars", "text": "A car has four wheels."},
    {"id": "cats", "text": "A cat purrs when it is content.", "metadata": {"kind": "animal"}},
    {"id": "tea", "text": "Green tea is brewed at eighty degrees."},
]


def settings(stub: Stub, folder: Path, **knowledge: Any) -> dict[str, Any]:
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [
            {"name": name, "targets": [{"upstream": "stub", "model": f"stub-{name}"}], "retries": 0}
            for name in ("embed", "other")
        ],
        "knowledge": {"embedding_model": "embed", **knowledge},
        "database": {"url": url_of(folder)},
    }


@pytest_asyncio.fixture
async def embedder(stub: Stub) -> Embedder:
    made = Embedder()
    stub.otherwise = lambda one: made.answer(one) if one.path.endswith("/embeddings") else usual(one)
    return made


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path, embedder: Embedder) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as running:
        yield running


async def filled(http: httpx.AsyncClient, name: str = "facts", **more: Any) -> dict[str, Any]:
    made = await http.post(INDICES, json={"name": name, **more})
    assert made.status_code == 201, made.text
    done = await http.post(f"{INDICES}/{name}/documents", json={"documents": DOCUMENTS})
    assert done.status_code == 200, done.text
    told: dict[str, Any] = done.json()
    return told


async def found(http: httpx.AsyncClient, query: str, name: str = "facts", **more: Any) -> list[dict[str, Any]]:
    answer = await http.post(f"{INDICES}/{name}/query", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    told = answer.json()["error"]
    return answer.status_code, told["code"], told["param"]


@covers("92")
async def test_indices_are_made_listed_got_by_name_or_id_and_deleted(gateway: Gateway) -> None:
    http = gateway.http
    made = (await http.post(INDICES, json={"name": "facts", "chunking": {"size": 200, "overlap": 0}})).json()
    assert (made["mode"], made["embedding_model"], made["dimensions"], made["doc_count"]) == (
        "hybrid",
        "embed",
        None,
        0,
    )
    assert made["chunking"] == {"size": 200, "overlap": 0, "markdown": True}
    await http.post(INDICES, json={"name": "apart", "mode": "keyword"})
    assert [one["name"] for one in (await http.get(INDICES)).json()["data"]] == ["apart", "facts"]
    for known_as in ("facts", made["id"]):
        assert (await http.get(f"{INDICES}/{known_as}")).json() == made
    assert refusal(await http.post(INDICES, json={"name": "facts"})) == (409, "already_exists", "name")
    await http.post(f"{INDICES}/facts/documents", json={"documents": DOCUMENTS})
    assert (await http.get(f"{INDICES}/facts")).json()["doc_count"] == 3
    gone = (await http.delete(f"{INDICES}/facts")).json()
    assert (gone["deleted"], gone["doc_count"], gone["id"]) == (True, 3, made["id"])
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/documents"), ("GET", "/documents/cats")):
        answer = await http.request(method, f"{INDICES}/{made['id']}{path}")
        assert refusal(answer)[:2] == (404, "index_not_found")
    assert refusal(await http.post(f"{INDICES}/facts/query", json={"query": "x"}))[:2] == (404, "index_not_found")


@covers("92")
async def test_an_index_without_an_embedding_model_is_searched_by_words_and_says_so(
    stub: Stub, embedder: Embedder, tmp_path: Path
) -> None:
    async with running_gateway(settings(stub, tmp_path, embedding_model=None), tmp_path) as gateway:
        done = await filled(gateway.http)
        assert (done["index"]["mode"], done["index"]["embedding_model"]) == ("keyword", None)
        answer = (await gateway.http.post(f"{INDICES}/facts/query", json={"query": "purring cats"})).json()
        assert (answer["mode"], answer["data"][0]["document"], embedder.calls) == ("keyword", "cats", 0)
        asked = await gateway.http.post(INDICES, json={"name": "more", "mode": "hybrid"})
        assert refusal(asked) == (400, "embedding_model_missing", "embedding_model")
        asked = await gateway.http.post(f"{INDICES}/facts/query", json={"query": "cats", "mode": "vector"})
        assert refusal(asked) == (400, "invalid_field", "mode")


@covers("93")
async def test_documents_are_replaced_added_listed_got_updated_and_deleted(gateway: Gateway) -> None:
    http, path = gateway.http, f"{INDICES}/facts/documents"
    done = await filled(http)
    assert [done[name] for name in ("added", "updated", "kept", "removed")] == [3, 0, 0, 0]
    added = (await http.post(f"{path}:add", json={"text": "Rain is wet."})).json()
    assert (added["id"][:4], added["version"]) == ("doc_", 1)
    pages = [(await http.get(path, params={"limit": 3})).json()]
    pages.append((await http.get(path, params={"limit": 3, "after": pages[0]["last_id"]})).json())
    assert [page["has_more"] for page in pages] == [True, False]
    listed = [one["id"] for page in pages for one in page["data"]]
    assert listed == sorted(["cars", "cats", "tea", added["id"]])
    got = (await http.get(f"{path}/cats")).json()
    assert (got["text"], got["metadata"], got["chunk_count"]) == (DOCUMENTS[1]["text"], {"kind": "animal"}, 1)
    new = {"text": "A cat sleeps.", "title": "Cats", "version": 1, "sha256": got["sha256"]}
    changed = (await http.put(f"{path}/cats", json=new)).json()
    assert (changed["version"], changed["title"], changed["created_at"]) == (2, "Cats", got["created_at"])
    assert (await http.get(f"{path}/cats")).json()["text"] == "A cat sleeps."
    assert (await http.delete(f"{path}/tea")).json()["deleted"] is True
    assert refusal(await http.get(f"{path}/tea")) == (404, "document_not_found", None)
    index = (await http.get(f"{INDICES}/facts")).json()
    assert (index["doc_count"], index["chunk_count"]) == (3, 3)
    rest = (await http.post(path, json={"documents": [{**DOCUMENTS[0]}, {"id": "new", "text": "New."}]})).json()
    assert [rest[name] for name in ("added", "updated", "kept", "removed")] == [1, 0, 1, 2]


@covers("93")
async def test_a_change_of_what_is_not_there_any_more_is_refused(gateway: Gateway) -> None:
    http, path = gateway.http, f"{INDICES}/facts/documents"
    await filled(http)
    for expected, param in (({"version": 2}, "version"), ({"sha256": "0" * 64}, "sha256")):
        answer = await http.put(f"{path}/cats", json={"text": "Other.", **expected})
        assert refusal(answer) == (409, "document_changed", param)
        assert refusal(await http.delete(f"{path}/cats", params=expected)) == (409, "document_changed", param)
    answer = await http.post(path, json={"documents": [], "version": 1})
    assert refusal(answer) == (409, "index_changed", "version")
    assert refusal(await http.delete(INDICES + "/facts", params={"version": 7})) == (409, "index_changed", "version")
    assert (await http.get(f"{path}/cats")).json()["version"] == 1
    assert refusal(await http.put(f"{path}/none", json={"text": "x"}))[:2] == (404, "document_not_found")
    assert refusal(await http.post(f"{path}:add", json=DOCUMENTS[0])) == (409, "already_exists", "id")


@covers("94")
async def test_a_query_finds_the_known_nearest_document_first_with_its_score_and_source(gateway: Gateway) -> None:
    await filled(gateway.http)
    first, *_ = await found(gateway.http, "how many wheels has an automobile", top_k=2)
    assert (first["index"], first["document"], first["title"]) == ("facts", "cars", "Cars")
    assert first["source"] == "https://example.org/cars"
    assert (first["text"], first["start"], first["end"], first["chunk"]) == ("A car has four wheels.", 0, 22, 0)
    assert first["ranks"]["vector"] == first["ranks"]["keyword"] == 1
    assert first["score"] > 0
    assert 0 < first["ranks"]["similarity"] <= 1
    by_meaning = await found(gateway.http, "feline", mode="vector")
    assert (by_meaning[0]["document"], by_meaning[0]["ranks"]["keyword"]) == ("cats", None)
    assert await found(gateway.http, "feline", mode="keyword") == []
    assert len(await found(gateway.http, "a", top_k=1)) == 1


@covers("94")
async def test_several_indices_are_asked_at_once_with_one_embedding(gateway: Gateway, embedder: Embedder) -> None:
    await filled(gateway.http)
    await filled(gateway.http, "more", mode="keyword")
    await gateway.http.post(f"{INDICES}/more/documents", json={"documents": [{"id": "dogs", "text": "A dog barks."}]})
    calls = embedder.calls
    body = {"indices": ["facts", "more"], "query": "dog and cat"}
    data = (await gateway.http.post("/a1/rag/query", json=body)).json()["data"]
    assert {(one["index"], one["document"]) for one in data} >= {("facts", "cats"), ("more", "dogs")}
    assert embedder.calls == calls + 1
    missing = await gateway.http.post("/a1/rag/query", json={**body, "indices": ["facts", "none"]})
    assert refusal(missing)[:2] == (404, "index_not_found")


@covers("94")
async def test_embedding_is_accounted_to_the_key_that_asks(gateway: Gateway) -> None:
    async with await new_key(gateway, scopes=["rag:*"]) as caller:
        await filled(caller)
        await found(caller, "cats")
    assert [row["component"] for row in await rows(gateway, 2)] == ["embedding"] * 2


@covers("100")
async def test_another_tenants_knowledge_is_not_there(gateway: Gateway) -> None:
    done = await filled(gateway.http)
    id_ = done["index"]["id"]
    for tenant in ("red", "blue"):
        await gateway.http.post("/admin/tenants", json={"id": tenant})
    async with await new_key(gateway, tenant="red", scopes=["rag:*"]) as red:
        body = {"query": "x", "text": "x", "documents": []}
        for name in (id_, "facts"):
            for method, path, fields in (
                ("GET", "", ()),
                ("DELETE", "", ()),
                ("GET", "/documents", ()),
                ("POST", "/documents", ("documents",)),
                ("POST", "/documents:add", ("text",)),
                ("GET", "/documents/cats", ()),
                ("PUT", "/documents/cats", ("text",)),
                ("DELETE", "/documents/cats", ()),
                ("POST", "/query", ("query",)),
                ("POST", "/reindex", ()),
            ):
                sent = {one: body[one] for one in fields}
                answer = await red.request(method, f"{INDICES}/{name}{path}", json=sent if method != "GET" else None)
                assert refusal(answer)[:2] == (404, "index_not_found"), (method, path)
        assert (await red.get(INDICES)).json()["data"] == []
        own = await red.post(INDICES, json={"name": "facts"})
        assert own.status_code == 201
        assert await found(red, "cats wheels tea") == []
        several = await red.post("/a1/rag/query", json={"indices": ["facts", id_], "query": "cats"})
        assert several.status_code == 404
    assert len(await found(gateway.http, "cats")) == 3


@covers("100")
async def test_keys_need_the_scope_of_their_own_tenant(gateway: Gateway) -> None:
    await filled(gateway.http)
    async with await new_key(gateway, scopes=["rag:read"]) as reader:
        assert (await reader.get(INDICES)).status_code == 200
        assert await found(reader, "cats")
        assert refusal(await reader.post(INDICES, json={"name": "x"}))[:2] == (403, "forbidden")
        assert (await reader.delete(f"{INDICES}/facts/documents/cats")).status_code == 403
    async with await new_key(gateway, scopes=["rag:*:elsewhere"]) as stranger:
        assert (await stranger.get(INDICES)).status_code == 403
    async with await new_key(gateway, scopes=[]) as plain:
        assert (await plain.get(INDICES)).status_code == 403
