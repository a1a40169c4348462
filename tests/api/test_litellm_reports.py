"""LiteLLM's spend reports and health routes over a ledger that is known."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.admin import bearer
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

pytestmark = covers("litellm-reports", "113")
PRICE = {"input": "1.5", "output": "6"}
COST = (7 * 1.5 + 3 * 6) / 1e6
TODAY = datetime.now(UTC).date()
DATES = {"start_date": f"{TODAY}", "end_date": f"{TODAY}"}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Two calls of ann's in team blue with tag red, to two models, and one of the token's."""
    settings = settings_for(stub, limits={"gateway": {"budgets": [{"usd": 9}]}})
    settings["models"] = [
        {"name": name, "targets": [{"upstream": "stub", "model": name}], "price": PRICE} for name in ("small", "large")
    ]
    async with running_gateway(settings, tmp_path) as running:
        await running.http.post("/team/new", json={"team_id": "blue", "members": ["ann"]})
        made = {"team_id": "blue", "user_id": "ann", "tags": ["red"], "max_budget": 1, "budget_duration": "1d"}
        key = (await running.http.post("/key/generate", json=made)).json()
        for model, text in (("small", key["key"]), ("large", key["key"]), ("small", TOKEN)):
            body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
            response = await running.http.post("/v1/chat/completions", json=body, headers=bearer(text))
            assert response.status_code == 200
        async with asyncio.timeout(BOUND):
            while (await running.http.get("/admin/usage")).json()["total"]["requests"] < 3:
                await asyncio.sleep(0.05)
        running.http.headers["x-of-the-test"] = key["token"]
        yield running


async def get(gateway: Gateway, path: str, **asked: str) -> Any:
    response = await gateway.http.get(path, params=asked)
    assert response.status_code == 200, response.text
    return response.json()


def spend(calls: int) -> Any:
    return pytest.approx(COST * calls)


async def test_keys_users_and_teams_show_what_they_spent(gateway: Gateway) -> None:
    key = gateway.http.headers["x-of-the-test"]
    info = (await get(gateway, "/key/info", key=key))["info"]
    assert (info["spend"], info["max_budget"]) == (spend(2), 1.0)
    assert datetime.fromisoformat(info["budget_reset_at"]) > datetime.now(UTC)
    assert (await get(gateway, "/user/info", user_id="ann"))["user_info"]["spend"] == spend(2)
    team = await get(gateway, "/team/info", team_id="blue")
    assert (team["team_info"]["spend"], team["team_memberships"][0]["spend"]) == (spend(2), spend(2))
    listed = await get(gateway, "/key/list", return_full_object="true")
    assert [one["spend"] for one in listed["keys"]] == [spend(2)]


async def test_what_was_spent_in_all_by_day_key_model_team_tag_and_user(gateway: Gateway) -> None:
    key = gateway.http.headers["x-of-the-test"]
    assert await get(gateway, "/global/spend") == {"spend": spend(3), "max_budget": 9.0}
    assert await get(gateway, "/global/spend/logs") == [{"date": f"{TODAY}", "spend": spend(3)}]
    assert await get(gateway, "/global/spend/logs", api_key=key) == [{"date": f"{TODAY}", "spend": spend(2)}]
    [first] = await get(gateway, "/global/spend/keys", limit="1")
    assert (first["api_key"], first["total_spend"]) == (key, spend(2))
    models = await get(gateway, "/global/spend/models")
    assert [(one["model"], one["total_spend"]) for one in models] == [("small", spend(2)), ("large", spend(1))]
    teams = await get(gateway, "/global/spend/teams")
    assert teams["daily_spend"] == [{"date": f"{TODAY}", "blue": spend(2), "default": spend(1)}]
    assert teams["total_spend_per_team"][0] == {"team_id": "blue", "total_spend": spend(2)}
    tags = await get(gateway, "/global/spend/tags", tags="red,green")
    assert tags == {"spend_per_tag": [{"name": "red", "spend": spend(2), "log_count": 2}]}
    users = (await gateway.http.post("/global/spend/end_users", json={"api_key": key})).json()
    assert users == [{"end_user": "ann", "total_count": 2, "total_spend": spend(2)}]
    assert await get(gateway, "/global/all_end_users") == {"end_users": ["ann"]}


async def test_reports_and_activity_by_day(gateway: Gateway) -> None:
    [day] = await get(gateway, "/global/spend/report", **DATES)
    assert [(one["team_name"], one["total_spend"]) for one in day["teams"]] == [
        ("blue", spend(2)),
        ("default", spend(1)),
    ]
    [day] = await get(gateway, "/global/spend/report", group_by="customer", customer_id="ann", **DATES)
    assert [one["customer"] for one in day["customers"]] == ["ann"]
    assert {one["model"] for one in day["customers"][0]["metadata"]} == {"small", "large"}
    activity = await get(gateway, "/global/activity", **DATES)
    assert (activity["sum_api_requests"], activity["sum_total_tokens"]) == (3, 30)
    models = await get(gateway, "/global/activity/model", **DATES)
    assert {one["model"]: one["sum_api_requests"] for one in models} == {"large": 1, "small": 2}


@pytest.mark.parametrize(
    ("path", "asked", "entities"),
    [
        ("/user/daily/activity", {}, {"ann"}),
        ("/user/daily/activity", {"user_id": "nobody"}, set()),
        ("/team/daily/activity", {}, {"blue", "default"}),
        ("/team/daily/activity", {"team_ids": "blue"}, {"blue"}),
        ("/tag/daily/activity", {"tags": "red"}, {"red"}),
    ],
)
async def test_daily_activity_has_sums_by_entity_model_and_key(
    gateway: Gateway, path: str, asked: dict[str, str], entities: set[str]
) -> None:
    found = await get(gateway, path, **DATES, **asked)
    named = {name for day in found["results"] for name in day["breakdown"]["entities"]}
    assert named == entities
    calls = sum(day["metrics"]["api_requests"] for day in found["results"])
    assert found["metadata"]["total_spend"] == spend(calls)
    for day in found["results"]:
        for kind in ("models", "api_keys"):
            held = day["breakdown"][kind].values()
            assert sum(one["metrics"]["spend"] for one in held) == pytest.approx(day["metrics"]["spend"])


async def test_a_key_without_a_scope_sees_what_it_spent_itself(gateway: Gateway) -> None:
    gateway.http.headers.update(bearer(TOKEN))
    assert (await get(gateway, "/global/spend"))["spend"] == spend(1)
    assert len(await get(gateway, "/global/spend/keys")) == 1
    assert (await get(gateway, "/team/daily/activity", **DATES))["metadata"]["total_api_requests"] == 1


@pytest.mark.parametrize(
    ("path", "asked", "param"),
    [
        ("/global/activity", {}, "start_date"),
        ("/global/spend/report", {**DATES, "group_by": "moon"}, "group_by"),
        ("/user/daily/activity", {"start_date": "soon", "end_date": "later"}, "start_date"),
        ("/global/spend/keys", {"limit": "0"}, "limit"),
        ("/health/services", {}, "service"),
        ("/health/services", {"service": "slack"}, "service"),
    ],
)
async def test_wrong_parameters_are_named(gateway: Gateway, path: str, asked: dict[str, str], param: str) -> None:
    response = await gateway.http.get(path, params=asked)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_health_tells_the_targets_to_holders_of_a_key(gateway: Gateway) -> None:
    found = await get(gateway, "/health")
    assert (found["healthy_count"], found["unhealthy_count"]) == (2, 0)
    assert [one["model"] for one in found["healthy_endpoints"]] == ["stub/small", "stub/large"]
    assert (await get(gateway, "/health", model="small"))["healthy_count"] == 1
    ready = await get(gateway, "/health/readiness")
    assert (ready["status"], ready["db"]) == ("ready", "connected")
    assert ready["litellm_version"].startswith("headgate/")
    del gateway.http.headers["authorization"]
    assert set(await get(gateway, "/health")) == {"status", "version"}


async def test_the_budget_of_the_gateway_holds_for_the_master_key_too(stub: Stub, tmp_path: Path) -> None:
    settings = settings_for(stub, limits={"gateway": {"budgets": [{"usd": "0.0002"}]}})
    settings["models"] = [{"name": "small", "targets": [{"upstream": "stub", "model": "m"}], "price": PRICE}]
    async with running_gateway(settings, tmp_path) as running:
        assert (await running.chat(max_tokens=10)).status_code == 200
        refused = await running.chat(max_tokens=100)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
