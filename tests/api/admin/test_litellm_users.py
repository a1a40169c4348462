"""LiteLLM's /user/* and /team/*: its users and teams are our users and tenants."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.admin import administered, bearer
from tests.harness.gateway import TOKEN, Gateway
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("litellm-users", "166")
LIMITS = {
    "max_budget": 5.5,
    "soft_budget": 4.0,
    "budget_duration": "7d",
    "rpm_limit": 60,
    "tpm_limit": 1000,
    "max_parallel_requests": 3,
    "models": ["small"],
}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with administered(settings_for(stub), tmp_path) as running:
        yield running


async def post(gateway: Gateway, path: str, **fields: Any) -> Any:
    response = await gateway.http.post(path, json=fields)
    assert response.status_code == 200, response.text
    return response.json()


async def get(gateway: Gateway, path: str) -> Any:
    response = await gateway.http.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def chat(gateway: Gateway, key: str, model: str = "small", **headers: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return await gateway.http.post("/v1/chat/completions", json=body, headers={**bearer(key), **headers})


async def test_a_user_is_made_with_a_key_and_found_with_both(gateway: Gateway) -> None:
    made = await post(gateway, "/user/new", user_id="ann", user_email="ann@example.org", **LIMITS)
    assert {name: made[name] for name in LIMITS} == LIMITS
    assert (made["user_id"], made["user_email"], made["teams"]) == ("ann", "ann@example.org", ["default"])
    found = await get(gateway, "/user/info?user_id=ann")
    assert found["user_info"]["max_budget"] == 5.5
    assert [one["token"] for one in found["keys"]] == [made["token"]]
    assert [one["team_id"] for one in found["teams"]] == ["default"]
    assert (await get(gateway, "/v2/user/info?user_id=ann"))["user_email"] == "ann@example.org"
    own = (await gateway.http.get("/user/info", headers=bearer(made["key"]))).json()
    assert (own["user_id"], [one["token"] for one in own["keys"]]) == ("ann", [made["token"]])
    assert (await get(gateway, "/user/info"))["keys"][0]["user_id"] == "ann"


async def test_a_user_without_a_key_is_listed_and_forgotten(gateway: Gateway) -> None:
    for name in ("ann", "ben", "cid"):
        made = await post(gateway, "/user/new", user_id=name, auto_create_key=name == "cid")
        assert (made["key"] is None) is (name != "cid")
    page = await get(gateway, "/user/list?page_size=2&page=2")
    assert ([one["user_id"] for one in page["users"]], page["total"], page["total_pages"]) == (["cid"], 3, 2)
    assert page["users"][0]["key_count"] == 1
    assert [one["user_id"] for one in (await get(gateway, "/user/list?user_ids=ben,ann"))["users"]] == ["ann", "ben"]
    key = (await post(gateway, "/key/generate", user_id="ben"))["key"]
    assert await post(gateway, "/user/delete", user_ids=["ben", "ann"]) == 2
    assert (await chat(gateway, key)).status_code == 401
    missing = await gateway.http.get("/user/info?user_id=ben")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "user_not_found")


@pytest.mark.parametrize("by_header", [True, False], ids=["named by header", "bound to the key"])
async def test_limits_of_a_user_hold_for_every_key_and_change_at_once(gateway: Gateway, by_header: bool) -> None:
    await post(gateway, "/user/new", user_id="ann", rpm_limit=1, auto_create_key=False)
    bound = {} if by_header else {"user_id": "ann"}
    headers = {"x-user-id": "ann"} if by_header else {}
    keys = [(await post(gateway, "/key/generate", **bound))["key"] for _ in range(2)]
    assert (await chat(gateway, keys[0], **headers)).status_code == 200
    assert (await chat(gateway, keys[1], **headers)).json()["error"]["code"] == "rate_limit_exceeded"
    await post(gateway, "/user/update", user_id="ann", rpm_limit=None, models=["other"])
    assert (await chat(gateway, keys[1], **headers)).json()["error"]["code"] == "model_forbidden"
    await post(gateway, "/user/update", user_id="ann", models=[], blocked=True)
    assert (await chat(gateway, keys[1], **headers)).json()["error"]["code"] == "key_blocked"
    await post(gateway, "/user/update", user_id="ann", blocked=False)
    assert (await chat(gateway, keys[1], **headers)).status_code == 200
    assert (await chat(gateway, keys[1], **{"x-user-id": "ben"})).status_code == 200


async def test_an_update_keeps_what_it_does_not_name(gateway: Gateway) -> None:
    await post(gateway, "/user/new", user_id="ann", user_email="a@example.org", auto_create_key=False, **LIMITS)
    changed = await post(gateway, "/user/update", user_email="a@example.org", max_budget=9, user_alias="Ann")
    expected = {**LIMITS, "max_budget": 9.0, "user_alias": "Ann", "user_email": "a@example.org"}
    assert {name: changed["data"][name] for name in expected} == expected


async def test_a_team_is_a_tenant_with_members_and_ends_with_its_keys(gateway: Gateway) -> None:
    members = [{"role": "user", "user_id": "ann"}]
    made = await post(gateway, "/team/new", team_id="blue", team_alias="Blue", members_with_roles=members, **LIMITS)
    assert {name: made[name] for name in LIMITS} == LIMITS
    assert (made["members"], made["team_alias"], made["spend"]) == (["ann"], "Blue", 0.0)
    assert (await get(gateway, "/admin/tenants/blue"))["name"] == "Blue"
    key = (await post(gateway, "/key/generate", team_id="blue", user_id="ann"))["key"]
    added = await post(
        gateway, "/team/member_add", team_id="blue", member={"role": "user", "user_id": "ben"}, max_budget_in_team=2
    )
    assert added["updated_team_memberships"][0]["litellm_budget_table"]["max_budget"] == 2.0
    changed = await post(gateway, "/team/member_update", team_id="blue", user_id="ben", max_budget_in_team=3)
    assert changed["max_budget_in_team"] == 3.0
    found = await get(gateway, "/team/info?team_id=blue")
    assert (found["team_info"]["members"], len(found["keys"])) == (["ann", "ben"], 1)
    assert len(found["team_memberships"]) == 2
    assert (await post(gateway, "/team/member_delete", team_id="blue", user_id="ben"))["members"] == ["ann"]
    assert (await post(gateway, "/team/block", team_id="blue"))["blocked"] is True
    assert (await chat(gateway, key)).json()["error"]["code"] == "key_blocked"
    await post(gateway, "/team/unblock", team_id="blue")
    renamed = await post(gateway, "/team/update", team_id="blue", team_alias="Navy", models=[])
    assert (renamed["data"]["team_alias"], renamed["data"]["models"]) == ("Navy", [])
    assert renamed["data"]["max_budget"] == 5.5
    assert (await chat(gateway, key)).status_code == 200
    assert await post(gateway, "/team/delete", team_ids=["blue"]) == {"deleted_teams": ["blue"]}
    assert (await chat(gateway, key)).status_code == 401
    assert (await gateway.http.get("/user/info?user_id=ann")).status_code == 404
    assert (await gateway.http.get("/team/info?team_id=blue")).status_code == 404


async def test_teams_are_listed_with_members_and_keys_and_by_pages(gateway: Gateway) -> None:
    for name in ("blue", "red"):
        await post(gateway, "/team/new", team_id=name, team_alias=name.title(), members=[f"user-of-{name}"])
    token = (await post(gateway, "/key/generate", team_id="red"))["token"]
    listed = {one["team_id"]: one for one in await get(gateway, "/team/list")}
    assert set(listed) == {"blue", "default", "red"}
    assert [one["token"] for one in listed["red"]["keys"]] == [token]
    assert [one["user_id"] for one in listed["red"]["team_memberships"]] == ["user-of-red"]
    assert [one["team_id"] for one in await get(gateway, "/team/list?user_id=user-of-blue")] == ["blue"]
    page = await get(gateway, "/v2/team/list?page=2&page_size=2")
    assert ([one["team_id"] for one in page["teams"]], page["total"], page["total_pages"]) == (["red"], 3, 2)
    assert [one["team_id"] for one in (await get(gateway, "/v2/team/list?team_alias=blu"))["teams"]] == ["blue"]
    assert await get(gateway, "/team/available") == []


async def test_a_user_of_two_teams_has_limits_in_each(gateway: Gateway) -> None:
    for name in ("blue", "red"):
        await post(gateway, "/team/new", team_id=name)
    made = await post(gateway, "/user/new", user_id="ann", teams=["blue", "red"])
    assert (made["teams"], made["team_id"]) == (["blue", "red"], "blue")
    unclear = await gateway.http.post("/user/update", json={"user_id": "ann", "max_budget": 1})
    assert (unclear.status_code, unclear.json()["error"]["param"]) == (400, "team_id")
    changed = await post(gateway, "/user/update", user_id="ann", team_id="red", max_budget=1)
    assert (changed["data"]["teams"], changed["data"]["max_budget"]) == (["red"], 1.0)
    assert await post(gateway, "/user/delete", user_ids=["ann"]) == 1


async def test_what_fails_in_the_middle_leaves_nothing(gateway: Gateway) -> None:
    await post(gateway, "/key/generate", key_alias="taken")
    refused = await gateway.http.post("/user/new", json={"user_id": "ann", "key_alias": "taken"})
    assert refused.status_code == 409
    assert (await gateway.http.get("/user/info?user_id=ann")).status_code == 404
    twice = {"team_id": "blue", "members": ["ann", "ann"]}
    assert (await gateway.http.post("/team/new", json=twice)).status_code == 409
    assert (await gateway.http.get("/team/info?team_id=blue")).status_code == 404
    await post(gateway, "/team/new", team_id="blue", members=["ben"])
    both = {"team_id": "blue", "member": [{"user_id": "cid"}, {"user_id": "ben"}]}
    assert (await gateway.http.post("/team/member_add", json=both)).status_code == 409
    assert (await get(gateway, "/team/info?team_id=blue"))["team_info"]["members"] == ["ben"]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/user/new", {"user_role": "proxy_admin"}, "user_role"),
        ("/user/new", {"organizations": ["x"]}, "organizations"),
        ("/user/new", {"guardrails": ["x"]}, "guardrails"),
        ("/user/new", {"spend": 1}, "spend"),
        ("/user/new", {"send_invite_email": True}, "send_invite_email"),
        ("/user/new", {"max_budget": 1, "budget_duration": "11d"}, "budget_duration"),
        ("/user/new", {"teams": ["a", "b"], "max_budget": 1}, "teams"),
        ("/user/new", {"teams": ["nowhere"]}, "tenant"),
        ("/user/new", {"models": "small"}, "models"),
        ("/user/update", {"max_budget": 1}, "user_id"),
        ("/user/delete", {}, "user_ids"),
        ("/team/new", {"organization_id": "x"}, "organization_id"),
        ("/team/new", {"team_id": "a b"}, "team_id"),
        ("/team/new", {"model_aliases": {"a": "b"}}, "model_aliases"),
        ("/team/new", {"members_with_roles": [{"user_id": "a", "role": "admin"}]}, "member.role"),
        ("/team/update", {"max_budget": 1}, "team_id"),
        ("/team/member_add", {"team_id": "default"}, "member"),
        ("/team/member_add", {"team_id": "default", "member": {"role": "user"}}, "member.user_id"),
        ("/team/member_add", {"team_id": "default", "member": {"user_id": "a", "role": "admin"}}, "member.role"),
        ("/key/generate", {"of_nobody": 1}, "of_nobody"),
        ("/key/generate", {"spend": 3}, "spend"),
        ("/key/generate", {"budget_limits": [{"max_budget": 1}]}, "budget_limits"),
    ],
)
async def test_what_is_not_honoured_is_refused_by_its_name(
    gateway: Gateway, path: str, fields: dict[str, Any], param: str
) -> None:
    response = await gateway.http.post(path, json=fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text


async def test_parameters_that_make_no_difference_are_named(gateway: Gateway) -> None:
    for path in ("/user/list", "/team/list", "/v2/team/list", "/key/list", "/global/spend/logs"):
        response = await gateway.http.get(path, params={"sort_by": "spend"})
        assert response.headers["x-headgate-ignored"] == "sort_by", path


async def test_errors_have_the_types_that_litellms_clients_look_at(gateway: Gateway) -> None:
    key = (await post(gateway, "/key/generate", key_alias="one"))["key"]
    for path, headers, kind, code in (
        ("/key/info", bearer("sk-unknown-to-anybody"), "token_not_found_in_db", "invalid_authorization"),
        ("/key/info?key=sk-unknown", {}, "token_not_found_in_db", "key_not_found"),
        ("/team/list", bearer(TOKEN), "auth_error", "forbidden"),
        ("/user/info?user_id=nobody", {}, "not_found_error", "user_not_found"),
    ):
        error = (await gateway.http.get(path, headers=headers)).json()["error"]
        assert (error["type"], error["code"]) == (kind, code), path
    await post(gateway, "/key/block", key=key)
    blocked = (await gateway.http.get("/key/info", headers=bearer(key))).json()["error"]
    assert (blocked["type"], blocked["code"]) == ("auth_error", "key_blocked")
    ours = (await gateway.http.get("/admin/keys", headers=bearer(key))).json()["error"]
    assert ours["type"] == "authentication_error"


@pytest.mark.parametrize("path", ["/budget/new", "/customer/info", "/organization/list", "/model/new", "/cache/ping"])
async def test_routes_that_are_not_had_say_what_to_do_instead(gateway: Gateway, path: str) -> None:
    response = await gateway.http.post(path, json={})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "route_not_found")
    assert len(error["message"]) > len(f"There is no {path} here. ") + 20
