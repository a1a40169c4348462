"""Keys, limits and the ledger on the way of a request: what is refused, what is written, and when."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.events import ends_well
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, stream, stream_pieces
from tests.requirements import covers

PRICE = {"input": "1.5", "output": "6"}
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


def settings(stub: Stub, **more: Any) -> dict[str, Any]:
    made = settings_for(stub, **more)
    made["models"] = [
        {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "price": PRICE, "retries": 1},
        {"name": "large", "targets": [{"upstream": "stub", "model": "stub-large"}], "retries": 0},
    ]
    made["routing"] = {"first_pause": 0.001}
    return made


@pytest_asyncio.fixture
async def governed(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def new_key(gateway: Gateway, **fields: Any) -> httpx.AsyncClient:
    """A caller with a key of its own."""
    response = await gateway.http.post("/admin/keys", json=fields)
    assert response.status_code in (200, 201), response.text
    headers = {"authorization": f"Bearer {response.json()['key']}"}
    return httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=BOUND)


async def ask(caller: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10, **fields}
    return await caller.post("/v1/chat/completions", json=body)


async def rows(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    """The ledger's entries, oldest first, once there are so many; bounded."""
    async with asyncio.timeout(BOUND):
        while True:
            found = (await gateway.http.get("/admin/usage/export")).text.splitlines()
            entries = [dict(zip(found[0].split(","), line.split(","), strict=False)) for line in found[1:]]
            if len(entries) >= count:
                return entries
            await asyncio.sleep(0.05)


def written_in(folder: Path) -> bytes:
    """All journals, and the database."""
    return b"".join(path.read_bytes() for path in (*folder.glob("journal/*"), *folder.glob("headgate.db*")))


@covers("152", "113")
@both_ways
async def test_every_attempt_has_a_row_with_its_price(governed: Gateway, stub: Stub, streamed: bool) -> None:
    stub.answer(Answer(status=503, body=b"{}"))
    assert (await governed.chat(stream=streamed)).status_code == 200
    failed, answered = await rows(governed, 2)
    assert (failed["outcome"], failed["error"], failed["cost_usd"]) == ("error", "upstream_unavailable", "0.000000000")
    assert (answered["prompt"], answered["completion"], answered["measure"]) == ("7", "3", "reported")
    assert float(answered["cost_usd"]) == pytest.approx((7 * 1.5 + 3 * 6) / 1e6)
    assert failed["run"] == answered["run"]


@covers("152")
async def test_a_stream_that_the_caller_leaves_is_settled_by_what_was_seen(governed: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()[:3], hang=True))
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with governed.http.stream("POST", "/v1/chat/completions", json=body) as response:
        await anext(response.aiter_bytes())
    [entry] = await rows(governed, 1)
    assert (entry["outcome"], entry["measure"]) == ("disconnected", "estimated")
    assert float(entry["cost_usd"]) > 0


@covers("152")
@both_ways
async def test_the_row_is_written_before_the_last_byte_goes_out(
    governed: Gateway, stub: Stub, tmp_path: Path, streamed: bool
) -> None:
    """As the caller has the last byte, a journal holds the entry, or the database does."""
    response = await governed.chat(stream=streamed)
    kept = written_in(tmp_path)
    assert response.headers["x-request-id"].encode() in kept


@covers("114", "153")
@both_ways
async def test_a_budget_that_does_not_cover_a_request_refuses_it(governed: Gateway, stub: Stub, streamed: bool) -> None:
    caller = await new_key(governed, budgets=[{"usd": "0.0002", "period": "day"}])
    async with caller:
        assert (await ask(caller, stream=streamed)).status_code == 200
        refused = await ask(caller, stream=streamed, max_tokens=100)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
        assert refused.headers["x-should-retry"] == "false"
        assert (await ask(caller, stream=streamed)).status_code == 200
    assert len(stub.calls) == 2


@covers("115")
async def test_a_limit_refuses_with_the_time_to_wait_and_says_what_is_left(governed: Gateway, stub: Stub) -> None:
    caller = await new_key(governed, rate={"requests_per_minute": 2})
    async with caller:
        first = await ask(caller)
        assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == (
            "2",
            "1",
        )
        await ask(caller)
        refused = await ask(caller)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 0 < int(refused.headers["retry-after"]) <= 66
    assert len(stub.calls) == 2
    assert (await governed.chat()).status_code == 200


@covers("119")
async def test_a_model_that_a_key_may_not_use_is_refused_and_not_listed(governed: Gateway, stub: Stub) -> None:
    caller = await new_key(governed, models={"allow": ["sma*"]})
    async with caller:
        assert (await ask(caller)).status_code == 200
        refused = await ask(caller, model="large")
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "model")
        listed = (await caller.get("/v1/models")).json()["data"]
        assert [entry["id"] for entry in listed] == ["small"]
    assert len(stub.calls) == 1


@covers("110")
async def test_a_revoked_key_opens_nothing_more_and_others_go_on(governed: Gateway) -> None:
    one, other = await new_key(governed, alias="one"), await new_key(governed, alias="other")
    async with one, other:
        assert (await ask(one)).status_code == 200
        listed = (await governed.http.get("/admin/keys", params={"alias": "one"})).json()["data"]
        await governed.http.post(f"/admin/keys/{listed[0]['id']}/revoke")
        assert (await ask(one)).status_code == 401
        assert (await ask(other)).status_code == 200


@covers("121")
async def test_the_end_user_of_a_request_stands_in_the_ledger(governed: Gateway) -> None:
    governed.http.headers["x-user-id"] = "user-7"
    await governed.chat()
    assert (await rows(governed, 1))[0]["user"] == "user-7"
    governed.http.headers["x-user-id"] = "u" * 300
    assert (await governed.chat()).json()["error"]["param"] == "x-user-id"


@covers("113", "152")
async def test_after_a_restart_all_is_still_there_and_counted_once(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        for _ in range(3):
            assert ends_well((await gateway.chat(stream=True)).content)
    async with running_gateway(settings(stub), tmp_path) as gateway:
        await gateway.chat()
        entries = await rows(gateway, 4)
        assert len({entry["run"] for entry in entries}) == len(entries) == 4


@covers("113")
async def test_calls_without_a_known_price_can_be_refused(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway({**settings(stub), "usage": {"refuse_unpriced": True}}, tmp_path) as gateway:
        assert (await gateway.chat()).status_code == 200
        refused = await gateway.chat(model="large")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_unpriced")
