"""Runs as objects: listed, shown with the decision that was made, by those who may."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, stream, stream_pieces
from tests.journeys.test_money import ask, new_key
from tests.requirements import covers

pytestmark = covers("162")
PRICE = {"input": "1.5", "output": "6"}
BUSY = Answer(status=503, body=b"{}")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


def target(name: str) -> dict[str, Any]:
    return {"upstream": "stub", "model": name}


def settings(stub: Stub, **more: Any) -> dict[str, Any]:
    made = settings_for(stub, **more)
    made["models"] = [
        {"name": "small", "targets": [target("stub-small")], "price": PRICE, "retries": 0},
        {"name": "many", "targets": [target("one"), target("two"), target("three")], "retries": 0},
        {"name": "spread", "targets": [target("a"), target("b")], "balance": "least_busy", "retries": 0},
        {"name": "first", "targets": [target("only")], "retries": 0, "fallbacks": ["many"]},
        {"name": "copied", "targets": [target("c")], "retries": 0, "mirror": {"model": "small"}},
    ]
    made["routing"] = {"first_pause": 0.001}
    return made


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def show(caller: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    response = await caller.get(f"/v1/runs/{run_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def listed(caller: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    response = await caller.get("/v1/runs", params=asked)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]
    return found


async def run_of(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    """A request, and what is known of its run as soon as it was answered."""
    response = await gateway.chat(**fields)
    return await show(gateway.http, response.headers["x-request-id"])


def candidates(run: dict[str, Any], at: int = 0) -> list[tuple[str, str]]:
    return [(one["target"], one["result"]) for one in run["decision"]["models"][at]["candidates"]]


@both_ways
async def test_a_run_is_shown_with_what_it_used_as_soon_as_it_was_answered(gateway: Gateway, streamed: bool) -> None:
    run = await run_of(gateway, stream=streamed)
    assert (run["status"], run["model"], run["answered_by"]) == ("completed", "small", "stub/stub-small")
    assert (run["prompt_tokens"], run["completion_tokens"], run["measure"]) == (7, 3, "reported")
    assert float(run["cost_usd"]) == pytest.approx((7 * 1.5 + 3 * 6) / 1e6)
    [attempt] = run["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["error"]) == (1, "ok", None)
    assert 0 <= attempt["first_token_ms" if streamed else "duration_ms"] <= run["duration_ms"]
    [model] = run["decision"]["models"]
    assert (model["rule"], candidates(run)) == ("only target", [("stub/stub-small", "answered")])
    assert run["children"] == []


@covers("163")
async def test_a_past_run_shows_its_candidates_in_order_with_the_reason_for_each(gateway: Gateway, stub: Stub) -> None:
    stub.answer(BUSY)
    run = await run_of(gateway, model="many")
    assert candidates(run) == [("stub/one", "failed"), ("stub/two", "answered"), ("stub/three", "not_tried")]
    failed, answered, _ = run["decision"]["models"][0]["candidates"]
    assert "upstream_unavailable" in failed["reason"]
    assert answered["reason"] == "the first in order that was ready"
    assert [one["error"] for one in run["attempts"]] == ["upstream_unavailable", None]
    assert (run["tries"], run["status"]) == (2, "completed")


@covers("163")
async def test_a_target_that_was_passed_over_says_why(gateway: Gateway, stub: Stub) -> None:
    stub.otherwise = lambda request: BUSY if request.json["model"] == "one" else chat()
    for _ in range(3):
        await gateway.chat(model="many")
    run = await run_of(gateway, model="many")
    assert candidates(run)[:2] == [("stub/one", "not_tried"), ("stub/two", "answered")]
    stub.otherwise = lambda request: BUSY
    run = await run_of(gateway, model="many")
    assert run["status"] == "failed"
    assert "resting after" in run["decision"]["passed_over"]["stub/one"]
    assert run["attempts"][-1]["target"] == "stub/one"


@covers("163")
async def test_the_scores_that_decided_are_kept(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()[:2], hang=True))
    async with gateway.http.stream("POST", "/v1/chat/completions", json={**ASKED, "model": "spread"}) as first:
        await anext(first.aiter_bytes())
        taken = first.headers["x-headgate-target"]
        run = await run_of(gateway, model="spread")
    [model] = run["decision"]["models"]
    other = next(name for name, _ in candidates(run) if name != taken)
    assert model["choices"] == [{"rule": "least_busy", "scores": {taken: 1, other: 0}}]
    assert run["answered_by"] == other


@covers("163")
async def test_a_fallback_shows_both_models_and_wishes_what_became_of_them(gateway: Gateway, stub: Stub) -> None:
    stub.answer(BUSY)
    gateway.http.headers["x-headgate-retries"] = "99"
    stub.otherwise = lambda request: Answer(status=500) if request.json["model"] == "only" else chat()
    run = await run_of(gateway, model="first")
    assert [(one["model"], one["hop"]) for one in run["decision"]["models"]] == [("first", 0), ("many", 1)]
    assert candidates(run, 1)[0] == ("stub/one", "answered")
    assert run["decision"]["wishes"] == {"retries": 5}
    assert run["decision"]["applied"] == ["retries=5"]
    assert (await listed(gateway.http, model="many"))[0]["id"] == run["id"]


async def test_lists_are_newest_first_filtered_and_paged_without_gaps(gateway: Gateway, stub: Stub) -> None:
    for number in range(5):
        gateway.http.headers["x-request-id"] = f"mine-{number}"
        await gateway.chat(model="many" if number % 2 else "small")
    stub.answer(BUSY)
    gateway.http.headers["x-request-id"] = "bad"
    await gateway.chat()
    del gateway.http.headers["x-request-id"]
    seen, after = [], None
    while True:
        page = (await gateway.http.get("/v1/runs", params={"limit": 2, **({"after": after} if after else {})})).json()
        seen += [run["id"] for run in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == ["bad", "mine-4", "mine-3", "mine-2", "mine-1", "mine-0"]
    assert [run["id"] for run in await listed(gateway.http, model="many")] == ["mine-3", "mine-1"]
    assert [run["id"] for run in await listed(gateway.http, status="failed")] == ["bad"]
    assert len(await listed(gateway.http, status="completed", since="2020-01-01")) == 5
    assert await listed(gateway.http, until="2020-01-01") == []
    assert await listed(gateway.http, user="nobody") == []


@pytest.mark.parametrize(
    ("name", "value"), [("status", "odd"), ("since", "x"), ("limit", "0"), ("limit", "1001"), ("after", "zz")]
)
async def test_a_wrong_parameter_is_named(gateway: Gateway, name: str, value: str) -> None:
    response = await gateway.http.get("/v1/runs", params={name: value})
    assert (response.status_code, response.json()["error"]["param"]) == (400, name)


async def test_an_id_with_slashes_is_found(gateway: Gateway) -> None:
    await gateway.http.post("/v1/embeddings", json={"model": "small", "input": "x"}, headers={"x-request-id": "a/b/1"})
    assert (await show(gateway.http, "a/b/1"))["id"] == "a/b/1"
    assert (await show(gateway.http, "a%2Fb%2F1"))["route"] == "embeddings"
    ended = await gateway.http.post("/v1/runs/a/b/1/cancel")
    assert ended.json()["error"]["code"] == "run_not_running"


@covers("116")
async def test_a_key_sees_its_own_runs_and_with_the_scope_those_of_its_tenant(gateway: Gateway) -> None:
    await gateway.http.post("/admin/tenants", json={"id": "blue"})
    one, other = await new_key(gateway), await new_key(gateway)
    reader = await new_key(gateway, scopes=["runs:read"])
    away = await new_key(gateway, tenant="blue", scopes=["runs:read"])
    async with one, other, reader, away:
        run_id = (await ask(one)).headers["x-request-id"]
        for caller, may in ((one, True), (other, False), (reader, True), (away, False), (gateway.http, True)):
            found = await caller.get(f"/v1/runs/{run_id}")
            assert found.status_code == (200 if may else 404)
            assert may or found.json()["error"]["code"] == "run_not_found"
            assert [run["id"] for run in await listed(caller)] == ([run_id] if may else [])


async def test_of_two_runs_with_one_id_each_key_sees_its_own_and_others_the_newest(gateway: Gateway) -> None:
    one, other = await new_key(gateway, scopes=["runs:read"]), await new_key(gateway)
    async with one, other:
        keys = []
        for caller in (one, other):
            caller.headers["x-request-id"] = "same"
            await ask(caller)
            keys.append((await show(caller, "same"))["key"])
        assert len(set(keys)) == 2
        assert (await show(one, "same"))["key"] == keys[0]
        assert (await show(gateway.http, "same"))["key"] == keys[1]


async def test_a_copy_is_a_child_of_the_run_it_copies(gateway: Gateway, stub: Stub) -> None:
    response = await gateway.chat(model="copied")
    async with asyncio.timeout(BOUND):
        while not (run := await show(gateway.http, response.headers["x-request-id"]))["children"]:
            await asyncio.sleep(0.01)
    [child] = run["children"]
    assert (child["parent"], child["model"], child["route"]) == (run["id"], "small", "mirror")


async def test_a_request_that_reached_no_upstream_is_not_a_run(gateway: Gateway) -> None:
    refused = await gateway.chat(model="nowhere")
    assert refused.status_code == 404
    assert await listed(gateway.http) == []
    assert (await gateway.http.get(f"/v1/runs/{refused.headers['x-request-id']}")).status_code == 404


@covers("163")
async def test_after_a_restart_runs_and_their_decisions_are_still_there(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        stub.answer(BUSY)
        before = await run_of(gateway, model="many")
    async with running_gateway(settings(stub), tmp_path) as gateway:
        assert await show(gateway.http, before["id"]) == before


ASKED = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
