"""Agents among the models and at doors of their own: who sees them, what is shown, and that all doors are one."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.harness.admin import bearer
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import Stub, chat, stream
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.journeys.test_money import new_key
from tests.requirements import covers

SECRET = "sk-hg-planted-in-a-prompt-000"
HI = [{"role": "user", "content": "Hi"}]


def settings(stub: Stub) -> dict[str, Any]:
    target = {"targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}
    agents = [
        {
            "name": "augmented/home/lights",
            "model": "small",
            "description": "Turns lights on.",
            "owned_by": "me",
            "created": 1700000000,
            "system_prompt": f"Keep {SECRET} to yourself.",
            "parameters": {"extra_headers": {"x": SECRET}},
            "tools": ["calculator"],
        },
        {"name": "plain", "model": "large"},
        {"name": "any", "model": "inherit"},
    ]
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", **target}, {"name": "large", **target}],
        "agents": agents,
    }


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def ids(caller: httpx.AsyncClient, path: str) -> list[str]:
    return [one["id"] for one in (await caller.get(path)).json()["data"]]


@covers("53")
async def test_agents_stand_among_the_models(gateway: Gateway) -> None:
    listed = (await gateway.http.get("/v1/models")).json()["data"]
    assert [one["id"] for one in listed] == ["augmented/home/lights", "plain", "any", "small", "large"]
    one = (await gateway.http.get("/v1/models/augmented/home/lights")).json()
    assert one == listed[0]
    told = {name: one[name] for name in ("id", "object", "created", "owned_by", "description")}
    assert told == {
        "id": "augmented/home/lights",
        "object": "model",
        "created": 1700000000,
        "owned_by": "me",
        "description": "Turns lights on.",
    }
    [info] = [one for one in (await gateway.http.get("/v1/info")).json()["data"] if one["id"] == told["id"]]
    assert info["agent"]["model"] == "small"
    assert SECRET not in json.dumps([listed, info])


@covers("53")
@pytest.mark.parametrize("name", ["plain", "augmented/plain"])
async def test_an_agent_is_called_with_and_without_the_prefix(gateway: Gateway, name: str) -> None:
    answer = await gateway.chat(model=name)
    assert (answer.status_code, answer.json()["model"]) == (200, name)
    assert (await gateway.http.get(f"/v1/models/{name}")).json()["id"] == "plain"


@covers("82")
async def test_an_agent_is_shown_without_secrets_and_its_prompt_to_operators_only(gateway: Gateway) -> None:
    path = "/a1/agents/augmented/home/lights"
    mine = (await gateway.http.get(path)).json()
    theirs = (await gateway.http.get(path, headers=bearer(TOKEN))).json()
    assert mine["system_prompt"] == "Keep [redacted] to yourself."
    assert mine["parameters"] == {"extra_headers": {"x": "[redacted]"}}
    assert (theirs["model"], theirs["tools"], theirs["description"]) == ("small", ["calculator"], "Turns lights on.")
    assert {"system_prompt", "variables", "parameters"}.isdisjoint(theirs)
    assert SECRET not in json.dumps([mine, theirs])
    missing = await gateway.http.get("/a1/agents/augmented/home")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "agent_not_found")


@covers("82", "53", "119")
@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        ({"allow": ["augmented/home/*", "small"]}, ["augmented/home/lights", "small"]),
        ({"allow": ["augmented/home/lights"]}, []),
        ({"allow": ["small"]}, ["small"]),
        ({"deny": ["small"]}, ["plain", "any", "large"]),
        ({"deny": ["augmented/plain"]}, ["augmented/home/lights", "any", "small", "large"]),
        ({"deny": ["plain"]}, ["augmented/home/lights", "any", "small", "large"]),
    ],
)
async def test_a_key_needs_the_agent_and_its_model(
    gateway: Gateway, stub: Stub, rules: dict[str, Any], seen: list[str]
) -> None:
    caller = await new_key(gateway, models=rules)
    async with caller:
        assert await ids(caller, "/v1/models") == seen
        agents = [name for name in seen if name not in ("small", "large")]
        assert await ids(caller, "/a1/agents") == agents
        shown = [one["id"] for one in (await caller.get("/v1/info")).json()["data"]]
        assert sorted(shown) == sorted(seen)
        for name in ("augmented/home/lights", "plain", "augmented/plain"):
            may = name.removeprefix("augmented/") in seen or name in seen
            asked = len(stub.calls)
            answer = await caller.post("/v1/chat/completions", json={"model": name, "messages": HI})
            assert answer.status_code == (200 if may else 403), (name, answer.text)
            door = await caller.post(f"/a1/agents/{name}/chat", json={"messages": HI})
            assert door.status_code == (200 if may else 404), (name, door.text)
            assert (await caller.get(f"/a1/agents/{name}")).status_code == (200 if may else 404)
            assert (await caller.get(f"/v1/models/{name}")).status_code == (200 if may else 403)
            assert len(stub.calls) - asked == (2 if may else 0)


@covers("83")
@pytest.mark.parametrize("streamed", [False, True])
async def test_both_doors_send_and_answer_the_same(gateway: Gateway, stub: Stub, streamed: bool) -> None:
    def script() -> None:
        call = calling_in_pieces("calculator", '{"expression": "1+1"}')
        stub.answer(*((call, stream()) if streamed else (calling(("calculator", {"expression": "1+1"})), chat())))

    fields = {"messages": HI, "temperature": 0.5, "stream": streamed}
    answers, sent = [], []
    for path, more in (
        ("/v1/chat/completions", {"model": "augmented/home/lights"}),
        ("/a1/agents/augmented/home/lights/chat", {}),
        ("/a1/agents/augmented/home/lights/chat", {"model": "augmented/home/lights"}),
    ):
        script()
        before = len(stub.calls)
        answer = await gateway.http.post(path, json={**fields, **more})
        assert answer.status_code == 200, answer.text
        answers.append(without_ids(answer.text))
        sent.append([call.json for call in stub.calls[before:]])
    assert answers[0] == answers[1] == answers[2]
    assert sent[0] == sent[1] == sent[2]
    assert len(sent[0]) == 2


def without_ids(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line and "[DONE]" not in line]
    told = [json.loads(line) for line in lines]
    for one in told:
        one.pop("id"), one.pop("created")
        one.get("proxy_status", {}).pop("duration_ms", None)
    return told


@covers("83")
async def test_the_door_names_the_model_of_an_agent_that_inherits(gateway: Gateway, stub: Stub) -> None:
    answer = await gateway.http.post("/a1/agents/any/chat", json={"messages": HI, "model": "large"})
    assert (answer.status_code, answer.json()["model"]) == (200, "any")
    assert len(stub.calls) == 1
    for model, words in (("plain", "is an agent"), ("none", "No model named 'none'")):
        answer = await gateway.http.post("/a1/agents/any/chat", json={"messages": HI, "model": model})
        assert answer.status_code in (400, 404)
        assert words in answer.json()["error"]["message"]
    answer = await gateway.http.post("/a1/agents/plain/chat", json={"messages": HI, "model": "small"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    answer = await gateway.http.post("/a1/agents/any/chat", json={"messages": HI})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert len(stub.calls) == 1


@covers("83", "119")
async def test_a_model_that_is_named_at_the_door_has_to_be_allowed(gateway: Gateway, stub: Stub) -> None:
    caller = await new_key(gateway, models={"allow": ["any", "small"]})
    async with caller:
        refused = await caller.post("/a1/agents/any/chat", json={"messages": HI, "model": "large"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_forbidden")
        assert not stub.calls
        assert (await caller.post("/a1/agents/any/chat", json={"messages": HI, "model": "small"})).status_code == 200


@covers("83")
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"messages": "x"}', b'{"model": null}', b'{"model": 1}', b"{}"])
async def test_bad_bodies_at_the_door_are_the_callers_fault(gateway: Gateway, stub: Stub, body: bytes) -> None:
    answer = await gateway.http.post("/a1/agents/plain/chat", content=body)
    assert answer.status_code == 400, answer.text
    assert not stub.calls


@covers("83", "154")
async def test_a_repeat_at_another_agents_door_is_not_the_same_request(gateway: Gateway) -> None:
    async def call(name: str, key: str = "k", **fields: Any) -> httpx.Response:
        body = {"messages": HI, **fields}
        return await gateway.http.post(f"/a1/agents/{name}/chat", json=body, headers={"idempotency-key": key})

    first, again = await call("any", model="small"), await call("any", model="small")
    assert (first.status_code, again.status_code, again.headers["idempotent-replayed"]) == (200, 200, "true")
    assert (await call("any", model="large")).status_code == 409
    assert [(await call(name, "other")).status_code for name in ("plain", "augmented/home/lights")] == [200, 409]


@covers("83", "20")
async def test_the_bounds_on_json_hold_at_the_door_too(gateway: Gateway, stub: Stub) -> None:
    for body, code in ((b"[" * 600_000, "json_too_complex"), (b'{"messages":' + b"[" * 2000, "json_too_deep")):
        answer = await gateway.http.post("/a1/agents/plain/chat", content=body)
        assert answer.json()["error"]["code"] == code
    assert not stub.calls
