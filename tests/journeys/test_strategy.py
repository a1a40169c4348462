"""How a request is answered: the rule first, then the header, then the default; `auto` asks a classifier."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Recorded, Stub, chat, usual
from tests.journeys.test_money import rows
from tests.requirements import covers

ROUTE = "/v1/chat/completions"
HI = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def settings(stub: Stub, **classifier: Any) -> dict[str, Any]:
    target = {"targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}
    return {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [
            {"name": "small", **target},
            {"name": "judge", "targets": [{"upstream": "stub", "model": "judge"}], "retries": 0},
        ],
        "strategies": {"classifier": {"model": "judge", **classifier}},
    }


@covers("23", "27")
@pytest.mark.parametrize("field", [{"tools": TOOLS}, {"response_format": {"type": "json_object"}}])
async def test_tools_and_formats_are_passed_through_whatever_the_header_says(
    gateway: Gateway, stub: Stub, field: dict[str, Any]
) -> None:
    body = json.dumps({**HI, **field}).encode()
    response = await gateway.http.post(ROUTE, content=body, headers={"x-routing-mode": "reasoning"})
    assert response.headers["x-headgate-strategy"] == "passthrough"
    assert response.headers["x-headgate-strategy-source"] == "passthrough_rule"
    assert stub.last.body == body.replace(b'"model": "small"', b'"model": "stub-small"')


@covers("24")
@pytest.mark.parametrize("mode", ["passthrough", "PassThrough", "PASSTHROUGH"])
async def test_the_header_counts_in_any_case(gateway: Gateway, stub: Stub, mode: str) -> None:
    response = await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": mode})
    assert response.headers["x-headgate-strategy-source"] == "header_override"
    assert len(stub.calls) == 1


@covers("24")
async def test_an_unknown_mode_is_refused_by_the_names_of_the_valid_ones(gateway: Gateway, stub: Stub) -> None:
    response = await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": "fast"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "x-routing-mode"
    assert all(name in error["message"] for name in ("passthrough", "reasoning", "orchestration", "auto"))
    assert not stub.calls


@covers("25")
async def test_without_a_header_there_is_one_call_and_nothing_to_decide(gateway: Gateway, stub: Stub) -> None:
    response = await gateway.chat()
    assert "x-headgate-strategy" not in response.headers
    assert len(stub.calls) == 1


def judging(verdict: Any) -> Any:
    def answer(request: Recorded) -> Answer:
        if request.method == "POST" and request.json["model"] == "judge":
            return verdict if isinstance(verdict, Answer) else chat(verdict)
        return usual(request)

    return answer


@covers("26", "27")
@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ('{"routing_mode": "passthrough", "reason": "a greeting"}', "a greeting"),
        ('{"routing_mode": "reasoning", "reason": "hm"}', "no mode it may choose"),
        ("not JSON", "could not be read"),
        (Answer(status=500), "upstream_fault"),
        (Answer(raw=b"", hang=True), "in time"),
    ],
)
async def test_auto_asks_the_classifier_and_passes_through_with_the_reason(
    stub: Stub, verdict: Any, reason: str
) -> None:
    stub.otherwise = judging(verdict)
    async with running_gateway(settings(stub, seconds=0.3)) as gateway:
        response = await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": "auto"})
    assert response.status_code == 200
    assert response.headers["x-headgate-strategy"] == "passthrough"
    assert response.headers["x-headgate-strategy-source"] == "llm_classifier"
    assert reason in response.headers["x-headgate-strategy-reason"]
    asked = stub.calls[0].json
    assert asked["temperature"] == 0.0
    assert asked["response_format"]["type"] == "json_schema"


@covers("29")
async def test_the_same_message_is_classified_once(stub: Stub) -> None:
    stub.otherwise = judging('{"routing_mode": "passthrough", "reason": "a greeting"}')
    async with running_gateway(settings(stub)) as gateway:
        for _ in range(2):
            await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": "auto"})
    assert [call.json["model"] for call in stub.calls] == ["judge", "stub-small", "stub-small"]


@covers("26")
async def test_the_classifiers_model_and_temperature_are_as_set_and_its_call_is_paid_for(
    stub: Stub, tmp_path: Path
) -> None:
    stub.otherwise = judging('{"routing_mode": "passthrough", "reason": "a greeting"}')
    async with running_gateway(settings(stub, temperature=0.7), tmp_path) as gateway:
        await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": "AUTO"})
        ledger = await rows(gateway, 2)
    assert (stub.calls[0].json["model"], stub.calls[0].json["temperature"]) == ("judge", 0.7)
    assert stub.calls[0].json["messages"][1:] == HI["messages"]
    assert [row["component"] for row in ledger] == ["routing-classifier", "passthrough"]


GARBAGE = [
    {"content": 5},
    {"tool_calls": [1]},
    {"tool_calls": {"a": 1}},
    {"content": ["x"]},
]


@covers("26", "faults")
@pytest.mark.parametrize("message", GARBAGE, ids=json.dumps)
async def test_an_answer_of_no_known_shape_is_garbled_and_from_a_classifier_no_reason_to_fail(
    stub: Stub, message: Any
) -> None:
    body = json.dumps({"choices": [{"message": message}]}).encode()
    stub.otherwise = judging(Answer(body=body))
    agent = {"name": "helper", "model": "judge"}
    async with running_gateway({**settings(stub), "agents": [agent]}) as gateway:
        passed = await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": "auto"})
        failed = await gateway.chat(model="helper")
    assert (passed.status_code, passed.headers["x-headgate-strategy-source"]) == (200, "llm_classifier")
    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "upstream_garbled")


@covers("24")
@pytest.mark.parametrize(
    ("mode", "strategy", "source"),
    [
        ("passthrough", "passthrough", "header_override"),
        ("Reasoning", "reasoning", "header_override"),
        ("ORCHESTRATION", "orchestration", "header_override"),
        ("AUTO", "passthrough", "llm_classifier"),
    ],
)
async def test_each_mode_is_honoured(stub: Stub, mode: str, strategy: str, source: str) -> None:
    node = {"id": "a", "agent": "small", "objective": "All of it.", "depends_on": []}
    said = {"thought": "", "next_action": "finished", "routing_mode": "passthrough", "nodes": [node]}
    stub.otherwise = lambda _: chat(json.dumps(said))
    async with running_gateway(settings(stub)) as gateway:
        response = await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": mode})
    assert response.status_code == 200
    told = response.headers["x-headgate-strategy"], response.headers["x-headgate-strategy-source"]
    assert told == (strategy, source)


@covers("27")
async def test_a_stored_run_tells_the_strategy_and_who_chose_it(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        response = await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": "passthrough"})
        run = (await gateway.http.get(f"/v1/runs/{response.headers['x-request-id']}")).json()
        stub.otherwise = judging('{"routing_mode": "passthrough", "reason": "QUOTED PROMPT"}')
        response = await gateway.http.post(ROUTE, json=HI, headers={"x-routing-mode": "auto"})
        sorted_ = (await gateway.http.get(f"/v1/runs/{response.headers['x-request-id']}")).json()
    assert run["decision"]["strategy"] == {"name": "passthrough", "source": "header_override", "reason": ""}
    assert sorted_["decision"]["strategy"]["reason"] == "the classifier's verdict"
    assert "QUOTED" in response.headers["x-headgate-strategy-reason"]
    assert "QUOTED" not in json.dumps(sorted_)


@covers("28")
async def test_an_agents_own_strategy_holds_and_the_header_overrides_it_only_where_allowed(stub: Stub) -> None:
    agents = [
        {"name": "thinker", "model": "small", "strategy": "reasoning"},
        {"name": "either", "model": "small", "strategy": "reasoning", "strategies": ["passthrough"]},
    ]
    stub.otherwise = lambda _: chat('{"thought": "", "next_action": "finished"}')
    async with running_gateway({**settings(stub), "agents": agents}) as gateway:
        own = await gateway.chat(model="thinker")
        refused = await gateway.http.post(
            ROUTE, json={**HI, "model": "thinker"}, headers={"x-routing-mode": "passthrough"}
        )
        other = await gateway.http.post(
            ROUTE, json={**HI, "model": "either"}, headers={"x-routing-mode": "passthrough"}
        )
    assert (own.headers["x-headgate-strategy"], own.headers["x-headgate-strategy-source"]) == (
        "reasoning",
        "agent_default",
    )
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "x-routing-mode"
    assert other.headers["x-headgate-strategy"] == "passthrough"
