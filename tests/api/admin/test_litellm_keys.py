"""LiteLLM's /key/*: its names over the same keys."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.admin import administered, bearer
from tests.harness.gateway import TOKEN, Gateway
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("litellm-keys", "110")

FIELDS: dict[str, Any] = {
    "key_alias": "ci",
    "user_id": "ann",
    "team_id": "default",
    "models": ["small"],
    "max_budget": 5.5,
    "soft_budget": 4.0,
    "budget_duration": "7d",
    "rpm_limit": 60,
    "tpm_limit": 1000,
    "max_parallel_requests": 3,
    "metadata": {"a": 1},
    "tags": ["t"],
}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with administered(settings_for(stub), tmp_path) as running:
        yield running


async def post(gateway: Gateway, path: str, **fields: Any) -> dict[str, Any]:
    response = await gateway.http.post(f"/key/{path}", json=fields)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_a_key_is_generated_with_their_names_and_is_one_of_ours(gateway: Gateway) -> None:
    made = await post(gateway, "generate", duration="30d", **FIELDS)
    assert {name: made[name] for name in FIELDS} == FIELDS
    assert made["key"].startswith("sk-")
    assert made["key_name"] == f"sk-...{made['key'][-4:]}"
    assert made["expires"] > made["created_at"]
    ours = (await gateway.http.get(f"/admin/keys/{made['token']}")).json()
    assert ours["budgets"] == [
        {"usd": 5.5, "period": "week", "hard": True},
        {"usd": 4.0, "period": "week", "hard": False},
    ]
    assert ours["rate"] == {"requests_per_minute": 60, "tokens_per_minute": 1000, "streams": 3}
    assert (await gateway.http.get("/v1/models", headers=bearer(made["key"]))).status_code == 200


async def test_a_key_is_generated_without_any_field_or_with_a_text_of_the_callers(gateway: Gateway) -> None:
    assert (await gateway.http.post("/key/generate")).status_code == 200
    made = await post(gateway, "generate", key="sk-chosen-by-the-caller", team_id=None, tags=None, duration=None)
    assert made["key"] == "sk-chosen-by-the-caller"


async def test_info_is_of_the_key_named_or_of_the_callers_own(gateway: Gateway) -> None:
    made = await post(gateway, "generate", key_alias="ci")
    for name in (made["key"], made["token"]):
        found = await gateway.http.get("/key/info", params={"key": name})
        assert found.json()["info"]["key_alias"] == "ci"
        assert made["key"] not in found.text
    own = (await gateway.http.get("/key/info", headers=bearer(made["key"]))).json()
    assert own["info"]["key_alias"] == "ci"
    assert (await gateway.http.get("/key/info", headers=bearer(TOKEN))).json()["info"]["team_id"] == "default"
    foreign = await gateway.http.get("/key/info", params={"key": made["key"]}, headers=bearer(TOKEN))
    assert foreign.status_code == 403
    missing = await gateway.http.get("/key/info", params={"key": "sk-unknown"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "key_not_found")


async def test_an_update_changes_what_it_names_and_keeps_the_rest(gateway: Gateway) -> None:
    made = await post(gateway, "generate", **FIELDS)
    changed = await post(gateway, "update", key=made["key"], max_budget=9, rpm_limit=None, models=["all-proxy-models"])
    expected = {**FIELDS, "max_budget": 9.0, "rpm_limit": None, "models": []}
    assert {name: changed[name] for name in FIELDS} == expected
    closed = await post(gateway, "update", key=made["key"], models=["no-default-models"])
    assert closed["models"] == ["no-default-models"]
    assert (await gateway.http.get("/v1/models", headers=bearer(made["key"]))).json()["data"] == []


async def test_block_unblock_regenerate_and_delete(gateway: Gateway) -> None:
    made = await post(gateway, "generate", key_alias="one")
    other = await post(gateway, "generate", key_alias="two")
    headers = bearer(made["key"])
    assert (await post(gateway, "block", key=made["key"]))["blocked"] is True
    assert (await gateway.http.get("/v1/models", headers=headers)).json()["error"]["code"] == "key_blocked"
    assert (await post(gateway, "unblock", key=made["key"]))["blocked"] is False
    again = await post(gateway, f"{made['key']}/regenerate", max_budget=1)
    assert (again["token"], again["max_budget"]) == (made["token"], 1.0)
    assert (await gateway.http.get("/v1/models", headers=headers)).status_code == 401
    assert (await gateway.http.get("/v1/models", headers=bearer(again["key"]))).status_code == 200
    kept = await post(gateway, "regenerate", key=again["key"], grace_period="1h")
    assert (await gateway.http.get("/v1/models", headers=bearer(again["key"]))).status_code == 200
    gone = await post(gateway, "delete", keys=[kept["key"]], key_aliases=["two"])
    assert gone == {"deleted_keys": [made["token"], other["token"]]}
    for key in (kept["key"], other["key"]):
        assert (await gateway.http.get("/v1/models", headers=bearer(key))).status_code == 401


async def test_keys_are_listed_by_pages(gateway: Gateway) -> None:
    made = [(await post(gateway, "generate", user_id="ann"))["token"] for _ in range(3)]
    await post(gateway, "generate", user_id="ben")
    page = (await gateway.http.get("/key/list?user_id=ann&size=2&page=2&return_full_object=true")).json()
    assert [one["token"] for one in page["keys"]] == made[2:]
    assert (page["total_count"], page["current_page"], page["total_pages"]) == (3, 2, 2)
    assert (await gateway.http.get("/key/list?user_id=ann")).json()["keys"] == made


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"allowed_routes": ["/chat"]}, "allowed_routes"),
        ({"model_max_budget": {"a": 1}}, "model_max_budget"),
        ({"key_type": "read_only"}, "key_type"),
        ({"max_budget": 1, "budget_duration": "11d"}, "budget_duration"),
        ({"max_budget": "many"}, "budgets[0].max_budget"),
        ({"rpm_limit": 0}, "rate.rpm_limit"),
        ({"duration": "x"}, "duration"),
        ({"team_id": "nowhere"}, "tenant"),
        ({"key": "sk-1234"}, "key"),
        ({"key": 5}, "key"),
        ({"models": [1]}, "models.allow[0]"),
    ],
)
async def test_what_cannot_be_kept_is_refused(gateway: Gateway, fields: dict[str, Any], param: str) -> None:
    response = await gateway.http.post("/key/generate", json=fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@covers("116")
async def test_a_key_without_scopes_may_do_none_of_it(gateway: Gateway) -> None:
    for path in ("generate", "update", "delete", "block", "unblock", "regenerate", "x/regenerate"):
        response = await gateway.http.post(f"/key/{path}", json={}, headers=bearer(TOKEN))
        assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden"), path
    assert (await gateway.http.get("/key/list", headers=bearer(TOKEN))).status_code == 403


async def test_without_a_name_nothing_is_done(gateway: Gateway) -> None:
    for path, param in (("update", "key"), ("block", "key"), ("regenerate", "key"), ("delete", "keys")):
        response = await gateway.http.post(f"/key/{path}", json={})
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)
