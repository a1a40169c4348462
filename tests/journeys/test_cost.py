"""What an answer cost, told to its caller: in LiteLLM's headers, and in the usage of a stream."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.events import ends_well
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

PRICE = {"input": "1.5", "output": "6"}
COST = (7 * 1.5 + 3 * 6) / 1e6
pytestmark = covers("113", "litellm-proxy")


def settings(stub: Stub, **more: Any) -> dict[str, Any]:
    made = settings_for(stub, **more)
    made["models"] = [
        {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "price": PRICE},
        {"name": "unpriced", "targets": [{"upstream": "stub", "model": "stub-small"}]},
    ]
    return made


@pytest_asyncio.fixture
async def governed(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    server = {"litellm_headers": True, "stream_cost": True}
    async with running_gateway(settings(stub, server=server), tmp_path) as running:
        yield running


async def test_an_answer_tells_its_cost_and_what_the_key_has_spent(governed: Gateway) -> None:
    fields = {"max_budget": 2, "budget_duration": "1d", "rpm_limit": 10, "tpm_limit": 100_000}
    made = (await governed.http.post("/key/generate", json=fields)).json()
    headers = {"authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(base_url=governed.url, headers=headers, timeout=BOUND) as caller:
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
        answers = [await caller.post("/v1/chat/completions", json=body) for _ in range(2)]
    told = [{name: value for name, value in one.headers.items() if name.startswith("x-litellm-")} for one in answers]
    for number, one in enumerate(told, 1):
        assert float(one["x-litellm-response-cost"]) == pytest.approx(COST)
        assert float(one["x-litellm-key-spend"]) == pytest.approx(COST * number)
        assert one["x-litellm-key-max-budget"] == "2.0"
        assert (one["x-litellm-key-rpm-limit"], one["x-litellm-key-tpm-limit"]) == ("10", "100000")


async def test_without_a_price_or_a_key_of_its_own_nothing_is_told(governed: Gateway) -> None:
    headers = (await governed.chat(model="unpriced")).headers
    assert "x-litellm-response-cost" not in headers
    assert not [name for name in headers if name.startswith("x-litellm-key-")]
    assert float((await governed.chat()).headers["x-litellm-response-cost"]) == pytest.approx(COST)


def usages(stream: bytes) -> list[dict[str, Any]]:
    data = [line.removeprefix(b"data: ") for line in stream.splitlines() if line.startswith(b"data: {")]
    return [chunk["usage"] for one in data if (chunk := orjson.loads(one)).get("usage")]


async def test_a_stream_tells_its_cost_with_the_usage_that_was_asked_for(governed: Gateway) -> None:
    stream = await governed.stream(stream_options={"include_usage": True})
    assert ends_well(stream)
    [usage] = usages(stream)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 3)
    assert usage["cost"] == pytest.approx(COST)
    assert usages(await governed.stream()) == []
    [unpriced] = usages(await governed.stream(model="unpriced", stream_options={"include_usage": True}))
    assert "cost" not in unpriced


async def test_a_stream_is_as_the_provider_wrote_it_unless_cost_is_set(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        [usage] = usages(await gateway.stream(stream_options={"include_usage": True}))
        assert "cost" not in usage
        assert "x-litellm-response-cost" not in (await gateway.chat()).headers


async def test_where_litellms_headers_are_on_errors_have_its_types(governed: Gateway) -> None:
    made = (await governed.http.post("/key/generate", json={"models": ["other"], "max_budget": 0})).json()
    headers = {"authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(base_url=governed.url, headers=headers, timeout=BOUND) as caller:
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
        forbidden = (await caller.post("/v1/chat/completions", json=body)).json()["error"]
        await governed.http.post("/key/update", json={"key": made["key"], "models": []})
        spent = (await caller.post("/v1/chat/completions", json=body)).json()["error"]
        await governed.http.post("/key/block", json={"key": made["key"]})
        blocked = (await caller.post("/v1/chat/completions", json=body)).json()["error"]
    assert (forbidden["type"], forbidden["code"]) == ("key_model_access_denied", "model_forbidden")
    assert (spent["type"], spent["code"]) == ("budget_exceeded", "budget_exceeded")
    assert (blocked["type"], blocked["code"]) == ("auth_error", "key_blocked")


async def test_where_they_are_off_errors_have_openais_types(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        made = (await gateway.http.post("/key/generate", json={"models": ["other"]})).json()
        gateway.http.headers["authorization"] = f"Bearer {made['key']}"
        assert (await gateway.chat()).json()["error"]["type"] == "permission_error"
