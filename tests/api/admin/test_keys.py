"""/admin/keys over HTTP, on two gateways that share a database."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.admin import administered, bearer
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("110")

FULL = {
    "alias": "ci",
    "user": "ann",
    "scopes": ["keys:read"],
    "models": {"allow": ["small", "gpt-*"], "deny": ["gpt-4"]},
    "rate": {"requests_per_minute": 60, "tokens_per_minute": 10_000, "streams": 2},
    "budgets": [{"usd": 2.5, "period": "month", "hard": True}, {"usd": 1, "period": "day", "hard": False}],
    "tags": ["batch"],
    "metadata": {"team": {"name": "blue"}},
    "expires_at": "2100-01-01T00:00:00.000Z",
}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with administered(settings_for(stub), tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def other(stub: Stub, tmp_path: Path, gateway: Gateway) -> AsyncIterator[Gateway]:
    async with administered(settings_for(stub), tmp_path) as running:
        yield running


async def make(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    response = await gateway.http.post("/admin/keys", json=fields)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def status(gateway: Gateway, key: str, path: str = "/v1/models") -> tuple[int, str | None]:
    response = await gateway.http.get(path, headers=bearer(key))
    return response.status_code, response.json().get("error", {}).get("code")


async def test_a_key_is_told_with_all_that_was_set_and_its_text_once(gateway: Gateway) -> None:
    response = await gateway.http.post("/admin/keys", json=FULL)
    made = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert {name: made[name] for name in FULL} == FULL
    assert (made["state"], made["tenant"], made["object"]) == ("active", "default", "key")
    text = made.pop("key")
    shown = await gateway.http.get(f"/admin/keys/{made['id']}")
    assert shown.json() == made
    listed = await gateway.http.get("/admin/keys")
    assert listed.json()["data"] == [made]
    assert text not in shown.text + listed.text


async def test_its_life_as_every_gateway_sees_it(gateway: Gateway, other: Gateway) -> None:
    made = await make(gateway)
    path, text = f"/admin/keys/{made['id']}", made["key"]
    for running in (gateway, other):
        assert await status(running, text) == (200, None)
    assert (await other.http.post(f"{path}/block")).json()["state"] == "blocked"
    assert await status(gateway, text) == (401, "key_blocked")
    assert (await gateway.http.post(f"{path}/unblock")).json()["state"] == "active"
    rotated = (await gateway.http.post(f"{path}/rotate", json={"grace": "1h"})).json()
    assert rotated["previous_key_until"]
    assert await status(other, text) == await status(other, rotated["key"]) == (200, None)
    last = (await gateway.http.post(f"{path}/rotate", json={"grace": "0s"})).json()["key"]
    assert await status(other, rotated["key"]) == (401, "invalid_authorization")
    assert (await gateway.http.post(f"{path}/revoke")).json()["state"] == "revoked"
    assert await status(other, last) == (401, "invalid_authorization")
    again = await gateway.http.post(f"{path}/rotate")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "not_changeable")
    assert (await gateway.http.delete(path)).json() == {"id": made["id"], "object": "key", "deleted": True}
    assert (await gateway.http.get(path)).status_code == 404


async def test_a_change_leaves_what_it_does_not_name(gateway: Gateway) -> None:
    made = await make(gateway, **FULL)
    path = f"/admin/keys/{made['id']}"
    changed = (await gateway.http.patch(path, json={"models": {"deny": ["x"]}, "rate": {"streams": None}})).json()
    assert changed["models"] == {"allow": ["small", "gpt-*"], "deny": ["x"]}
    assert changed["rate"] == {"requests_per_minute": 60, "tokens_per_minute": 10_000, "streams": None}
    assert changed["alias"] == "ci"
    emptied = (await gateway.http.patch(path, json=dict.fromkeys(FULL))).json()
    assert emptied["models"] == {"allow": [], "deny": []}
    assert (emptied["rate"]["streams"], emptied["budgets"], emptied["scopes"]) == (None, [], [])
    assert (emptied["alias"], emptied["expires_at"], emptied["metadata"]) == ("", None, {})


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"bugdets": []}, "invalid_field", "bugdets"),
        ({"budgets": [{"usd": -1}]}, "invalid_field", "budgets[0].usd"),
        ({"budgets": [{"period": "day"}]}, "missing_field", "budgets[0].usd"),
        ({"budgets": [{"usd": 1, "period": "year"}]}, "invalid_field", "budgets[0].period"),
        ({"rate": {"streams": 0}}, "invalid_field", "rate.streams"),
        ({"models": ["a"]}, "invalid_field", "models"),
        ({"models": {"allow": [""]}}, "invalid_field", "models.allow[0]"),
        ({"scopes": ["keys"]}, "invalid_field", "scopes[0]"),
        ({"alias": "a\x00b"}, "invalid_field", "alias"),
        ({"expires_in": "soon"}, "invalid_field", "expires_in"),
        ({"expires_at": "2100-01-01"}, "invalid_field", "expires_at"),
        ({"expires_at": "2000-01-01T00:00:00Z"}, "invalid_field", "expires_at"),
        ({"tenant": "nowhere"}, "invalid_field", "tenant"),
        ({"metadata": {"a": "x" * 20_000}}, "invalid_field", "metadata"),
        ([], "invalid_json", None),
        ("x", "invalid_json", None),
    ],
)
async def test_a_wrong_field_is_named(gateway: Gateway, body: Any, code: str, param: str | None) -> None:
    response = await gateway.http.post("/admin/keys", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)
    assert (await gateway.http.get("/admin/keys")).json()["data"] == []


async def test_two_ends_exclude_each_other(gateway: Gateway) -> None:
    body = {"expires_in": "1d", "expires_at": "2100-01-01T00:00:00Z"}
    response = await gateway.http.post("/admin/keys", json=body)
    assert "exclude each other" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=", "state=lost", "limit=99999999999999999999999"]
)
async def test_a_wrong_query_is_named(gateway: Gateway, query: str) -> None:
    response = await gateway.http.get(f"/admin/keys?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, query.partition("=")[0])


async def test_pages_follow_each_other(gateway: Gateway) -> None:
    made = [(await make(gateway))["id"] for _ in range(5)]
    first = (await gateway.http.get("/admin/keys?limit=3")).json()
    second = (await gateway.http.get(f"/admin/keys?limit=3&after={first['last_id']}")).json()
    assert [one["id"] for one in first["data"] + second["data"]] == made
    assert (first["has_more"], second["has_more"]) == (True, False)


@covers("116")
async def test_a_scope_that_is_missing_is_named_before_the_body_is_read(gateway: Gateway) -> None:
    reader = (await make(gateway, scopes=["keys:read"]))["key"]
    for key in (TOKEN, reader):
        refused = await gateway.http.post("/admin/keys", content=b"no JSON at all", headers=bearer(key))
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["type"]) == (403, "forbidden", "permission_error")
        assert "'keys:write'" in error["message"]
    assert await status(gateway, reader, "/admin/keys") == (200, None)
    assert await status(gateway, TOKEN, "/admin/keys") == (403, "forbidden")
    assert await status(gateway, reader, "/admin/tenants") == (403, "forbidden")


@covers("119")
async def test_models_that_a_key_may_not_use_are_hidden_and_refused(stub: Stub, tmp_path: Path) -> None:
    targets = [{"upstream": "stub", "model": "x"}]
    settings = settings_for(stub)
    settings["models"] = [{"name": "a", "targets": targets, "groups": ["cheap"]}, {"name": "b", "targets": targets}]
    settings["aliases"] = [{"name": "c", "model": "b"}]
    async with administered(settings, tmp_path) as gateway:
        for access, seen in (
            ({"allow": ["cheap"]}, ["a"]),
            ({"deny": ["b"]}, ["a"]),
            ({"allow": ["c"]}, ["c"]),
            ({"allow": ["*"], "deny": ["c"]}, ["a", "b"]),
        ):
            headers = bearer((await make(gateway, models=access))["key"])
            listed = (await gateway.http.get("/v1/models", headers=headers)).json()["data"]
            assert [one["id"] for one in listed] == seen, access
            for path in ("/v1/info", "/model/info", "/v2/model/info", "/model_group/info"):
                text = (await gateway.http.get(path, headers=headers)).json()["data"]
                names = {one.get("id") or one.get("model_name") or one.get("model_group") for one in text}
                assert names <= set(seen), path
            hidden = {"a", "b", "c"} - set(seen)
            for name in hidden:
                assert await status(gateway, headers["authorization"][7:], f"/v1/models/{name}") == (
                    403,
                    "model_forbidden",
                )


@covers("database")
async def test_where_nothing_is_kept_that_is_told(stub: Stub) -> None:
    async with running_gateway(settings_for(stub)) as nothing_kept:
        for path in ("/admin/keys", "/admin/tenants", "/key/list"):
            response = await nothing_kept.http.get(path)
            assert (response.status_code, response.json()["error"]["code"]) == (503, "database_unavailable")
