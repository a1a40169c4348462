"""Budgets while the gateway runs: what was spent before counts, dearer fallbacks are reserved for, and all is told."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.harness.admin import administered
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, stream, stream_pieces
from tests.harness.tenants import BLUE_KEY, ask, caller, code_of, new_key, put, tree
from tests.requirements import covers

COST = Decimal(7) * Decimal("0.0000015") + Decimal(3) * Decimal("0.000006")
"""Of one usual answer of `small`, in USD."""
BUSY = Answer(status=503, body=b"{}")
DEAR = {"input": "1000", "output": "1000"}


async def spend(gateway: Gateway, key: str, times: int = 3) -> None:
    async with caller(gateway, key) as client:
        for _ in range(times):
            assert (await ask(client)).status_code == 200


async def listed(gateway: Gateway, **asked: str) -> list[dict[str, Any]]:
    answer = await gateway.http.get("/admin/budgets", params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


@covers("114")
@pytest.mark.parametrize("period", ["day", "month", "total"])
async def test_a_keys_first_budget_counts_what_it_spent_before(stub: Stub, tmp_path: Path, period: str) -> None:
    async with running_gateway(tree(stub), tmp_path) as gateway:
        made = (await gateway.http.post("/admin/keys", json={})).json()
        await spend(gateway, made["key"])
        budget = {"usd": str(2 * COST), "period": period}
        changed = await gateway.http.patch(f"/admin/keys/{made['id']}", json={"budgets": [budget]})
        assert changed.status_code == 200
        async with caller(gateway, made["key"]) as client:
            assert code_of(await ask(client))[:2] == (429, "budget_exceeded")
        [told] = await listed(gateway, subject=f"key:{made['id']}")
        assert Decimal(told["spent_usd"]) == 3 * COST


@covers("114")
async def test_a_tenants_first_budget_counts_what_all_its_keys_spent(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub), tmp_path) as gateway:
        await gateway.http.post("/admin/tenants", json={"id": "green"})
        keys = [await new_key(gateway, tenant="green") for _ in range(2)]
        for key in (*keys, BLUE_KEY):
            await spend(gateway, key, 1)
        await gateway.http.patch("/admin/tenants/green", json={"budgets": [{"usd": 1}]})
        await put(gateway, budgets=[{"usd": 1, "period": "week"}])
        told = {one["subject"]: Decimal(one["spent_usd"]) for one in await listed(gateway, kind="tenant")}
        assert told == {"tenant:green": 2 * COST, "tenant:blue": COST}


@covers("114")
async def test_a_further_period_counts_what_was_spent_under_the_first(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub), tmp_path) as gateway:
        await put(gateway, budgets=[{"usd": 1, "period": "day"}])
        await spend(gateway, BLUE_KEY, 2)
        await put(gateway, budgets=[{"usd": 1, "period": "day"}, {"usd": 1, "period": "month"}])
        told = {one["period"]: Decimal(one["spent_usd"]) for one in await listed(gateway, tenant="blue")}
        assert told == {"day": 2 * COST, "month": 2 * COST}


@covers("114", "150")
async def test_every_worker_counts_what_was_spent_before_the_first_budget(stub: Stub, tmp_path: Path) -> None:
    shared = tree(stub, limits={"store": "shared"})
    async with administered(shared, tmp_path) as one, administered(shared, tmp_path) as other:
        await spend(one, BLUE_KEY, 2)
        await put(one, budgets=[{"usd": str(COST)}])
        async with caller(other) as client:
            assert code_of(await ask(client))[:2] == (429, "budget_exceeded")


@covers("budgets-used")
async def test_what_is_used_reserved_and_left_is_told_with_the_end_of_the_period(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, {"budgets": [{"usd": 1, "period": "day"}, {"usd": 2, "period": "total", "hard": False}]})
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue:
        await spend(gateway, BLUE_KEY, 1)
        stub.answer(stream(stream_pieces()[:3], hang=True))
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "max_tokens": 1000}
        async with blue.stream("POST", "/v1/chat/completions", json=body) as held:
            await anext(held.aiter_bytes())
            day, total = await listed(gateway, tenant="blue")
        assert (day["subject"], day["kind"], day["name"], day["hard"]) == ("tenant:blue", "tenant", "blue", True)
        assert Decimal(day["spent_usd"]) == COST
        reserved = Decimal(day["reserved_usd"])
        assert Decimal("0.006") < reserved < Decimal("0.0062")
        assert Decimal(day["left_usd"]) == 1 - COST - reserved
        assert day["resets_at"].endswith("T00:00:00.000Z")
        assert datetime.fromisoformat(day["resets_at"]) > datetime.now(UTC)
        assert (total["period"], total["hard"], total["resets_at"]) == ("total", False, None)


@covers("budgets-used", "116")
async def test_each_sees_the_budgets_of_the_tenants_that_its_scope_is_for(stub: Stub, tmp_path: Path) -> None:
    limits = {"models": {"small": {"budgets": [{"usd": 5}]}}, "users": {"budgets": [{"usd": 1, "period": "day"}]}}
    async with running_gateway(tree(stub, {"budgets": [{"usd": 1}]}, limits=limits), tmp_path) as gateway:
        await new_key(gateway, budgets=[{"usd": 3}], alias="of-default")
        async with caller(gateway, **{"x-user-id": "ann"}) as ann:
            assert (await ask(ann)).status_code == 200
        async with asyncio.timeout(BOUND):
            while not (users := await listed(gateway, kind="user")):
                await asyncio.sleep(0.02)
        assert [(one["subject"], Decimal(one["spent_usd"])) for one in users] == [("user:blue/ann", COST)]
        every = {one["kind"] for one in await listed(gateway)}
        assert every == {"key", "user", "tenant", "model"}
        async with caller(gateway, await new_key(gateway, tenant="blue", scopes=["budgets:read"])) as operator:
            seen = (await operator.get("/admin/budgets")).json()["data"]
            assert {one["subject"] for one in seen} == {"tenant:blue", "user:blue/ann"}
            assert (await operator.get("/admin/budgets", params={"tenant": "default"})).status_code == 403
        wrong = await gateway.http.get("/admin/budgets", params={"kind": "planet"})
        assert code_of(wrong) == (400, "invalid_field", "kind")


@covers("budgets-used")
async def test_many_budgets_come_page_by_page(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(tree(stub), tmp_path) as gateway:
        for _ in range(5):
            await new_key(gateway, budgets=[{"usd": 1, "period": "day"}, {"usd": 2}])
        first = (await gateway.http.get("/admin/budgets", params={"limit": "3"})).json()
        rest = await gateway.http.get("/admin/budgets", params={"limit": "3", "after": first["last_id"]})
        assert (len(first["data"]), first["has_more"], len(rest.json()["data"]), rest.json()["has_more"]) == (
            *(6, True, 4, False),
        )


def with_fallback(stub: Stub, price: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """`small` falls back on `large`, which costs a thousand USD per million tokens unless told otherwise."""
    made = tree(stub, **more)
    small, large = made["models"]
    small |= {"fallbacks": ["large"], "retries": 0}
    large |= {"price": price or DEAR, "retries": 0}
    return made


@covers("153")
async def test_a_fallback_on_a_dearer_model_is_refused_where_the_budget_does_not_cover_it(
    stub: Stub, tmp_path: Path
) -> None:
    async with running_gateway(with_fallback(stub), tmp_path) as gateway:
        async with caller(gateway, await new_key(gateway, budgets=[{"usd": "0.01"}])) as client:
            stub.answer(BUSY)
            refused = await ask(client)
            assert code_of(refused)[:2] == (503, "upstream_unavailable")
            assert refused.headers["x-headgate-passed-over"] == "stub/stub-large=budget_exceeded"
            assert [call.json["model"] for call in stub.calls] == ["stub-small"]
            assert (await ask(client)).status_code == 200
        [left] = await listed(gateway, kind="key")
        assert (Decimal(left["reserved_usd"]), Decimal(left["spent_usd"])) == (Decimal(0), COST)


@covers("153")
async def test_a_fallback_on_a_dearer_model_reserves_what_it_may_cost_more(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(with_fallback(stub), tmp_path) as gateway:
        async with caller(gateway, await new_key(gateway, budgets=[{"usd": "0.1"}])) as client:
            release = asyncio.Event()
            slow = chat(model="stub-large")
            stub.answer(BUSY, Answer(pieces=[slow.body[:10], slow.body[10:]], framing="chunked", release=release))
            asking = asyncio.get_running_loop().create_task(ask(client))
            await stub.wait_for_calls(2)
            [held] = await listed(gateway, kind="key")
            assert Decimal("0.03") < Decimal(held["reserved_usd"]) < Decimal("0.04")
            release.set()
            assert (await asking).status_code == 200
        [after] = await listed(gateway, kind="key")
        assert (Decimal(after["reserved_usd"]), Decimal(after["spent_usd"])) == (Decimal(0), Decimal("0.01"))


@covers("153")
async def test_calls_that_fall_back_at_once_do_not_pass_the_budget(stub: Stub, tmp_path: Path) -> None:
    made = with_fallback(stub)
    async with running_gateway(made, tmp_path) as gateway:
        async with caller(gateway, await new_key(gateway, budgets=[{"usd": "0.2"}])) as client:
            stub.otherwise = lambda request: BUSY if request.json["model"] == "stub-small" else chat(model="stub-large")
            answers = await asyncio.gather(*(ask(client) for _ in range(40)))
        [after] = await listed(gateway, kind="key")
        done = sum(answer.status_code == 200 for answer in answers)
        assert 0 < done < 40
        assert Decimal(after["spent_usd"]) == done * Decimal("0.01") <= Decimal("0.2")


@covers("153")
async def test_a_cheaper_fallback_is_free_to_answer(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(with_fallback(stub, {"input": "1", "output": "1"}), tmp_path) as gateway:
        key = await new_key(gateway, budgets=[{"usd": "0.001"}])
        async with caller(gateway, key) as client:
            stub.answer(BUSY)
            assert (await ask(client)).status_code == 200


@covers("153", "113")
async def test_a_fallback_without_a_price_is_passed_over_where_such_are_refused(stub: Stub, tmp_path: Path) -> None:
    made = with_fallback(stub, usage={"refuse_unpriced": True})
    del made["models"][1]["price"]
    async with running_gateway(made, tmp_path) as gateway:
        stub.answer(BUSY)
        refused = await ask(gateway.http)
        assert code_of(refused)[:2] == (503, "upstream_unavailable")
        assert refused.headers["x-headgate-passed-over"] == "stub/stub-large=model_unpriced"
        assert gateway.http.headers["authorization"].endswith(KEY)
