"""/admin/tenants over HTTP, and tenants of the configuration file."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.admin import administered, bearer
from tests.harness.gateway import Gateway
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("116")

FILE_KEY = "sk-of-the-file-0000001"
FULL = {
    "id": "blue",
    "name": "The blue team",
    "models": {"allow": ["small"], "deny": []},
    "rate": {"requests_per_minute": 10, "tokens_per_minute": None, "streams": None},
    "budgets": [{"usd": 100, "period": "month", "hard": True}],
    "metadata": {"cost_center": 7},
}
PROD = {"id": "prod", "name": "Production", "models": {"deny": ["small"]}, "keys": [FILE_KEY]}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with administered(settings_for(stub, tenants=[PROD]), tmp_path) as running:
        yield running


async def call(gateway: Gateway, method: str, path: str, **more: Any) -> tuple[int, Any]:
    response = await gateway.http.request(method, f"/admin/{path}", **more)
    body = response.json()
    return response.status_code, body["error"]["code"] if "error" in body else body


async def test_a_tenant_from_its_making_to_its_end(gateway: Gateway) -> None:
    code, made = await call(gateway, "POST", "tenants", json=FULL)
    assert code == 201
    assert {name: made[name] for name in FULL} == FULL
    assert await call(gateway, "GET", "tenants/blue") == (200, made)
    assert await call(gateway, "POST", "tenants", json=FULL) == (409, "already_exists")
    changed = (await call(gateway, "PATCH", "tenants/blue", json={"name": "Blue", "budgets": None}))[1]
    assert (changed["name"], changed["budgets"], changed["models"]) == ("Blue", [], FULL["models"])
    _, key = await call(gateway, "POST", "keys", json={"tenant": "blue"})
    headers = bearer(key["key"])
    assert (await call(gateway, "POST", "tenants/blue/block"))[1]["blocked"] is True
    assert (await gateway.http.get("/v1/models", headers=headers)).json()["error"]["code"] == "key_blocked"
    assert (await call(gateway, "POST", "tenants/blue/unblock"))[1]["blocked"] is False
    assert (await gateway.http.get("/v1/models", headers=headers)).status_code == 200
    assert await call(gateway, "DELETE", "tenants/blue") == (409, "not_changeable")
    await call(gateway, "POST", f"keys/{key['id']}/revoke")
    assert (await call(gateway, "DELETE", "tenants/blue"))[0] == 200
    assert await call(gateway, "GET", "tenants/blue") == (404, "tenant_not_found")


async def test_tenants_of_the_file_are_there_and_changed_there_only(gateway: Gateway) -> None:
    _, listed = await call(gateway, "GET", "tenants")
    assert [(one["id"], one["source"]) for one in listed["data"]] == [("default", "database"), ("prod", "file")]
    for method, path in (("PATCH", "tenants/prod"), ("DELETE", "tenants/prod"), ("POST", "tenants/prod/block")):
        assert await call(gateway, method, path, json={}) == (409, "not_changeable")
    assert await call(gateway, "POST", "tenants", json={"id": "prod"}) == (409, "already_exists")
    seen = await gateway.http.get("/v1/models", headers=bearer(FILE_KEY))
    assert (seen.status_code, seen.json()["data"]) == (200, [])
    _, key = await call(gateway, "POST", "keys", json={"tenant": "prod"})
    assert (await gateway.http.get("/v1/models", headers=bearer(key["key"]))).json()["data"] == []


async def test_the_default_tenant_is_always_there_and_may_be_limited(gateway: Gateway) -> None:
    assert (await call(gateway, "GET", "tenants/default"))[0] == 200
    _, changed = await call(gateway, "PATCH", "tenants/default", json={"rate": {"streams": 4}})
    assert changed["rate"]["streams"] == 4
    assert (await call(gateway, "DELETE", "tenants/default"))[0] == 200
    assert (await call(gateway, "GET", "tenants/default"))[1]["rate"]["streams"] is None


async def test_another_tenant_is_not_there(gateway: Gateway) -> None:
    for name in ("blue", "red"):
        await call(gateway, "POST", "tenants", json={"id": name})
    scopes = ["tenants:read", "tenants:write"]
    _, key = await call(gateway, "POST", "keys", json={"tenant": "blue", "scopes": scopes})
    mine = {"headers": bearer(key["key"])}
    assert [one["id"] for one in (await call(gateway, "GET", "tenants", **mine))[1]["data"]] == ["blue"]
    for method, path in (("GET", "tenants/red"), ("DELETE", "tenants/red"), ("POST", "tenants/nowhere/block")):
        assert await call(gateway, method, path, **mine) == (404, "tenant_not_found")
    for method, path in (("PATCH", "tenants/red"), ("POST", "tenants/red/block"), ("POST", "tenants/red/unblock")):
        assert await call(gateway, method, path, json={}, **mine) == (404, "tenant_not_found")
    assert await call(gateway, "POST", "tenants", json={"id": "green"}, **mine) == (403, "forbidden")
    assert (await call(gateway, "PATCH", "tenants/blue", json={"name": "B"}, **mine))[1]["name"] == "B"


@pytest.mark.parametrize(
    ("body", "code"),
    [({}, "missing_field"), ({"id": "a/b"}, "invalid_field"), ({"id": ""}, "invalid_field"), ({"id": "a", "x": 1}, 0)],
)
async def test_a_wrong_field_is_refused(gateway: Gateway, body: dict[str, Any], code: str | int) -> None:
    assert await call(gateway, "POST", "tenants", json=body) == (400, code or "invalid_field")
