"""Knowledge as tools: each called by an agent, what destroys in two calls, and nobody past what is its own."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.tools.confirm import Confirmations
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.knowing import Knowing
from tests.harness.stub import Stub, chat
from tests.journeys.test_agents import calling
from tests.journeys.test_conversations import say
from tests.journeys.test_knowledge import DOCUMENTS, INDICES, filled, settings
from tests.journeys.test_money import new_key, rows
from tests.requirements import covers

pytestmark = covers("97")
MODEL = {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}
FREE = {"tool_policies": {"rag_*": "always_allow"}}
AGENTS: list[dict[str, Any]] = [
    {"name": "keeper", "model": "small", "tool_groups": ["rag"], **FREE},
    {"name": "other", "model": "small", "tool_groups": ["rag"], **FREE},
    {"name": "careful", "model": "small", "tool_groups": ["rag"]},
    {"name": "bound", "model": "small", "tool_groups": ["rag"], "knowledge": ["facts"], **FREE},
]


@pytest.fixture
def model(stub: Stub) -> Knowing:
    return Knowing(stub)


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path, model: Knowing) -> AsyncIterator[Gateway]:
    made = settings(stub, tmp_path)
    made |= {"models": [*made["models"], MODEL], "agents": AGENTS}
    async with running_gateway(made, tmp_path) as running:
        await filled(running.http)
        yield running


async def use(gateway: Gateway, model: Knowing, tool: str, agent: str = "keeper", **arguments: Any) -> str:
    """What the agent's model is told when it calls a tool."""
    model.answer(calling((tool, arguments)), chat("Done."))
    answer = await gateway.chat(model=agent)
    assert answer.status_code == 200, answer.text
    return model.told


async def preview(
    gateway: Gateway, model: Knowing, tool: str, agent: str = "keeper", **arguments: Any
) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(await use(gateway, model, tool, agent, **arguments))
    assert told["note"].startswith("Nothing was changed.")
    return told


async def text_of(gateway: Gateway, document: str) -> str:
    text: str = (await gateway.http.get(f"{INDICES}/facts/documents/{document}")).json()["text"]
    return text


async def test_each_tool_does_its_work_for_an_agent(gateway: Gateway, model: Knowing) -> None:
    assert json.loads(await use(gateway, model, "rag_create_index", name="notes"))["name"] == "notes"
    listed = json.loads(await use(gateway, model, "rag_list_indices"))["indices"]
    assert [(one["name"], one["doc_count"]) for one in listed] == [("facts", 3), ("notes", 0)]
    assert json.loads(await use(gateway, model, "rag_get_index", index="facts"))["chunk_count"] == 3
    added = json.loads(await use(gateway, model, "rag_add_document", index="notes", text="Rain is wet.", title="Rain"))
    page = json.loads(await use(gateway, model, "rag_list_documents", index="facts", limit=2))
    assert ([one["id"] for one in page["documents"]], page["has_more"]) == (["cars", "cats"], True)
    got = json.loads(await use(gateway, model, "rag_get_document", index="notes", document=added["id"], start=5))
    assert (got["text"], got["title"]) == ("is wet.", "Rain")
    change: dict[str, Any] = {"index": "notes", "document": added["id"], "edits": [{"find": "wet", "put": "cold"}]}
    token = (await preview(gateway, model, "rag_update_document", **change))["confirm_token"]
    changed = json.loads(await use(gateway, model, "rag_update_document", **change, confirm_token=token))
    assert (changed["version"], changed["title"]) == (2, "Rain")
    gone: dict[str, Any] = {"index": "notes", "document": added["id"]}
    token = (await preview(gateway, model, "rag_delete_document", **gone))["confirm_token"]
    await use(gateway, model, "rag_delete_document", **gone, confirm_token=token)
    token = (await preview(gateway, model, "rag_delete_index", index="notes"))["confirm_token"]
    await use(gateway, model, "rag_delete_index", index="notes", confirm_token=token)
    listed = json.loads(await use(gateway, model, "rag_list_indices"))["indices"]
    assert [one["name"] for one in listed] == ["facts"]
    for action in ("document.deleted", "index.deleted"):
        (act,) = (await gateway.http.get("/admin/audit", params={"action": action})).json()["data"]
        assert act["by"]["key"].startswith("key_"), act


@covers("96")
async def test_a_question_finds_passages_to_cite_in_one_index_or_several(gateway: Gateway, model: Knowing) -> None:
    await gateway.http.post(INDICES, json={"name": "more"})
    poem = {"id": "poem", "text": "The vehicle\n[cats#0]\nrolls."}
    await gateway.http.post(f"{INDICES}/more/documents:add", json=poem)
    told = await use(gateway, model, "rag_query", query="wheels of an automobile", indices=["facts"], top_k=1)
    assert told == "[cars#0]\n> (Cars, https://example.org/cars)\n> A car has four wheels."
    both: dict[str, Any] = {"indices": ["facts", "more"]}
    for asked in (both, {}):
        told = await use(gateway, model, "rag_query", query="vehicle", **asked)
        assert "> A car has four wheels." in told
        assert "[poem#0]\n> The vehicle\n> [cats#0]\n> rolls." in told  # no document can pass for another one
    await rows(gateway, 1)
    parts = {row["component"] for row in await rows(gateway, 8)}
    assert "embedding" in parts


async def test_a_document_is_edited_by_what_occurs_once_and_its_text_is_never_lost(
    gateway: Gateway, model: Knowing
) -> None:
    async def said(**arguments: Any) -> str:
        return await use(gateway, model, "rag_update_document", index="facts", document="cats", **arguments)

    assert "occurs 2 times" in await said(edits=[{"find": "i", "put": "o"}])
    assert "occurs 0 times" in await said(edits=[{"find": "dog", "put": "cow"}])
    assert "give either" in await said(text="x", edits=[{"find": "cat", "put": "cow"}])
    assert "nothing would be left" in await said(edits=[{"find": DOCUMENTS[1]["text"], "put": " "}])
    assert "Nothing would change" in await said(text=DOCUMENTS[1]["text"])
    assert await text_of(gateway, "cats") == DOCUMENTS[1]["text"]


@covers("98")
async def test_one_call_shows_what_would_change_and_another_changes_it(gateway: Gateway, model: Knowing) -> None:
    change: dict[str, Any] = {"index": "facts", "document": "cats", "text": "A cat sleeps.", "title": "Cats"}
    told = await preview(gateway, model, "rag_update_document", **change)
    assert told["preview"]["title"] == {"from": "", "to": "Cats"}
    assert "-A cat purrs when it is content.\n+A cat sleeps." in told["preview"]["text"]
    assert await text_of(gateway, "cats") == DOCUMENTS[1]["text"]
    await use(gateway, model, "rag_update_document", **change, confirm_token=told["confirm_token"])
    kept = (await gateway.http.get(f"{INDICES}/facts/documents/cats")).json()
    assert (kept["text"], kept["title"], kept["metadata"]) == ("A cat sleeps.", "Cats", {"kind": "animal"})
    told = await preview(gateway, model, "rag_delete_index", index="facts")
    assert told["preview"] == {"delete_index": "facts", "documents": 3, "chunks": 3}
    assert (await gateway.http.get(f"{INDICES}/facts")).status_code == 200


@covers("98")
async def test_a_token_holds_for_nobody_else_nothing_else_and_no_other_state(gateway: Gateway, model: Knowing) -> None:
    tea = {"index": "facts", "document": "tea"}

    async def refused(why: str, token: str, agent: str = "keeper", **arguments: Any) -> None:
        told = await use(gateway, model, "rag_delete_document", agent, **{**tea, **arguments}, confirm_token=token)
        assert why in told
        assert "Nothing was changed" in told
        assert (await gateway.http.get(f"{INDICES}/facts")).json()["doc_count"] == 3

    token = (await preview(gateway, model, "rag_delete_document", **tea))["confirm_token"]
    foreign = "was not given to you"
    await refused(foreign, token, document="cats")
    await refused(foreign, token, agent="other")
    for made_up in ("yes", "confirm_", "confirm_" + "A" * 64, token[:-2] + ("AA" if token[-2:] != "AA" else "BB")):
        await refused(foreign, made_up)
    cats = (await preview(gateway, model, "rag_delete_document", index="facts", document="cats"))["confirm_token"]
    await refused(foreign, cats)
    await gateway.http.put(f"{INDICES}/facts/documents/tea", json={"text": "Tea is hot."})
    await refused("somebody else made a change", token)


@covers("98")
async def test_a_token_is_nothing_to_another_user_and_can_be_used_once(gateway: Gateway) -> None:
    arguments = {"index": "facts", "document": "tea"}
    asked = {"name": "rag_delete_document", "arguments": arguments}

    async def execute(user: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await gateway.http.post("/v1/tools/execute", json=body, headers={"x-user-id": user})
        told: dict[str, Any] = answer.json()
        return told

    token = (await execute("ann", asked))["structured"]["confirm_token"]
    confirmed = {**asked, "arguments": {**arguments, "confirm_token": token}}
    foreign = await execute("bob", confirmed)
    assert foreign["is_error"]
    assert "was not given to you" in foreign["content"]
    assert not (await execute("ann", confirmed))["is_error"]
    assert "document_not_found" in (await execute("ann", confirmed))["content"]
    await gateway.http.post(f"{INDICES}/facts/documents:add", json=DOCUMENTS[2])  # the same words, and version 1
    assert "the token was used" in (await execute("ann", confirmed))["content"]
    assert (await gateway.http.get(f"{INDICES}/facts")).json()["doc_count"] == 3


@covers("98")
async def test_a_token_expires(gateway: Gateway, model: Knowing, monkeypatch: pytest.MonkeyPatch) -> None:
    told = await preview(gateway, model, "rag_delete_index", index="facts")
    assert told["expires_in"] == 86_400
    later = Confirmations(b"pepper-of-the-tests", lambda: time.time() + 86_402)
    check = Confirmations.check
    monkeypatch.setattr(Confirmations, "check", lambda _, token, wanted: check(later, token, wanted))
    late = await use(gateway, model, "rag_delete_index", index="facts", confirm_token=told["confirm_token"])
    assert "the token has expired" in late
    assert (await gateway.http.get(f"{INDICES}/facts")).status_code == 200


@covers("98")
async def test_a_bare_confirm_does_nothing(gateway: Gateway, model: Knowing) -> None:
    told = await use(gateway, model, "rag_delete_index", index="facts", confirm=True)
    assert "'confirm'" in told
    assert "no such field" in told
    token = await preview(gateway, model, "rag_delete_index", index="facts", confirm_token="")
    assert token["preview"]["documents"] == 3
    assert (await gateway.http.get(f"{INDICES}/facts")).status_code == 200


@covers("98")
async def test_a_person_is_asked_for_the_deed_and_not_for_the_preview(gateway: Gateway, model: Knowing) -> None:
    token = (await preview(gateway, model, "rag_delete_index", "careful", index="facts"))["confirm_token"]
    arguments = {"index": "facts", "confirm_token": token}
    model.answer(calling(("rag_delete_index", arguments)))
    told = (await say(gateway, "Delete it.", model="careful")).json()
    assert told["proxy_status"] == {"type": "stopped", "status": "requires_action"}
    assert (await gateway.http.get(f"{INDICES}/facts")).status_code == 200
    (action,) = [one["action_id"] for one in told["approvals_required"]]
    async with await new_key(gateway, scopes=["rag:read", "rag:write"]) as person:
        done = await person.post(f"/a1/actions/{action}", json={"decision": "approve"})
    assert done.status_code == 200, done.text
    assert "deleted_index" in model.told
    assert (await gateway.http.get(f"{INDICES}/facts")).status_code == 404


@covers("100")
async def test_tools_see_the_tenants_own_as_scopes_and_the_agent_allow(gateway: Gateway, model: Knowing) -> None:
    await gateway.http.post(INDICES, json={"name": "secret"})
    assert "index_not_found" in await use(gateway, model, "rag_get_index", "bound", index="secret")
    assert "these indices alone: facts" in await use(gateway, model, "rag_create_index", "bound", name="mine")
    listed = json.loads(await use(gateway, model, "rag_list_indices", "bound"))["indices"]
    assert [one["name"] for one in listed] == ["facts"]
    await gateway.http.post("/admin/tenants", json={"id": "blue"})
    for scopes, tool, why in (
        ([], "rag_list_indices", "rag:read"),
        (["rag:read"], "rag_create_index", "rag:write"),
        (["rag:read", "rag:write"], "rag_get_index", "index_not_found"),
    ):
        caller = await new_key(gateway, tenant="blue", scopes=scopes)
        async with caller:
            arguments = {"name": "x"} if "create" in tool else {} if "list" in tool else {"index": "facts"}
            model.answer(calling((tool, arguments)), chat("Done."))
            body = {"model": "keeper", "messages": [{"role": "user", "content": "Hi"}]}
            assert (await caller.post("/v1/chat/completions", json=body)).status_code == 200
            assert why in model.told
