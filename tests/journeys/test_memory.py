"""What models remember for users: written, read, searched, listed and deleted by tools and routes, each user's own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.conversations.store import memories
from headgate.conversations.types import Owner
from tests.harness.databases import on_each_database, url_of
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_agents import calling
from tests.journeys.test_conversations import say
from tests.requirements import covers

pytestmark = [covers("108"), on_each_database]
ANN, BOB = {"x-user-id": "ann"}, {"x-user-id": "bob"}


def settings(stub: Stub, folder: Path) -> dict[str, Any]:
    target = [{"upstream": "stub", "model": "stub-small"}]
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": target, "retries": 0}],
        "agents": [{"name": "keeper", "model": "small", "tool_groups": ["memory"]}],
        "tools": {"inject": {"tools": ["memory"], "models": ["small"]}},
        "database": {"url": url_of(folder)},
    }


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as running:
        yield running


async def use(gateway: Gateway, tool: str, user: dict[str, str] = ANN, **arguments: Any) -> dict[str, Any]:
    body = {"name": tool, "arguments": arguments}
    response = await gateway.http.post("/v1/tools/execute", json=body, headers=user)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


async def write(gateway: Gateway, text: str, user: dict[str, str] = ANN) -> str:
    id_: str = (await use(gateway, "memory_write", user, text=text))["structured"]["id"]
    return id_


def texts(told: dict[str, Any]) -> list[str]:
    return [one["text"] for one in told["structured"]["memories"]]


async def test_a_model_writes_and_finds_again(gateway: Gateway, stub: Stub) -> None:
    body = {"model": "keeper", "messages": [{"role": "user", "content": "I like tea."}]}
    stub.answer(calling(("memory_write", {"text": "Likes tea."})), chat("Noted."))
    assert (await gateway.http.post("/v1/chat/completions", json=body, headers=ANN)).status_code == 200
    stub.answer(calling(("memory_search", {"query": "TEA or coffee"})), chat("Tea."))
    await gateway.http.post("/v1/chat/completions", json=body, headers=ANN)
    assert stub.last.json["messages"][-1]["content"].endswith(": Likes tea.")
    stub.answer(calling(("memory_list", {})), chat("Nothing."))
    await gateway.http.post("/v1/chat/completions", json=body, headers=BOB)
    assert stub.last.json["messages"][-1]["content"] == "There are none."


async def test_each_user_sees_its_own_by_every_way(gateway: Gateway) -> None:
    id_ = await write(gateway, "Ann's birthday is in May.")
    assert (await use(gateway, "memory_read", BOB, id=id_))["is_error"]
    assert texts(await use(gateway, "memory_search", BOB, query="birthday")) == []
    assert texts(await use(gateway, "memory_list", BOB)) == []
    assert (await use(gateway, "memory_delete", BOB, id=id_))["is_error"]
    for method in ("GET", "DELETE"):
        assert (await gateway.http.request(method, f"/v1/memory/{id_}", headers=BOB)).status_code == 404
    assert (await gateway.http.delete("/v1/memory", headers=BOB)).json()["count"] == 0
    tenant = (await gateway.http.post("/admin/tenants", json={"id": "red"})).json()["id"]
    key = (await gateway.http.post("/admin/keys", json={"tenant": tenant})).json()["key"]
    red = {**ANN, "authorization": f"Bearer {key}"}
    assert (await gateway.http.get(f"/v1/memory/{id_}", headers=red)).status_code == 404
    assert (await gateway.http.get("/v1/memory", headers=red)).json()["data"] == []
    assert texts(await use(gateway, "memory_read", id=id_)) == ["Ann's birthday is in May."]


async def test_the_user_lists_searches_and_deletes_by_routes(gateway: Gateway) -> None:
    for number in range(5):
        await write(gateway, f"Fact {number} of Köln" if number % 2 else f"Fact {number}")
    first = (await gateway.http.get("/v1/memory", params={"limit": 3}, headers=ANN)).json()
    rest = (await gateway.http.get("/v1/memory", params={"after": first["last_id"]}, headers=ANN)).json()
    assert (first["has_more"], rest["has_more"], len(first["data"]), len(rest["data"])) == (True, False, 3, 2)
    found = (await gateway.http.get("/v1/memory", params={"query": "KÖLN fact"}, headers=ANN)).json()["data"]
    assert {one["text"] for one in found[:2]} == {"Fact 1 of Köln", "Fact 3 of Köln"}
    id_ = found[0]["id"]
    assert (await gateway.http.delete(f"/v1/memory/{id_}", headers=ANN)).json()["deleted"] is True
    assert (await gateway.http.get(f"/v1/memory/{id_}", headers=ANN)).status_code == 404
    assert (await gateway.http.delete("/v1/memory", headers=ANN)).json()["count"] == 4
    assert (await gateway.http.get("/v1/memory", headers=ANN)).json()["data"] == []


async def test_what_is_remembered_is_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"name": "memory_write", "arguments": {"text": "x" * 4001}}
    assert (await gateway.http.post("/v1/tools/execute", json=long, headers=ANN)).status_code == 400
    monkeypatch.setattr(memories, "MOST", 2)
    ids = [await write(gateway, text) for text in ("One.", "Two.", "One.")]
    assert ids[0] == ids[2]
    assert (await use(gateway, "memory_write", text="Three."))["content"].endswith("(memory_full)")
    assert await write(gateway, "Three.", BOB)


async def test_words_are_looked_for_as_they_are(gateway: Gateway) -> None:
    await write(gateway, "100% sure")
    await write(gateway, "1000 sure")
    assert texts(await use(gateway, "memory_search", query="100%")) == ["100% sure"]


async def test_forgetting_waits_for_an_approval_when_a_model_does_it(gateway: Gateway, stub: Stub) -> None:
    id_ = await write(gateway, "Old.")
    gateway.http.headers.update(ANN)
    stub.answer(calling(("memory_delete", {"id": id_})))
    response = await say(gateway, "Forget it.", model="keeper")
    [held] = response.json()["approvals_required"]
    assert json.loads(held["arguments"]) == {"id": id_}
    assert (await gateway.http.get(f"/v1/memory/{id_}")).status_code == 200
    stub.answer(chat("Forgotten."))
    await gateway.http.post(f"/a1/actions/{held['action_id']}", json={"decision": "approve"})
    assert (await gateway.http.get(f"/v1/memory/{id_}")).status_code == 404


async def test_plain_models_have_them_by_setting(gateway: Gateway, stub: Stub) -> None:
    stub.answer(calling(("memory_write", {"text": "Likes tea."})), chat("Noted."))
    response = await gateway.chat()
    assert "memory_write" in response.headers["x-headgate-tools-added"]
    assert (await gateway.http.get("/v1/memory")).json()["data"][0]["text"] == "Likes tea."


async def test_with_a_users_data_the_memories_go(gateway: Gateway) -> None:
    await write(gateway, "Ann's.")
    await write(gateway, "Bob's.", BOB)
    state = gateway.gate.deps.state
    assert state is not None
    await state.heads.erase(Owner("default", "ann"))
    assert texts(await use(gateway, "memory_list")) == []
    assert texts(await use(gateway, "memory_list", BOB)) == ["Bob's."]
