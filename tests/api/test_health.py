"""Liveness, readiness, and what is told while something is missing."""

import asyncio
import re

import pytest

from headgate.core.version import __version__
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub
from tests.requirements import covers

pytestmark = covers("138")


@pytest.fixture(autouse=True)
def without_a_key(request: pytest.FixtureRequest) -> None:
    """Health is asked by machines that have none."""
    if "gateway" in request.fixturenames:
        del request.getfixturevalue("gateway").http.headers["authorization"]


@pytest.mark.parametrize("path", ["/healthz", "/health"])
async def test_the_process_is_alive(gateway: Gateway, path: str) -> None:
    response = await gateway.http.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "healthy", "version": __version__})


@pytest.mark.parametrize("path", ["/health/liveness", "/health/liveliness"])
async def test_the_process_is_alive_as_litellm_says_it(gateway: Gateway, path: str) -> None:
    response = await gateway.http.get(path)
    assert (response.status_code, response.json()) == (200, "I'm alive!")


@pytest.mark.parametrize("path", ["/readyz", "/health/readiness"])
async def test_ready_with_the_latency_of_every_upstream(gateway: Gateway, path: str) -> None:
    response = await gateway.http.get(path)
    answer = response.json()
    assert (response.status_code, answer["status"], answer["version"]) == (200, "ready", __version__)
    assert set(answer["upstreams"]) == {"stub"}
    assert answer["upstreams"]["stub"]["state"] == "up"
    assert 0 < answer["upstreams"]["stub"]["latency_ms"] < 5000
    assert "advice" not in answer


@pytest.mark.parametrize("dead", ["first", "second"])
async def test_a_dead_upstream_makes_it_degraded_not_unready(stub: Stub, dead: str) -> None:
    async with Stub() as other:
        gone = {"name": "gone", "provider": "openai_compatible", "base_url": other.url}
    settings = settings_for(stub)
    settings["upstreams"].insert(0 if dead == "first" else 1, gone)
    async with running_gateway(settings) as gateway:
        response = await gateway.http.get("/readyz")
    answer = response.json()
    assert (response.status_code, answer["status"]) == (200, "degraded")
    assert answer["upstreams"]["gone"] == {"state": "down", "latency_ms": None, "detail": "upstream_unreachable"}
    assert answer["upstreams"]["stub"]["state"] == "up"


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        (Answer(status=401), "up", "upstream_key_refused"),
        (Answer(status=403), "up", "upstream_key_refused"),
        (Answer(status=404), "up", None),
        (Answer(status=500), "down", "upstream_fault"),
        (Answer(raw=b"nonsense\r\n\r\n"), "down", "upstream_garbled"),
    ],
)
async def test_what_an_upstream_answers_is_told(stub: Stub, answer: Answer, state: str, detail: str | None) -> None:
    stub.otherwise = lambda request: answer
    async with running_gateway(settings_for(stub)) as gateway:
        shown = (await gateway.http.get("/readyz")).json()["upstreams"]["stub"]
    assert (shown["state"], shown.get("detail")) == (state, detail)


async def test_without_an_upstream_it_is_not_ready_and_says_what_to_do() -> None:
    async with running_gateway({}) as gateway:
        response = await gateway.http.get("/readyz")
        alive = await gateway.http.get("/healthz")
    answer = response.json()
    assert (response.status_code, answer["status"], alive.status_code) == (503, "not_ready", 200)
    assert "OPENAI_API_KEY" in answer["advice"]
    assert answer["upstreams"] == {}


@covers("132")
async def test_while_it_drains_it_is_not_ready_but_alive(gateway: Gateway) -> None:
    gateway.gate.draining = True
    response = await gateway.http.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "draining")
    assert (await gateway.http.get("/healthz")).status_code == 200


async def test_however_often_it_is_asked_upstreams_are_asked_once(gateway: Gateway, stub: Stub) -> None:
    responses = await asyncio.gather(*(gateway.http.get("/readyz") for _ in range(20)))
    assert {response.status_code for response in responses} == {200}
    assert len(stub.requests) == 1


async def test_neither_keys_nor_addresses_are_told(gateway: Gateway, stub: Stub) -> None:
    text = (await gateway.http.get("/readyz")).text
    assert "secret" not in text
    assert str(stub.port) not in text
    assert not re.search(r"sk-", text)
