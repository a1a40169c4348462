"""Limits, money, counts of tokens and repeats at /v1/messages are those of every model route."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, stream, stream_pieces
from tests.journeys.test_diary import lines
from tests.journeys.test_money import new_key, rows
from tests.requirements import covers

pytestmark = covers("157")
HI = [{"role": "user", "content": "Hi"}]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


async def ask(gateway: Gateway, path: str = "/v1/messages", **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", {})
    body = {"model": "small", "max_tokens": 100, "messages": HI, **fields}
    return await gateway.http.post(path, json=body, headers=headers)


@pytest_asyncio.fixture
async def governed(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = settings_for(stub)
    settings["models"][0]["price"] = {"input": "1000", "output": "2000"}
    async with running_gateway(settings, tmp_path) as gateway:
        yield gateway


async def test_limits_and_the_ledger_hold_at_this_door(governed: Gateway) -> None:
    caller = await new_key(governed, rate={"requests_per_minute": 2, "tokens_per_minute": 10000})
    async with caller:
        body = {"model": "small", "max_tokens": 100, "messages": HI}
        first = await caller.post("/v1/messages", json=body)
        await caller.post("/v1/messages", json={**body, "stream": True})
        third = await caller.post("/v1/messages", json=body)
    assert first.headers["anthropic-ratelimit-requests-limit"] == "2"
    assert first.headers["anthropic-ratelimit-requests-remaining"] == "1"
    assert first.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert (third.status_code, third.json()["error"]["type"]) == (429, "rate_limit_error")
    assert "retry-after" in third.headers
    entries = await rows(governed, 2)
    assert [(one["route"], one["prompt"], one["completion"]) for one in entries] == [("messages", "7", "3")] * 2


async def test_tokens_are_counted_without_a_call_of_the_model(governed: Gateway, stub: Stub) -> None:
    body = {"model": "small", "system": "Be brief. " * 40, "messages": [{"role": "user", "content": [PICTURE]}]}
    counted = await governed.http.post("/v1/messages/count_tokens?beta=true", json=body)
    assert 800 < counted.json()["input_tokens"] < 1200
    assert counted.headers["request-id"]
    assert stub.calls == []
    unknown = await governed.http.post("/v1/messages/count_tokens", json={**body, "model": "nothing"})
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    async with await new_key(governed, models={"allow": ["other"]}) as caller:
        refused = await caller.post("/v1/messages/count_tokens", json=body)
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    assert (await governed.http.get("/admin/usage/export")).text.count("\n") <= 1


async def test_the_session_of_a_coding_agent_is_the_runs(governed: Gateway) -> None:
    runs: list[Any] = []
    governed.gate.deps.observers.at_once.append(runs.append)
    await ask(governed, headers={"x-claude-code-session-id": "s-1"})
    assert [run.wishes.session for run in runs] == ["s-1"]


async def test_a_repeat_with_its_key_gets_the_same_stream(governed: Gateway, stub: Stub) -> None:
    first, again = [await ask(governed, stream=True, headers={"idempotency-key": "k1"}) for _ in range(2)]
    assert first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(stub.calls) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_conversations_in_files_have_the_answer_of_this_door(stub: Stub, tmp_path: Path, streamed: bool) -> None:
    folder = tmp_path / "log"
    async with running_gateway(settings_for(stub, logging={"runs": {"folder": str(folder)}})) as gateway:
        await ask(gateway, stream=streamed)
        found = await lines(folder, 3)
    assert (found[-1]["content"], found[-1]["finish_reason"]) == ("Hello there.", "stop")


async def test_a_caller_who_leaves_ends_the_call(governed: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()[:3], hang=True))
    body = {"model": "small", "max_tokens": 9, "messages": HI, "stream": True}
    async with governed.http.stream("POST", "/v1/messages", json=body) as response:
        await anext(response.aiter_raw())
    async with asyncio.timeout(2):
        await stub.last.left.wait()
