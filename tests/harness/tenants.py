"""A gateway with tenants in its file, and callers with keys of their own."""

from typing import Any

import httpx

from tests.conftest import settings_for
from tests.harness.gateway import Gateway
from tests.harness.stub import BOUND, Stub

PRICE = {"input": "1.5", "output": "6"}
BLUE_KEY = "sk-blue-tenant-key-0001"


def tree(stub: Stub, blue: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Settings with the tenant `blue` and the models `small` and `large`, of which only the first has a price."""
    made = settings_for(stub, **more)
    made["models"] = [
        {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "price": PRICE},
        {"name": "large", "targets": [{"upstream": "stub", "model": "stub-large"}]},
    ]
    made["routing"] = {"first_pause": 0.001, **more.get("routing", {})}
    made["tenants"] = [{"id": "blue", "keys": [BLUE_KEY], **(blue or {})}]
    return made


def caller(gateway: Gateway, key: str = BLUE_KEY, **headers: str) -> httpx.AsyncClient:
    """Whoever comes with a key; that of the tenant `blue`, unless told otherwise."""
    sent = {"authorization": f"Bearer {key}", **headers}
    return httpx.AsyncClient(base_url=gateway.url, headers=sent, timeout=BOUND)


async def new_key(gateway: Gateway, **fields: Any) -> str:
    """The text of a key made at run time."""
    response = await gateway.http.post("/admin/keys", json=fields)
    assert response.status_code == 201, response.text
    key: str = response.json()["key"]
    return key


async def ask(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10, **fields}
    return await client.post("/v1/chat/completions", json=body)


async def put(gateway: Gateway, tenant: str = "blue", /, **values: Any) -> httpx.Response:
    """Set some of a tenant's settings with the master key."""
    return await gateway.http.put("/v1/tenant/config", params={"tenant": tenant}, json=values)


async def said(gateway: Gateway, key: str, tenant: str = "blue") -> tuple[Any, str]:
    """(value, source) of a setting."""
    answer = (await gateway.http.get(f"/v1/tenant/config/{key}", params={"tenant": tenant})).json()
    return answer["value"], answer["source"]


def code_of(response: httpx.Response) -> tuple[int, str, str | None]:
    """(status, code, param) of an error."""
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]
