"""`/v1/tenant/config`: who sees and sets what, and where each value comes from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness.admin import administered
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import Stub
from tests.harness.tenants import ask, caller, code_of, new_key, put, said, tree
from tests.requirements import covers

CONFIG = "/v1/tenant/config"
BLUE = {"settings": {"retries": 1, "markup": "2"}, "rate": {"requests_per_minute": 100}}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    more = {"parameters": {"reasoning_effort": "high"}}
    async with running_gateway(tree(stub, BLUE, **more), tmp_path) as running:
        yield running


@covers("117")
async def test_every_setting_is_shown_with_its_value_source_and_levels(gateway: Gateway) -> None:
    answer = (await gateway.http.get(CONFIG, params={"tenant": "blue"})).json()
    assert (answer["object"], answer["tenant"]) == ("tenant.config", "blue")
    shown = answer["settings"]
    assert {key: (shown[key]["value"], shown[key]["source"]) for key in ("drop_unsupported", "retries", "tags")} == {
        "drop_unsupported": (False, "builtin"),
        "retries": (1, "yaml"),
        "tags": ([], "builtin"),
    }
    assert (shown["reasoning_effort"]["value"], shown["reasoning_effort"]["source"]) == ("high", "process")
    assert (shown["requests_per_minute"]["value"], shown["requests_per_minute"]["source"]) == (100, "yaml")
    assert shown["retries"]["levels"] == ["builtin", "process", "yaml", "db"]
    assert shown["retries"]["given"] == {"builtin": 2, "yaml": 1}
    assert {key for key, one in shown.items() if not one["writable"]} == {
        *("models.allow", "models.deny", "markup", "log_requests", "environment", "user_header")
    }


@covers("117")
async def test_a_value_that_is_put_is_of_the_database_and_deleting_it_brings_back_the_one_above(
    gateway: Gateway,
) -> None:
    answer = await put(gateway, retries=3, reasoning_effort="low", tags=["t"])
    assert answer.status_code == 200
    assert {key: (one["value"], one["source"]) for key, one in answer.json()["settings"].items()} == {
        "retries": (3, "db"),
        "reasoning_effort": ("low", "db"),
        "tags": (["t"], "db"),
    }
    sources = []
    for key in ("retries", "reasoning_effort", "tags"):
        deleted = (await gateway.http.delete(f"{CONFIG}/{key}", params={"tenant": "blue"})).json()
        sources.append((deleted["value"], deleted["source"]))
    assert sources == [(1, "yaml"), ("high", "process"), ([], "builtin")]
    assert await said(gateway, "retries") == (1, "yaml")


@covers("117")
async def test_a_single_setting_is_put_by_its_own_address(gateway: Gateway) -> None:
    answer = await gateway.http.put(f"{CONFIG}/timeout", params={"tenant": "blue"}, json={"value": 30})
    assert (answer.json()["value"], answer.json()["source"], answer.json()["tenant"]) == (30.0, "db", "blue")
    missing = await gateway.http.put(f"{CONFIG}/timeout", params={"tenant": "blue"}, json={"timeout": 30})
    assert code_of(missing) == (400, "missing_field", "value")


@covers("117")
async def test_all_of_a_tenants_own_values_are_taken_away_at_once(gateway: Gateway) -> None:
    await put(gateway, retries=3, timeout=9)
    await put(gateway, "default", retries=5)
    cleared = await gateway.http.delete(CONFIG, params={"tenant": "blue"})
    assert {key: one["source"] for key, one in cleared.json()["settings"].items()} == {
        "retries": "yaml",
        "timeout": "builtin",
    }
    assert await said(gateway, "retries", "default") == (5, "db")


@covers("117")
async def test_of_several_values_one_that_is_wrong_leaves_all_as_they_were(gateway: Gateway) -> None:
    assert code_of(await put(gateway, retries=0, timeout="soon")) == (400, "invalid_field", "timeout")
    assert await said(gateway, "retries") == (1, "yaml")


@covers("117")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("retries", 11), ("retries", "2"), ("retries", True), ("retries", None), ("timeout", 0)),
        *(("timeout", float(10**9)), ("reasoning_effort", "banana"), ("drop_unsupported", "yes"), ("tags", "one")),
        *(("tags", [""]), ("defaults", []), ("budgets", [{"usd": -1}]), ("budgets", [{"eur": 1}])),
        *(("streams", 0), ("requests_per_minute", 1.5), ("models.only", [3]), ("typical_answer", 0)),
        ("defaults", {"stop": "x" * 40_000}),
    ],
)
async def test_a_value_of_the_wrong_kind_names_the_key_and_what_it_takes(
    gateway: Gateway, key: str, value: object
) -> None:
    answer = await put(gateway, **{key: value})
    assert code_of(answer) == (400, "invalid_field", key)
    assert f"'{key}'" in answer.json()["error"]["message"]


@covers("117")
async def test_an_unknown_setting_is_refused_with_the_names_there_are(gateway: Gateway) -> None:
    for answer in (
        await put(gateway, retrys=1),
        await gateway.http.get(f"{CONFIG}/retrys"),
        await gateway.http.put(f"{CONFIG}/retrys", json={"value": 1}),
        await gateway.http.delete(f"{CONFIG}/retrys"),
    ):
        assert code_of(answer) == (400, "tenant_config_key_unknown", "retrys")
        message = answer.json()["error"]["message"]
        assert "Did you mean 'retries'?" in message
        assert "reasoning_effort" in message


@covers("118")
@pytest.mark.parametrize("key", ["markup", "models.allow", "models.deny", "log_requests", "environment", "user_header"])
async def test_a_read_only_setting_is_neither_put_nor_deleted(gateway: Gateway, key: str) -> None:
    value = {"markup": "1", "log_requests": False, "user_header": "x"}.get(key, [])
    for answer in (
        await put(gateway, **{key: value}),
        await gateway.http.put(f"{CONFIG}/{key}", json={"value": value}),
        await gateway.http.delete(f"{CONFIG}/{key}"),
        await gateway.http.delete(CONFIG, params={"key": key}),
    ):
        assert code_of(answer) == (400, "tenant_config_key_readonly", key)


@covers("116", "117")
async def test_a_tenant_sees_and_sets_only_its_own(gateway: Gateway) -> None:
    scopes = ["tenant_config:read", "tenant_config:write"]
    async with caller(gateway, await new_key(gateway, tenant="blue", scopes=scopes)) as blue:
        assert (await blue.get(CONFIG)).json()["tenant"] == "blue"
        assert (await blue.put(CONFIG, json={"retries": 0})).status_code == 200
        for foreign in ({"params": {"tenant": "default"}}, {"headers": {"x-tenant-id": "default"}}):
            assert code_of(await blue.get(CONFIG, **foreign)) == (404, "tenant_not_found", "tenant")  # type: ignore[arg-type]
            assert (await blue.delete(CONFIG, **foreign)).status_code == 404  # type: ignore[arg-type]
    assert await said(gateway, "retries", "default") == (2, "builtin")
    assert (await gateway.http.get(CONFIG, params={"tenant": "nowhere"})).status_code == 404
    assert (await gateway.http.get(CONFIG, headers={"x-tenant-id": "blue"})).json()["tenant"] == "blue"


@covers("116", "117")
async def test_reading_and_writing_need_scopes_of_their_own(gateway: Gateway) -> None:
    async with caller(gateway, await new_key(gateway, tenant="blue", scopes=["tenant_config:read"])) as reader:
        assert (await reader.get(CONFIG)).status_code == 200
        refused = await reader.put(CONFIG, json={"retries": 0})
        assert code_of(refused)[:2] == (403, "forbidden")
        assert "tenant_config:write" in refused.json()["error"]["message"]
    other = await new_key(gateway, scopes=["tenant_config:write:blue"])
    async with caller(gateway, other, **{"x-tenant-id": "blue"}) as writer:
        assert (await writer.put(CONFIG, json={"retries": 0})).status_code == 200


@covers("117")
async def test_settings_outlive_a_restart_but_not_their_tenant(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub), tmp_path) as first:
        await first.http.post("/admin/tenants", json={"id": "green"})
        await put(first, "green", tags=["g"])
        await put(first, tags=["b"])
    async with running_gateway(tree(stub), tmp_path) as second:
        assert await said(second, "tags") == (["b"], "db")
        assert await said(second, "tags", "green") == (["g"], "db")
        await second.http.delete("/admin/tenants/green")
        await second.http.post("/admin/tenants", json={"id": "green"})
        assert await said(second, "tags", "green") == ([], "builtin")


@covers("117")
async def test_a_change_is_in_force_with_the_next_request_in_every_worker(stub: Stub, tmp_path: Path) -> None:
    async with administered(tree(stub), tmp_path) as one, administered(tree(stub), tmp_path) as other:
        key = await new_key(one, tenant="blue")
        async with caller(other, key) as client:
            assert (await ask(client)).status_code == 200
            await put(one, **{"models.except": ["small"]})
            assert code_of(await ask(client)) == (403, "model_forbidden", "model")
            assert await said(other, "models.except") == (["small"], "db")
            await other.http.delete(CONFIG, params={"tenant": "blue"})
            assert (await ask(client)).status_code == 200
        async with caller(one, key) as client:
            assert (await ask(client)).status_code == 200


@covers("117")
async def test_without_a_database_the_settings_of_the_file_hold_and_the_routes_say_so(stub: Stub) -> None:
    made = tree(stub, {"settings": {"require_user": True}})
    async with running_gateway(made) as gateway, caller(gateway) as blue:
        assert code_of(await gateway.http.get(CONFIG))[:2] == (503, "database_unavailable")
        assert code_of(await ask(blue)) == (400, "user_required", "x-user-id")
        async with caller(gateway, KEY) as master:
            assert (await ask(master)).status_code == 200
