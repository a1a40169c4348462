"""Requests and what a collector shows of them: a stub that reads the protocol, and with --long a real Phoenix."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import settings_for
from tests.harness.collector import SeenSpan, calls_below, roots, running_collector
from tests.harness.process import Processes
from tests.harness.stub import BOUND, Answer, Stub
from tests.requirements import covers
from tests.soak.phoenix import installed, running_phoenix, spans_of, sums_of

KEY = "sk-soak-master-key-001"
MODEL = "gpt-4o-mini"
COST = 7 * 150 + 3 * 600
"""Nano-USD, at the price that Phoenix has in its own list too."""
SPANS = 12
SESSION = "session-1"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
pytestmark = [covers("135", "136"), pytest.mark.timeout(1800)]
Read = Callable[[int], Awaitable[list[SeenSpan]]]


def config(stub: Stub, collector: str) -> dict[str, Any]:
    made = settings_for(stub, tracing={"endpoint": collector, "content": "full"}, routing={"first_pause": 0.001})
    price = {"input": "0.15", "output": "0.6"}
    made["models"] = [
        {
            "name": "small",
            "targets": [{"upstream": "stub", "model": MODEL}],
            "price": price,
            "retries": 1,
            "fallbacks": ["large"],
        },
        {"name": "large", "targets": [{"upstream": "stub", "model": MODEL}], "price": price, "retries": 0},
    ]
    return made


async def make_calls(http: httpx.AsyncClient, stub: Stub) -> None:
    """A chat, a stream, a retry with a fallback, an error, and a caller with a trace of its own."""

    async def chat(headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi there"}], **fields}
        return await http.post("/v1/chat/completions", json=body, headers={"x-session-id": SESSION, **(headers or {})})

    assert (await chat(temperature=0.5)).status_code == 200
    assert b"[DONE]" in (await chat(stream=True)).content
    stub.answer(Answer(status=503, body=b"{}"), Answer(status=500, body=b"{}"))
    assert (await chat()).status_code == 200
    stub.answer(Answer(status=400, body=b'{"error":{"message":"no"}}'))
    assert (await chat(model="large")).status_code == 400
    parent = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    assert (await chat(parent, stream=True)).status_code == 200


def check(spans: Sequence[SeenSpan]) -> None:
    """Trees, kinds, errors, tokens, cost, times, sessions and text."""
    assert len(spans) == len({span.id for span in spans}) == SPANS
    trees = sorted(roots(spans), key=lambda span: span.started)
    chat, stream, retried, failed, child = [(root, calls_below(root, spans)) for root in trees]
    assert [len(calls) for _, calls in (chat, stream, retried, failed, child)] == [1, 1, 3, 1, 1]
    assert len({root.trace for root in trees}) == 5
    assert [root.parent for root in trees] == ["", "", "", "", CALLER]
    assert trees[-1].trace == TRACE
    assert [root.failed for root in trees] == [False, False, False, True, False]
    for root, calls in (chat, stream, retried, failed, child):
        assert root.attributes["session.id"] == SESSION
        for call in calls:
            assert (call.kind, call.attributes["session.id"]) == ("LLM", SESSION)
            assert call.attributes["llm.model_name"] == MODEL
            assert call.attributes["headgate.component"] == "passthrough"
            assert root.started <= call.started <= call.ended <= root.ended
    for root, calls in (chat, stream, retried, child):
        answered = calls[-1]
        assert (answered.failed, answered.events) == (False, ("first_token",))
        assert answered.attributes["llm.token_count.prompt"] == 7
        assert answered.attributes["llm.token_count.completion"] == 3
        assert answered.attributes["headgate.cost_nano_usd"] == COST
        assert answered.attributes["llm.cost.total"] == pytest.approx(COST / 1e9)
        assert answered.attributes["llm.input_messages.0.message.content"] == "Hi there"
        assert answered.attributes["llm.output_messages.0.message.content"] == "Hello there."
        assert root.attributes["headgate.cost_nano_usd"] == COST
    reasons = [(call.attributes["headgate.reason"], call.attributes.get("error.type")) for call in retried[1]]
    assert reasons == [("first", "upstream_unavailable"), ("retry", "upstream_fault"), ("fallback", None)]
    assert [call.failed for call in retried[1]] == [True, True, False]
    assert failed[1][0].attributes["error.type"] == "upstream_rejected"
    assert failed[0].attributes["http.response.status_code"] == 400


@asynccontextmanager
async def collector(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[tuple[str, Read]]:
    """An address for spans, and how to read back what came."""
    if not request.config.getoption("--long"):
        async with running_collector() as stub:
            yield stub.url, stub.wait_for
        return
    try:
        home = installed()
    except (OSError, subprocess.SubprocessError) as fault:
        pytest.skip(f"Phoenix cannot be installed: {fault}")
    await asyncio.to_thread(folder.mkdir)
    async with running_phoenix(home, folder) as url:
        yield url, lambda count: spans_of(url, "headgate", count)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_collector_shows_every_request_as_a_tree(
    stub: Stub, processes: Processes, tmp_path: Path, request: pytest.FixtureRequest, workers: int
) -> None:
    async with collector(request, tmp_path / "phoenix") as (address, read):
        file = tmp_path / "headgate.yaml"
        file.write_text(json.dumps(config(stub, address)))
        served = await asyncio.to_thread(
            processes.serve, "--config", str(file), "--workers", str(workers), HEADGATE_MASTER_KEY=KEY
        )
        headers = {"authorization": f"Bearer {KEY}", "connection": "close"}
        async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=BOUND) as http:
            await make_calls(http, stub)
            spans = await read(SPANS)
            check(spans)
            for wrong in spoilt(spans):
                with pytest.raises(AssertionError):
                    check(wrong)
            async with asyncio.timeout(BOUND):
                while 'headgate_spans_total{result="sent"} 12.0' not in (await http.get("/metrics")).text:
                    await asyncio.sleep(0.1)
        if request.config.getoption("--long"):
            sums = await sums_of(address, "headgate")
            print(f"\nPhoenix shows {sums}")
            assert (sums["traces"], sums["tokens"]) == (5, 40)
            assert sums["cost"] == pytest.approx(4 * COST / 1e9)


def spoilt(spans: Sequence[SeenSpan]) -> list[list[SeenSpan]]:
    """The same with one thing wrong each, to see that the check could fail."""
    at = next(number for number, span in enumerate(spans) if span.kind == "LLM" and not span.failed)
    good = spans[at]
    wrong = [
        [],
        [replace(good, parent="0" * 16)],
        [replace(good, kind="TOOL")],
        [replace(good, failed=True)],
        [replace(good, events=())],
        *(
            [replace(good, attributes={**good.attributes, name: 1})]
            for name in ("llm.token_count.prompt", "headgate.cost_nano_usd", "session.id", "headgate.component")
        ),
    ]
    return [[*spans[:at], *instead, *spans[at + 1 :]] for instead in wrong]
