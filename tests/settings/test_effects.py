"""What each setting of a tenant changes for its calls, from the file and at run time, and for no other tenant's."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from headgate.telemetry.logs import request_logger
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, stream, stream_pieces
from tests.harness.tenants import BLUE_KEY, ask, caller, code_of, put, tree
from tests.requirements import covers

pytestmark = covers("117")
BUSY = Answer(status=503, body=b"{}")


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    more = {"parameters": {"defaults": {"seed": 1}}}
    async with running_gateway(tree(stub, {"rate": {"streams": 9}}, **more), tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def blue(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(gateway) as client:
        yield client


@pytest_asyncio.fixture
async def other(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A key of the tenant `default`."""
    async with caller(gateway, TOKEN) as client:
        yield client


async def sent(stub: Stub, client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """What the provider gets of a call."""
    assert (await ask(client, **fields)).status_code == 200
    found: dict[str, Any] = stub.calls[-1].json
    return found


async def set_(gateway: Gateway, **values: Any) -> None:
    answer = await put(gateway, **values)
    assert answer.status_code == 200, answer.text


async def test_reasoning_effort_is_sent_where_the_caller_asks_for_none(
    gateway: Gateway, stub: Stub, blue: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    await set_(gateway, reasoning_effort="low")
    assert (await sent(stub, blue))["reasoning_effort"] == "low"
    assert (await sent(stub, blue, reasoning_effort="high"))["reasoning_effort"] == "high"
    assert "reasoning_effort" not in await sent(stub, other)
    await gateway.http.delete("/v1/tenant/config/reasoning_effort", params={"tenant": "blue"})
    assert "reasoning_effort" not in await sent(stub, blue)


async def test_defaults_take_the_place_of_those_of_the_process(
    gateway: Gateway, stub: Stub, blue: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    assert (await sent(stub, blue))["seed"] == 1
    await set_(gateway, defaults={"temperature": 0.5})
    got = await sent(stub, blue)
    assert got["temperature"] == 0.5
    assert "seed" not in got
    assert (await sent(stub, blue, temperature=1))["temperature"] == 1
    assert (await sent(stub, other))["seed"] == 1


async def test_drop_unsupported_leaves_out_what_a_model_does_not_take(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub)
    made["models"][0]["parameters"] = {"unsupported": ["top_k"]}
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue, caller(gateway, TOKEN) as other:
        assert (await sent(stub, blue, top_k=3))["top_k"] == 3
        await set_(gateway, drop_unsupported=True)
        assert "top_k" not in await sent(stub, blue, top_k=3)
        assert (await sent(stub, other, top_k=3))["top_k"] == 3


async def test_what_a_model_says_itself_wins_over_the_tenant(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub)
    made["models"][0] |= {"parameters": {"reasoning_effort": "high"}, "retries": 0}
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue:
        await set_(gateway, reasoning_effort="low", retries=3)
        assert (await sent(stub, blue))["reasoning_effort"] == "high"
        stub.answer(BUSY, chat())
        assert (await ask(blue)).status_code == 503
        assert len(stub.calls) == 2


async def test_found_models_get_the_tenants_parameters_as_well(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub)
    made["upstreams"][0]["offer_all"] = True
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue:
        await set_(gateway, defaults={"temperature": 0.25})
        for _ in range(2):
            assert (await sent(stub, blue, model="stub/stub-large"))["temperature"] == 0.25


async def test_retries_are_the_tenants_unless_the_caller_says_otherwise(
    gateway: Gateway, stub: Stub, blue: httpx.AsyncClient
) -> None:
    await set_(gateway, retries=0)
    stub.answer(BUSY)
    assert (await ask(blue)).status_code == 503
    await set_(gateway, retries=1)
    stub.answer(BUSY)
    assert (await ask(blue)).status_code == 200
    stub.answer(BUSY, BUSY)
    assert (await ask(blue)).status_code == 503
    blue.headers["x-headgate-retries"] = "2"
    stub.answer(BUSY, BUSY)
    assert (await ask(blue)).status_code == 200
    assert code_of(await put(gateway, retries=6)) == (400, "tenant_config_loosens", "retries")


async def test_a_timeout_ends_the_tenants_calls_and_may_only_get_shorter(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, routing={"timeout": 60})
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue, caller(gateway, TOKEN) as other:
        assert code_of(await put(gateway, timeout=61)) == (400, "tenant_config_loosens", "timeout")
        await set_(gateway, timeout=0.05, retries=0)
        stub.answer(Answer(delay=BOUND))
        assert code_of(await ask(blue))[:2] == (504, "upstream_timeout")
        stub.answer(chat())
        assert (await ask(other)).status_code == 200


async def test_tags_are_in_the_reports(gateway: Gateway, blue: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    await set_(gateway, tags=["team-red"])
    await ask(blue)
    await ask(other)
    assert await usage(gateway, "tag", 1) == {"team-red": 1}


async def usage(gateway: Gateway, by: str, count: int) -> dict[str, int]:
    """Attempts by a dimension, once the ledger has them; bounded."""
    async with asyncio.timeout(BOUND):
        while True:
            rows = (await gateway.http.get("/admin/usage", params={"by": by})).json()["rows"]
            found = {row["name"]: row["attempts"] for row in rows}
            if sum(found.values()) >= count:
                return found
            await asyncio.sleep(0.02)


async def test_require_user_refuses_calls_that_name_nobody(
    gateway: Gateway, stub: Stub, blue: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    await set_(gateway, require_user=True)
    assert code_of(await ask(blue)) == (400, "user_required", "x-user-id")
    assert not stub.calls
    blue.headers["x-user-id"] = "ann"
    assert (await ask(blue)).status_code == (await ask(other)).status_code == 200


async def test_refuse_unpriced_refuses_models_without_a_price(
    gateway: Gateway, blue: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    assert (await ask(blue, model="large")).status_code == 200
    await set_(gateway, refuse_unpriced=True)
    assert code_of(await ask(blue, model="large"))[:2] == (403, "model_unpriced")
    assert (await ask(blue)).status_code == (await ask(other, model="large")).status_code == 200


async def test_a_typical_answer_of_the_tenant_is_what_its_calls_reserve(
    gateway: Gateway, blue: httpx.AsyncClient
) -> None:
    await set_(gateway, budgets=[{"usd": "0.1"}])
    unbounded = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    assert (await blue.post("/v1/chat/completions", json=unbounded)).status_code == 200
    await set_(gateway, typical_answer=20_000)
    assert code_of(await blue.post("/v1/chat/completions", json=unbounded))[:2] == (429, "budget_exceeded")
    assert code_of(await put(gateway, typical_answer=100)) == (400, "tenant_config_loosens", "typical_answer")


async def test_limits_per_minute_and_at_once_hold_for_all_keys_of_the_tenant(
    gateway: Gateway, blue: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    await set_(gateway, requests_per_minute=1)
    assert (await ask(blue)).status_code == (await ask(other)).status_code == 200
    refused = await ask(blue)
    assert code_of(refused)[:2] == (429, "rate_limit_exceeded")
    assert refused.headers["x-ratelimit-limit-requests"] == "1"
    await gateway.http.delete("/v1/tenant/config", params={"tenant": "blue"})
    await set_(gateway, tokens_per_minute=1000)
    answer = await ask(blue)
    assert (answer.status_code, answer.headers["x-ratelimit-limit-tokens"]) == (200, "1000")


async def test_streams_at_once_are_those_of_the_tenant(gateway: Gateway, stub: Stub, blue: httpx.AsyncClient) -> None:
    assert code_of(await put(gateway, streams=10)) == (400, "tenant_config_loosens", "streams")
    await set_(gateway, streams=1)
    stub.answer(stream(stream_pieces()[:3], hang=True))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with blue.stream("POST", "/v1/chat/completions", json=body) as first:
        await anext(first.aiter_bytes())
        assert code_of(await ask(blue, stream=True))[:2] == (429, "rate_limit_exceeded")


async def test_budgets_hold_besides_those_of_the_file_and_may_not_be_larger(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, {"budgets": [{"usd": 10, "period": "month"}]})
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue:
        larger = await put(gateway, budgets=[{"usd": 11, "period": "month"}])
        assert code_of(larger) == (400, "tenant_config_loosens", "budgets")
        assert "at most 10 USD per month" in larger.json()["error"]["message"]
        answer = await put(gateway, budgets=[{"usd": "0.00001", "period": "day"}, {"usd": 9, "period": "month"}])
        assert [(Decimal(one["usd"]), one["period"]) for one in answer.json()["settings"]["budgets"]["value"]] == [
            (Decimal(9), "month"),
            (Decimal("0.00001"), "day"),
        ]
        assert code_of(await ask(blue))[:2] == (429, "budget_exceeded")


async def test_models_are_narrowed_and_hidden_within_what_the_file_allows(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, {"models": {"allow": ["small"]}})
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue, caller(gateway, TOKEN) as other:
        await set_(gateway, **{"models.only": ["*"]})
        assert code_of(await ask(blue, model="large"))[:2] == (403, "model_forbidden")
        await set_(gateway, **{"models.only": ["large"]})
        assert code_of(await ask(blue))[:2] == (403, "model_forbidden")
        assert (await blue.get("/v1/models")).json()["data"] == []
        assert len((await other.get("/v1/models")).json()["data"]) == 2
        assert (await gateway.chat()).status_code == 200


async def test_the_file_may_switch_a_tenants_log_lines_off_or_on(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, {"settings": {"log_requests": False}})
    lines: list[dict[str, Any]] = []
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue, caller(gateway, TOKEN) as other:
        gateway.gate.deps.observers.at_once.append(request_logger(lines.append, True))
        await ask(blue)
        await ask(other)
        key = gateway.gate.keys.recognise(BLUE_KEY.encode()).key_id
        assert len(lines) == 1
        assert lines[0]["key"] != key


async def test_the_settings_of_the_file_hold_until_the_tenant_sets_its_own(stub: Stub, tmp_path: Path) -> None:
    made = tree(stub, {"settings": {"reasoning_effort": "low", "tags": ["of-file"]}})
    async with running_gateway(made, tmp_path) as gateway, caller(gateway) as blue:
        assert (await sent(stub, blue))["reasoning_effort"] == "low"
        await set_(gateway, reasoning_effort="medium")
        assert (await sent(stub, blue))["reasoning_effort"] == "medium"
