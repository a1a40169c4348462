"""Every route that changes something leaves a row that tells who did it, from where, and what was different after."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.exc import OperationalError

from headgate.api import ollama
from headgate.api.application import Application
from headgate.api.litellm_refused import REMEDIES
from headgate.audit.store import AuditStore
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import Stub
from tests.journeys.test_cancelling import hanging
from tests.journeys.test_money import new_key, written_in
from tests.journeys.test_runs import settings
from tests.requirements import covers

pytestmark = covers("139")
SECRET = "sk-hg-planted-secret-0123456789"


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def acts(gateway: Gateway, **asked: Any) -> list[dict[str, Any]]:
    """The newest first."""
    response = await gateway.http.get("/admin/audit", params=asked)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]
    return found


async def verdict(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.http.get("/admin/audit/verify")).json()
    return found


Body = dict[str, Any]
CHANGES: dict[tuple[str, str], tuple[str, Body]] = {
    ("POST", "/admin/keys"): ("key.created", {"alias": "new"}),
    ("PATCH", "/admin/keys/{id}"): ("key.updated", {"alias": "other"}),
    ("POST", "/admin/keys/{id}/rotate"): ("key.rotated", {}),
    ("POST", "/admin/keys/{id}/block"): ("key.blocked", {}),
    ("POST", "/admin/keys/{id}/unblock"): ("key.unblocked", {}),
    ("POST", "/admin/keys/{id}/revoke"): ("key.revoked", {}),
    ("DELETE", "/admin/keys/{id}"): ("key.deleted", {}),
    ("POST", "/key/generate"): ("key.created", {"key_alias": "theirs"}),
    ("POST", "/key/update"): ("key.updated", {"key": "{id}", "max_budget": 5}),
    ("POST", "/key/block"): ("key.blocked", {"key": "{id}"}),
    ("POST", "/key/unblock"): ("key.unblocked", {"key": "{id}"}),
    ("POST", "/key/regenerate"): ("key.rotated", {"key": "{id}"}),
    ("POST", "/key/{key}/regenerate"): ("key.rotated", {}),
    ("POST", "/key/delete"): ("key.deleted", {"keys": ["{id}"]}),
    ("POST", "/admin/tenants"): ("tenant.created", {"id": "blue"}),
    ("PATCH", "/admin/tenants/{id}"): ("tenant.updated", {"name": "Green"}),
    ("POST", "/admin/tenants/{id}/block"): ("tenant.blocked", {}),
    ("POST", "/admin/tenants/{id}/unblock"): ("tenant.unblocked", {}),
    ("DELETE", "/admin/tenants/{id}"): ("tenant.deleted", {}),
    ("POST", "/user/new"): ("user.created", {"user_id": "ann"}),
    ("POST", "/user/update"): ("user.updated", {"user_id": "{id}", "max_budget": 5}),
    ("POST", "/user/delete"): ("user.deleted", {"user_ids": ["{id}"]}),
    ("POST", "/team/new"): ("tenant.created", {"team_id": "blue"}),
    ("POST", "/team/update"): ("tenant.updated", {"team_id": "{id}", "team_alias": "Green"}),
    ("POST", "/team/block"): ("tenant.blocked", {"team_id": "{id}"}),
    ("POST", "/team/unblock"): ("tenant.unblocked", {"team_id": "{id}"}),
    ("POST", "/team/delete"): ("tenant.deleted", {"team_ids": ["{id}"]}),
    ("POST", "/team/member_add"): ("user.created", {"team_id": "{id}", "member": {"user_id": "ann", "role": "user"}}),
    ("POST", "/team/member_update"): ("user.updated", {"team_id": "{id}", "user_id": "bob", "max_budget_in_team": 5}),
    ("POST", "/team/member_delete"): ("user.deleted", {"team_id": "{id}", "user_id": "bob"}),
    ("PUT", "/v1/tenant/config"): ("tenant_config.updated", {"requests_per_minute": 5}),
    ("PUT", "/v1/tenant/config/{key}"): ("tenant_config.updated", {"value": 5}),
    ("DELETE", "/v1/tenant/config"): ("tenant_config.updated", {}),
    ("DELETE", "/v1/tenant/config/{key}"): ("tenant_config.updated", {}),
    ("POST", "/v1/runs/{id:path}/cancel"): ("run.cancelled", {}),
    ("POST", "/a1/actions/{id}"): ("action.rejected", {}),
    ("DELETE", "/admin/data/{tenant}"): ("data.erased", {}),
    ("DELETE", "/admin/data/{tenant}/{user:path}"): ("data.erased", {}),
    ("POST", "/admin/reload"): ("configuration.reloaded", {}),
    ("DELETE", "/a1/rag/indices/{id}"): ("index.deleted", {}),
    ("POST", "/a1/rag/indices/{id}/documents"): ("index.replaced", {"documents": []}),
    ("DELETE", "/a1/rag/indices/{id}/documents/{document}"): ("document.deleted", {}),
}
"""Every route that changes something, with the act it has to leave. A new one has to be entered here."""
READINGS = (
    "/spend/calculate",
    "/v2/key/info",
    "/admin/usage/reconcile",
    "/global/spend/end_users",
    "/admin/template/eval",
    "/api/show",
)
OLLAMA = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")
COUNTS = tuple(f"{prefix}/messages/count_tokens" for prefix in ("/v1", "", "/anthropic/v1"))
TURNS = ("/c1/chat", "/a1/agents/{name:path}/sessions/{id}/messages")
COMPACTIONS = tuple(f"{one}/{{id}}/compact" for one in ("/c1/conversations", "/a1/agents/{name:path}/sessions"))
CALLS = (
    *(*OLLAMA, *TURNS, *COMPACTIONS, *COUNTS),
    *("/v1/tools/execute", "/tools/execute", "/a1/agents/{name:path}/chat"),
)
"""As calls of models: in the request log, with the key, and no act of administration."""
CONVERSED = {
    (method, f"{prefix}/{path}")
    for prefix in ("/v1", "")
    for method, path in (
        ("DELETE", "responses/{id}"),
        ("POST", "responses/{id}/cancel"),
        ("POST", "conversations"),
        ("POST", "conversations/{id}"),
        ("DELETE", "conversations/{id}"),
        ("POST", "conversations/{id}/items"),
        ("DELETE", "conversations/{id}/items/{item}"),
    )
}
"""What callers do with what they said themselves, as calls of models: no act of administration."""
_SESSIONS = "/a1/agents/{name:path}/sessions"
OWN = {
    ("DELETE", "/v1/memory"),
    ("DELETE", "/v1/memory/{id}"),
    ("PATCH", "/c1/conversations/{id}"),
    ("PUT", "/c1/conversations/{id}/compaction"),
    ("POST", _SESSIONS),
    *(
        (method, f"{one}{rest}")
        for one in ("/c1/conversations/{id}", f"{_SESSIONS}/{{id}}")
        for method, rest in (("DELETE", ""), ("POST", "/fork"), ("POST", "/rewind"))
    ),
}
"""What callers do with their own conversations is in the request log, and no act of administration."""
WRITTEN = {
    ("POST", "/a1/rag/query"),
    ("POST", "/a1/rag/indices"),
    *(("POST", f"/a1/rag/indices/{{id}}/{rest}") for rest in ("query", "reindex", "documents:add")),
    ("PUT", "/a1/rag/indices/{id}/documents/{document}"),
}
"""What is put into knowledge, or asked of it, is in the request log; only what is taken away is an act."""
CHANGES_NOTHING = {("POST", path) for path in (*READINGS, *CALLS)} | CONVERSED | OWN | WRITTEN


async def made(gateway: Gateway, path: str) -> str:
    """The id of an object that a route can be tried on."""
    if path.startswith("/v1/tenant/"):
        await gateway.http.put("/v1/tenant/config/requests_per_minute", json={"value": 9})
        return "requests_per_minute"
    if path.startswith("/team/"):
        await gateway.http.post("/team/new", json={"team_id": "green"})
        if "member_" in path and "add" not in path:
            await gateway.http.post("/user/new", json={"user_id": "bob", "team_id": "green"})
        return "green"
    if path.startswith("/user/"):
        await gateway.http.post("/user/new", json={"user_id": "bob", "auto_create_key": False})
        return "bob"
    if path.startswith("/admin/tenants"):
        await gateway.http.post("/admin/tenants", json={"id": "green"})
        return "green"
    if path.startswith("/a1/rag/"):
        index = (await gateway.http.post("/a1/rag/indices", json={"name": "green"})).json()
        await gateway.http.post("/a1/rag/indices/green/documents:add", json={"id": index["id"], "text": "Grass."})
        return str(index["id"])
    return str((await gateway.http.post("/admin/keys", json={})).json()["id"])


def test_every_route_that_changes_something_is_entered_here(gateway: Gateway) -> None:
    routes = {(method, route.path) for route in Application(gateway.gate).controls for method in route.methods}
    changing = {one for one in routes if one[0] != "GET" and one[1] not in (*REMEDIES, *ollama.REMEDIES)}
    assert changing == set(CHANGES) | CHANGES_NOTHING


@pytest.mark.parametrize(
    "route", [one for one in CHANGES if one[1].split("/")[2] not in ("runs", "actions")], ids=" ".join
)
async def test_a_change_leaves_its_row(gateway: Gateway, route: tuple[str, str]) -> None:
    method, path = route
    action, body = CHANGES[route]
    object_id = await made(gateway, path)
    before = len(await acts(gateway))
    filled = json.loads(json.dumps(body).replace("{id}", object_id))
    path = path.replace("{id}", object_id).replace("{key}", object_id).replace("{document}", object_id)
    response = await gateway.http.request(method, path, json=filled, headers={"x-request-id": "req-7"})
    assert response.is_success, response.text
    rows = await acts(gateway)
    [newest] = [act for act in rows[: len(rows) - before] if act["action"] == action]
    assert newest["target"]["id"] in (object_id, *json.dumps(filled).split('"'), *response.text.split('"'))
    assert (newest["request_id"], newest["by"]["address"], newest["outcome"]) == ("req-7", "127.0.0.1", "done")
    assert (await verdict(gateway))["ok"]


async def test_cancelling_a_run_leaves_a_row(gateway: Gateway, stub: Stub) -> None:
    caller = await new_key(gateway)
    async with caller, hanging(caller, stub, "slow"):
        await gateway.http.post("/v1/runs/slow/cancel")
        own = (await caller.get("/key/info")).json()["key"]
    [act] = await acts(gateway, action="run.cancelled")
    assert (act["target"]["id"], act["before"]) == ("slow", {"owner": own, "model": "small"})
    await gateway.http.post("/v1/runs/slow/cancel")
    assert len(await acts(gateway, action="run.cancelled")) == 1


async def test_what_differs_is_told_and_no_secret(gateway: Gateway, tmp_path: Path) -> None:
    key = (await gateway.http.post("/key/generate", json={"key": SECRET, "metadata": {"note": SECRET}})).json()
    await gateway.http.patch(f"/admin/keys/{key['token']}", json={"rate": {"requests_per_minute": 5}, "alias": "x"})
    rotated = (await gateway.http.post(f"/admin/keys/{key['token']}/rotate")).json()
    rotation, change, creation, start = await acts(gateway)
    assert (start["action"], start["by"]["key"]) == ("configuration.loaded", "system")
    assert start["after"]["models"] == 5
    assert change["before"]["alias"] == ""
    assert (change["after"]["alias"], change["after"]["rate"]["requests_per_minute"]) == ("x", 5)
    assert set(change["after"]) == {"alias", "rate"}
    assert creation["before"] is None
    assert set(rotation["after"]) == {"rotated_at", "previous_until"}
    told = json.dumps([rotation, change, creation, start])
    kept = written_in(tmp_path)
    for secret in (SECRET, rotated["key"], KEY):
        assert secret not in told
    assert KEY.encode() not in kept


async def test_an_export_and_a_refused_attempt_leave_rows(gateway: Gateway) -> None:
    assert (await gateway.http.get("/admin/usage/export", params={"key": "key_1"})).status_code == 200
    plain = await new_key(gateway)
    async with plain:
        assert (await plain.post("/admin/keys", json={})).status_code == 403
        assert (await plain.get("/admin/audit")).status_code == 403
    listing, creation, _, export, _ = await acts(gateway)
    assert (export["action"], export["after"]) == ("usage.exported", {"query": {"of_key": "key_1"}})
    assert (creation["action"], creation["target"]["id"]) == ("route.refused", "POST /admin/keys")
    assert (creation["outcome"], creation["error"]) == ("refused", "forbidden")
    assert creation["by"]["key"] == listing["by"]["key"] != export["by"]["key"]


async def broken(*_: Any) -> None:
    raise OperationalError("INSERT", None, OSError("disk full"))


async def test_what_cannot_be_put_down_does_not_happen(
    gateway: Gateway, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = await made(gateway, "/admin/keys")
    caller = await new_key(gateway)
    async with caller, hanging(caller, stub, "slow"):
        monkeypatch.setattr(AuditStore, "add", broken)
        tried = [
            await gateway.http.post("/admin/keys", json={"alias": "never"}),
            await gateway.http.post(f"/admin/keys/{key_id}/revoke"),
            await gateway.http.post("/admin/tenants", json={"id": "never"}),
            await gateway.http.get("/admin/usage/export"),
            await gateway.http.post("/v1/runs/slow/cancel"),
        ]
        assert [one.json()["error"]["code"] for one in tried] == ["database_unavailable"] * len(tried)
        assert (await gateway.http.get("/v1/runs/slow")).json()["status"] == "running"
        monkeypatch.undo()
    assert (await gateway.http.get("/admin/keys", params={"alias": "never"})).json()["data"] == []
    assert (await gateway.http.get(f"/admin/keys/{key_id}")).json()["state"] == "active"
    assert (await gateway.http.get("/admin/tenants/never")).status_code == 404
    assert (await verdict(gateway))["ok"]


async def test_model_calls_leave_no_row(gateway: Gateway) -> None:
    before = len(await acts(gateway))
    assert (await gateway.chat()).status_code == 200
    assert (await gateway.chat(model="nowhere")).status_code == 404
    assert len(await acts(gateway)) == before


@covers("116")
async def test_a_key_with_the_scope_sees_acts_on_its_tenant_and_only_all_of_them_can_be_verified(
    gateway: Gateway,
) -> None:
    await gateway.http.post("/admin/tenants", json={"id": "blue"})
    auditor = await new_key(gateway, tenant="blue", scopes=["audit:read"])
    overseer = await new_key(gateway, scopes=["audit:read:*"])
    async with auditor, overseer:
        seen = (await auditor.get("/admin/audit")).json()["data"]
        assert [act["action"] for act in seen] == ["key.created", "tenant.created"]
        assert (await auditor.get("/admin/audit", params={"tenant": "default"})).status_code == 403
        assert (await auditor.get("/admin/audit/verify")).status_code == 403
        assert (await overseer.get("/admin/audit/verify")).json()["ok"]


async def test_it_is_read_page_by_page_in_both_orders_with_filters(gateway: Gateway) -> None:
    for number in range(5):
        await gateway.http.post("/admin/keys", json={"alias": f"k{number}"})
    for order in ("asc", "desc"):
        seen, after = [], None
        while True:
            asked = {"limit": 2, "order": order, **({"after": after} if after else {})}
            page = (await gateway.http.get("/admin/audit", params=asked)).json()
            seen += [act["id"] for act in page["data"]]
            after = page["last_id"]
            if not page["has_more"]:
                break
        assert seen == sorted(range(1, 7), reverse=order == "desc")
    assert len(await acts(gateway, action="key.created")) == 5
    assert await acts(gateway, key="key_nobody") == []
    assert len(await acts(gateway, since="2020-01-01", outcome="done")) == 6
    for name, value in (("order", "up"), ("limit", "0"), ("after", "x"), ("since", "x")):
        response = await gateway.http.get("/admin/audit", params={name: value})
        assert (response.status_code, response.json()["error"]["param"]) == (400, name)


async def test_no_route_changes_or_removes_a_row(gateway: Gateway) -> None:
    for path in ("/admin/audit", "/admin/audit/verify", "/admin/audit/1"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await gateway.http.request(method, path)).status_code in (404, 405)


async def test_two_workers_write_one_chain(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as neighbour:
        for number in range(4):
            for worker in (gateway, neighbour):
                await worker.http.post("/admin/keys", json={})
            assert (await verdict(gateway))["rows"] == (await verdict(neighbour))["rows"] == 2 * number + 4
    assert (await verdict(gateway))["ok"]


async def test_a_gateway_that_keeps_nothing_says_so(stub: Stub) -> None:
    async with running_gateway(settings(stub)) as gateway:
        for path in ("/admin/audit", "/admin/audit/verify"):
            response: httpx.Response = await gateway.http.get(path)
            assert (response.status_code, response.json()["error"]["code"]) == (503, "database_unavailable")
