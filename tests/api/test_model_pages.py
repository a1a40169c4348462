"""The list of models as both worlds read it, and the knocks of clients that have no key yet."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import anthropic
import httpx
import openai
import pytest
import pytest_asyncio

from headgate.api.application import Application
from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.journeys.test_every_route import filled, methods_of
from tests.requirements import covers

pytestmark = covers("4", "models-for-all")
NAMES = ["a", "b", "org/c", "d", "e"]
BODY = {"model": "a", "messages": [{"role": "user", "content": "Hi"}]}
FORMS = {"authorization": f"Bearer {KEY}", "x-api-key": KEY, "api-key": KEY, "x-goog-api-key": KEY}


@pytest_asyncio.fixture
async def gateway(stub: Stub) -> AsyncIterator[Gateway]:
    settings = settings_for(stub)
    settings["models"] = [{"name": name, "targets": [{"upstream": "stub", "model": "x"}]} for name in NAMES]
    async with running_gateway(settings) as running:
        yield running


async def page(gateway: Gateway, **asked: Any) -> tuple[list[str], bool]:
    answer = (await gateway.http.get("/v1/models", params=asked)).json()
    ids = [one["id"] for one in answer["data"]]
    assert (answer["first_id"], answer["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    return ids, answer["has_more"]


async def test_pages_go_forth_and_back_and_hold_everything_once(gateway: Gateway) -> None:
    assert await page(gateway) == (NAMES, False)
    assert await page(gateway, limit=2) == (["a", "b"], True)
    assert await page(gateway, limit=2, after_id="b") == (["org/c", "d"], True)
    assert await page(gateway, limit=2, after_id="d") == (["e"], False)
    assert await page(gateway, limit=5) == (NAMES, False)
    assert await page(gateway, limit=1000, after_id="e") == ([], False)
    assert await page(gateway, limit=2, before_id="e") == (["org/c", "d"], True)
    assert await page(gateway, limit=2, before_id="org/c") == (["a", "b"], False)
    assert await page(gateway, limit=10**8) == (NAMES, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "0"), ("limit", "-1"), ("limit", "two"), ("limit", "²"), ("limit", "9" * 5000), ("after_id", "nope")],
)
async def test_what_is_no_page_is_refused_by_name(gateway: Gateway, name: str, value: str) -> None:
    response = await gateway.http.get("/v1/models", params={name: value})
    assert (response.status_code, response.json()["error"]["param"]) == (400, name)


async def test_both_official_clients_read_list_and_single_models(gateway: Gateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=BOUND) as client:
        assert [one.id async for one in client.models.list()] == NAMES
        assert (await client.models.retrieve("org/c")).owned_by == "headgate"
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0, timeout=BOUND) as other:
        assert [one.id async for one in other.models.list(limit=2)] == NAMES
        found = await other.models.retrieve("org/c")
    assert (found.type, found.display_name, type(found.created_at)) == ("model", "org/c", datetime)


async def test_clients_may_knock_without_a_key(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=BOUND) as anybody:
        for path in ("/", "/api/hello"):
            answer = await anybody.head(path)
            assert (answer.status_code, answer.content) == (200, b"")
        assert (await anybody.head("/v1/models")).status_code == 401


@pytest.mark.parametrize("name", FORMS)
async def test_every_route_takes_the_key_in_every_header(gateway: Gateway, name: str) -> None:
    application = Application(gateway.gate)
    routes = [(how, filled(one.path, "x")) for one in application.controls if not one.public for how in methods_of(one)]
    routes += [("POST", path) for path in application.model_paths]
    async with httpx.AsyncClient(base_url=gateway.url, headers={name: FORMS[name]}, timeout=BOUND) as client:
        for how, path in routes:
            assert (await client.request(how, path)).status_code != 401, (how, path)


async def test_query_strings_of_calls_mean_nothing(gateway: Gateway, stub: Stub) -> None:
    for path in ("/v1/chat/completions", "/chat/completions", "/v1/embeddings", "/v1/completions"):
        answer = await gateway.http.post(f"{path}?beta=true&model=other", json={**BODY, "input": "x", "prompt": "x"})
        assert answer.status_code == 200, answer.text
        assert stub.last.path == f"/v1/{path.removeprefix('/v1').strip('/')}"
