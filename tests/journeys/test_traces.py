"""Whole requests as trees of spans: what the collector gets of chats, streams, retries, errors and leaving callers."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.collector import Collector, SeenSpan, calls_below, roots, running_collector
from tests.harness.gateway import KEY, TOKEN, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chat, stream, stream_pieces
from tests.journeys.test_agents import calling
from tests.requirements import covers

pytestmark = covers("135")
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PRICE = {"input": "1.5", "output": "6"}
COST = 7 * 1500 + 3 * 6000
HI = [{"role": "user", "content": "PROMPT-TEXT"}]
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


def settings(stub: Stub, collector: Collector, **tracing: Any) -> dict[str, Any]:
    made = settings_for(stub, tracing={"endpoint": collector.url, **tracing}, routing={"first_pause": 0.001})
    made["models"] = [
        {
            "name": "small",
            "targets": [{"upstream": "stub", "model": "stub-small"}],
            "price": PRICE,
            "retries": 1,
            "fallbacks": ["large"],
        },
        {"name": "large", "targets": [{"upstream": "stub", "model": "stub-large"}], "retries": 0},
    ]
    return made


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[Collector]:
    async with running_collector() as running:
        yield running


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are sent as soon as they come, not once a second."""
    monkeypatch.setattr("headgate.telemetry.traces._EVERY", 0.01)


@pytest_asyncio.fixture
async def traced(stub: Stub, collector: Collector, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub, collector), tmp_path) as running:
        yield running


async def one_tree(collector: Collector, count: int) -> tuple[SeenSpan, list[SeenSpan]]:
    """The only request's span and those of its calls, once so many spans came."""
    spans = await collector.wait_for(count)
    assert len(spans) == count
    (root,) = roots(spans)
    calls = calls_below(root, spans)
    assert len(calls) == count - 1
    assert all(root.started <= call.started <= call.ended <= root.ended for call in calls)
    return root, calls


@covers("135", "136", "21")
@both_ways
async def test_a_request_is_one_tree_with_tokens_and_cost(
    traced: Gateway, stub: Stub, collector: Collector, streamed: bool
) -> None:
    response = await traced.chat(stream=streamed, temperature=0.5, max_tokens=9)
    root, (call,) = await one_tree(collector, 2)
    assert (root.name, root.parent, root.failed) == ("POST /v1/chat/completions", "", False)
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["headgate.stream"] is streamed
    assert root.attributes["headgate.request_id"] == response.headers["x-request-id"]
    assert root.attributes["headgate.cost_nano_usd"] == COST
    assert (call.name, call.kind, call.failed) == ("chat stub-small", "LLM", False)
    expected = {
        "headgate.component": "passthrough",
        "headgate.tenant": "default",
        "headgate.target": "stub/stub-small",
        "headgate.reason": "first",
        "headgate.usage": "reported",
        "headgate.cost_nano_usd": COST,
        "llm.cost.total": COST / 1e9,
        "llm.model_name": "stub-small",
        "llm.token_count.prompt": 7,
        "llm.token_count.completion": 3,
        "llm.token_count.total": 10,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "stub-small",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
    }
    assert {name: call.attributes.get(name) for name in expected} == expected
    assert json.loads(call.attributes["metadata"])["component"] == "passthrough"
    assert 0 < call.attributes["gen_ai.response.time_to_first_chunk"] < BOUND
    assert call.events == ("first_token",)
    assert (root.resource, "headgate.chunks" in call.attributes) == ("headgate", streamed)


@covers("136")
async def test_an_attribute_has_one_type_however_the_caller_wrote_the_number(
    traced: Gateway, collector: Collector
) -> None:
    for one, more in ((1, 9), (1.0, 9), (1, 9)):
        await traced.chat(temperature=one, max_tokens=more)
    calls = [span for span in await collector.wait_for(6) if span.name == "chat stub-small"]
    assert [type(call.attributes["gen_ai.request.temperature"]) for call in calls] == [float] * 3
    assert [type(call.attributes["gen_ai.request.max_tokens"]) for call in calls] == [int] * 3


@covers("136")
async def test_the_span_of_a_stream_ends_with_the_stream(traced: Gateway, stub: Stub, collector: Collector) -> None:
    release = asyncio.Event()
    stub.answer(stream(stream_pieces(usage=True), release=release))
    running = asyncio.get_running_loop().create_task(traced.stream())
    await stub.wait_for_calls(1)
    assert collector.spans == []
    await asyncio.sleep(0.05)
    release.set()
    await running
    root, (call,) = await one_tree(collector, 2)
    assert call.ended - call.started >= 0.05
    assert call.attributes["llm.token_count.completion"] == 3
    assert root.ended >= call.ended


async def test_a_retry_and_a_fallback_are_spans_of_one_tree_each_with_its_error(
    traced: Gateway, stub: Stub, collector: Collector
) -> None:
    stub.answer(Answer(status=503, body=b"{}"), Answer(status=500, body=b"{}"))
    assert (await traced.chat()).status_code == 200
    root, calls = await one_tree(collector, 4)
    assert not root.failed
    assert [(one.attributes["headgate.reason"], one.failed, one.attributes.get("error.type")) for one in calls] == [
        ("first", True, "upstream_unavailable"),
        ("retry", True, "upstream_fault"),
        ("fallback", False, None),
    ]
    assert calls[0].told.startswith("upstream_unavailable: ")
    assert [one.attributes["headgate.cost_nano_usd"] for one in calls[:2]] == [0, 0]
    assert "headgate.cost_nano_usd" not in calls[2].attributes
    assert "headgate.cost_nano_usd" not in root.attributes


@covers("21", "135")
async def test_the_tree_stands_under_the_callers_span_and_the_provider_under_the_calls(
    traced: Gateway, stub: Stub, collector: Collector
) -> None:
    """One id in the header, the log, the ledger and the trace; one trace from the caller to the provider."""
    stub.answer(Answer(status=503, body=b"{}"))
    headers = {"x-request-id": "their-1", "traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=x,other=y"}
    response = await traced.http.post("/v1/chat/completions", json={"model": "small", "messages": HI}, headers=headers)
    root, calls = await one_tree(collector, 3)
    assert (root.trace, root.parent, root.state) == (TRACE, CALLER, "vendor=x,other=y")
    sent = [request.headers for request in stub.calls]
    assert [one["traceparent"] for one in sent] == [f"00-{TRACE}-{call.id}-01" for call in calls]
    assert {one["tracestate"] for one in sent} == {"vendor=x,other=y"}
    assert {one["x-request-id"] for one in sent} == {"their-1"}
    (line,) = await traced.wait_for_lines(1)
    assert (line["request_id"], line["trace_id"]) == ("their-1", TRACE)
    assert response.headers["x-request-id"] == root.attributes["headgate.request_id"] == "their-1"
    async with asyncio.timeout(BOUND):
        while "their-1" not in (await traced.http.get("/admin/usage/export")).text:
            await asyncio.sleep(0.05)


@covers("21")
@pytest.mark.parametrize(
    ("given", "forwarded"),
    [("a=b", "a=b"), ("x" * 513, None), ("a=\xe9", None), ("", None)],
    ids=["plain", "too long", "not ASCII", "empty"],
)
async def test_tracestate_goes_to_the_provider_also_without_a_collector(
    gateway: Gateway, stub: Stub, given: str, forwarded: str | None
) -> None:
    headers = {b"traceparent": f"00-{TRACE}-{CALLER}-01".encode(), b"tracestate": given.encode("latin-1")}
    await gateway.http.post("/v1/chat/completions", json={"model": "small", "messages": HI}, headers=headers)
    assert stub.last.headers.get("tracestate") == forwarded
    await gateway.http.post(
        "/v1/chat/completions", json={"model": "small", "messages": HI}, headers={"tracestate": "a=b"}
    )
    assert "tracestate" not in stub.last.headers


async def test_session_user_and_tags_are_told(traced: Gateway, collector: Collector) -> None:
    headers = {"x-session-id": "s-1", "x-user-id": "ann", "x-headgate-tags": "blue,red"}
    await traced.http.post("/v1/chat/completions", json={"model": "small", "messages": HI}, headers=headers)
    root, (call,) = await one_tree(collector, 2)
    for span in (root, call):
        assert span.attributes["session.id"] == span.attributes["gen_ai.conversation.id"] == "s-1"
        assert (span.attributes["user.id"], span.attributes["tag.tags"]) == ("ann", ["blue", "red"])
        assert span.attributes["headgate.key_id"].startswith("key_")


async def test_a_request_that_is_refused_is_a_tree_of_one(traced: Gateway, stub: Stub, collector: Collector) -> None:
    await traced.chat(model="nope")
    root, _ = await one_tree(collector, 1)
    assert (root.failed, root.attributes["error.type"]) == (True, "model_not_found")
    assert root.attributes["http.response.status_code"] == 404
    assert stub.calls == []


@covers("136")
async def test_a_caller_who_leaves_ends_the_span_with_what_was_seen(
    traced: Gateway, stub: Stub, collector: Collector
) -> None:
    stub.answer(stream(stream_pieces()[:3], hang=True))
    body = {"model": "small", "messages": HI, "stream": True}
    async with traced.http.stream("POST", "/v1/chat/completions", json=body) as response:
        await anext(response.aiter_bytes())
    root, (call,) = await one_tree(collector, 2)
    assert root.attributes["headgate.outcome"] == "disconnected"
    assert (call.attributes["headgate.usage"], root.failed) == ("estimated", False)
    assert call.attributes["llm.token_count.completion"] > 0


async def test_other_routes_leave_no_spans(traced: Gateway, collector: Collector) -> None:
    for path in ("/v1/models", "/nope", "/metrics", "/healthz"):
        await traced.http.get(path)
    await traced.chat()
    root, _ = await one_tree(collector, 2)
    assert root.attributes["http.route"] == "/v1/chat/completions"


async def test_a_mirrored_request_is_a_branch_of_the_tree(stub: Stub, collector: Collector, tmp_path: Path) -> None:
    made = settings(stub, collector)
    made["models"][0]["mirror"] = {"model": "large"}
    async with running_gateway(made, tmp_path) as traced:
        await traced.chat()
        spans = await collector.wait_for(4)
    (root,) = [span for span in spans if span.name == "POST /v1/chat/completions"]
    (copy,) = [span for span in spans if span.name == "mirror large"]
    assert (copy.parent, copy.trace, copy.attributes["headgate.component"]) == (root.id, root.trace, "mirror")
    assert len({span.id for span in spans}) == 4


@covers("135", "redaction")
@both_ways
async def test_neither_text_nor_keys_leave_the_gateway_unless_told_to(
    traced: Gateway, stub: Stub, collector: Collector, streamed: bool
) -> None:
    refusal = b'{"error":{"message":"PROMPT-TEXT was refused, sk-upstream-secret-1"}}'
    stub.answer(Answer(status=400, body=refusal))
    await traced.chat(messages=HI, stream=streamed, user="PROMPT-TEXT", stop=["PROMPT-TEXT"], top_k="PROMPT-TEXT")
    await traced.chat(messages=HI, stream=streamed)
    await collector.wait_for(4)
    posted = b"".join(request.body for request in collector.stub.calls)
    for text in (b"PROMPT-TEXT", b"Hello", KEY.encode(), TOKEN.encode(), b"sk-", b"secret"):
        assert text not in posted


@covers("135", "redaction")
@both_ways
async def test_with_full_content_prompt_and_answer_are_told_without_keys(
    stub: Stub, collector: Collector, tmp_path: Path, streamed: bool
) -> None:
    asked = [{"role": "user", "content": f"PROMPT-TEXT {KEY}"}]
    async with running_gateway(settings(stub, collector, content="full"), tmp_path) as traced:
        await traced.chat(messages=asked, stream=streamed)
        root, (call,) = await one_tree(collector, 2)
    assert call.attributes["llm.input_messages.0.message.content"] == "PROMPT-TEXT [redacted]"
    assert call.attributes["llm.output_messages.0.message.content"] == "Hello there."
    assert "PROMPT-TEXT" in root.attributes["input.value"]
    assert root.attributes["output.value"] == "Hello there."
    assert KEY.encode() not in collector.stub.last.body


@covers("27", "135")
async def test_the_strategy_and_each_turn_of_an_agent_stand_in_the_tree(
    stub: Stub, collector: Collector, tmp_path: Path
) -> None:
    made = settings(stub, collector)
    made["agents"] = [{"name": "helper", "model": "small", "tools": ["calculator"]}]
    stub.answer(calling(("calculator", {"expression": "6*7"})), chat("42"))
    async with running_gateway(made, tmp_path) as gateway:
        await gateway.chat(model="helper")
        root, calls = await one_tree(collector, 3)
    told = root.attributes["headgate.strategy"], root.attributes["headgate.strategy_source"]
    assert told == ("passthrough", "agent_default")
    assert [call.attributes["headgate.reason"] for call in calls] == ["first", "turn"]
    assert {call.attributes["headgate.component"] for call in calls} == {"agent"}


@covers("27", "135")
async def test_the_call_of_the_classifier_is_told_from_the_request_it_sorts(
    stub: Stub, collector: Collector, tmp_path: Path
) -> None:
    made = {**settings(stub, collector), "strategies": {"classifier": {"model": "large"}}}
    stub.answer(chat('{"routing_mode": "passthrough", "reason": "SECRET-REASON"}'), chat("Hello."))
    body = {"model": "small", "messages": HI}
    async with running_gateway(made, tmp_path) as gateway:
        await gateway.http.post("/v1/chat/completions", json=body, headers={"x-routing-mode": "auto"})
        root, calls = await one_tree(collector, 3)
    assert root.attributes["headgate.strategy_source"] == "llm_classifier"
    components = [call.attributes["headgate.component"] for call in calls]
    assert components == ["routing-classifier", "passthrough"]
    assert [json.loads(call.attributes["metadata"])["component"] for call in calls] == components
    assert "SECRET-REASON" not in str([root.attributes, *(call.attributes for call in calls)])
