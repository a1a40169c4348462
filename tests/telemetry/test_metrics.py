"""/metrics parses, moves, keeps its labels bounded and holds no keys; and many processes are summed."""

import asyncio
import os
import pickle
import time
from pathlib import Path

from headgate.core.errors import UpstreamFault
from headgate.core.ids import child_of
from headgate.core.run import Attempt, Run
from headgate.core.tokens import Tokens
from headgate.telemetry.exchange import Exchange
from headgate.telemetry.exposition import SERIES, render
from headgate.telemetry.metrics import DURATIONS, Histogram, Metrics
from tests.conftest import settings_for
from tests.harness.gateway import KEY, TOKEN, Gateway, running_gateway
from tests.harness.metrics import samples, scraped, value
from tests.harness.stub import Answer, Stub, stream
from tests.requirements import covers

pytestmark = covers("metrics", "133")
NOT_HERE = {
    "headgate_errors_total",
    "headgate_estimated_tokens_total",
    "headgate_unpriced_total",
    "headgate_refusals_total",
    "headgate_over_budget_total",
    "headgate_spans_total",
    "headgate_cost_usd_total",
    "headgate_cost_eur_total",
    "headgate_budget_limit_usd",
    "headgate_budget_used_usd",
    "headgate_budget_remaining_usd",
    "headgate_ledger_lag_seconds",
    "headgate_journal_bytes",
}
"""What one good call without a ledger does not move; see tests/journeys/test_told.py."""


async def test_counters_and_histograms_move_with_each_request(gateway: Gateway, stub: Stub) -> None:
    await gateway.chat()
    await gateway.stream()
    stub.answer(Answer(status=500))
    await gateway.chat()
    await gateway.wait_for_lines(3)
    found = await scraped(gateway)
    assert value(found, "headgate_requests_total", route="chat", model="small", status="200", outcome="ok") == 2
    assert value(found, "headgate_requests_total", route="chat", model="small", status="502", outcome="error") == 1
    assert value(found, "headgate_errors_total", route="chat", code="upstream_fault") == 1
    assert value(found, "headgate_attempts_total", target="stub/stub-small", result="ok") == 2
    assert value(found, "headgate_attempts_total", target="stub/stub-small", result="upstream_fault") == 1
    assert value(found, "headgate_tokens_total", model="small", kind="prompt") == 14
    assert value(found, "headgate_tokens_total", model="small", kind="completion") == 6
    assert value(found, "headgate_chunks_total", model="small") == 7
    assert value(found, "headgate_request_duration_seconds_count", route="chat", model="small") == 3
    assert value(found, "headgate_request_duration_seconds_bucket", route="chat", le="+Inf") == 3
    assert value(found, "headgate_request_duration_seconds_sum", route="chat") > 0
    assert value(found, "headgate_first_token_seconds_count", model="small") == 1
    assert value(found, "headgate_in_flight") == 0


async def test_calls_in_flight_are_counted_while_they_are(gateway: Gateway, stub: Stub) -> None:
    release = asyncio.Event()
    stub.answer(stream(release=release))
    running = asyncio.get_running_loop().create_task(gateway.stream())
    await stub.wait_for_calls(1)
    assert value(await scraped(gateway), "headgate_in_flight") == 1
    release.set()
    await running
    await gateway.wait_for_lines(1)
    assert value(await scraped(gateway), "headgate_in_flight") == 0


async def test_callers_cannot_grow_the_number_of_series(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["upstreams"][0]["offer_all"] = True
    async with running_gateway(settings) as gateway:

        async def round_of_calls(number: int) -> int:
            await gateway.chat(model=f"invented-{number}")
            await gateway.chat(model=f"stub/invented-{number}")
            await gateway.chat(model=f"stub/invented-{number}", stream=True)
            await gateway.http.get(f"/invented-{number}")
            await gateway.http.get(f"/v1/models/invented-{number}")
            return len(await scraped(gateway))

        first = await round_of_calls(0)
        assert [await round_of_calls(number) for number in range(1, 20)] == [first] * 19
        text = (await gateway.http.get("/metrics")).text
    assert "invented" not in text


@covers("redaction")
async def test_no_key_is_in_the_metrics(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(status=401, body=b'{"error":{"message":"bad key sk-upstream-secret-1"}}'))
    await gateway.chat()
    await gateway.http.get("/v1/models", headers={"authorization": "Bearer sk-someone-elses"})
    text = (await gateway.http.get("/metrics")).text
    for secret in (KEY, TOKEN, "sk-", "secret"):
        assert secret not in text


async def test_every_series_is_told_with_its_labels(gateway: Gateway) -> None:
    gateway.http.headers["idempotency-key"] = "key"
    await gateway.stream()
    await gateway.http.post("/v1/tools/execute", json={"name": "calculator", "arguments": {"expression": "1"}})
    found = await scraped(gateway)
    for name, _, labels in SERIES:
        of_name = [dict(has) for key, has in found if key.removesuffix("_count") == name]
        if name in NOT_HERE:
            assert not of_name, name
        else:
            assert of_name, name
            assert all(set(has) == set(labels) for has in of_name), name


def settled(model: str, seconds: float) -> Run:
    run = Run("r", child_of(None), "chat", started=0.0, label=model, status=200)
    run.ended = seconds
    return run


def test_buckets_are_cumulated_up_to_the_count() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.005, 0.0051, 7.0, 1000.0):
        metrics.observe(settled("m", seconds))
    found = samples(render([metrics]).decode())
    buckets = {
        dict(labels)["le"]: number
        for (name, labels), number in found.items()
        if name == "headgate_request_duration_seconds_bucket"
    }
    assert len(buckets) == len(DURATIONS) + 1
    assert (buckets["0.005"], buckets["0.01"], buckets["10.0"], buckets["300.0"], buckets["+Inf"]) == (2, 3, 4, 4, 5)
    assert value(found, "headgate_request_duration_seconds_count") == 5


def test_what_is_counted_once_shows_in_every_series_that_it_belongs_to() -> None:
    metrics = Metrics()
    for number, (status, outcome, component) in enumerate(
        [(200, "ok", "agent"), (200, "ok", "a"), (502, "error", "a")]
    ):
        run = settled("m", 1.0 + number)
        run.status, run.outcome, run.component = status, outcome, component
        attempt = Attempt("up", "small", "up/small", "k", "m", 0.0)
        if outcome == "ok":
            attempt.tokens, attempt.measure, attempt.cost = Tokens(10, 0, cached=number), "reported", 5 * number
        else:
            attempt.error = UpstreamFault("broke")
        run.attempts.append(attempt)
        metrics.observe(run)
    assert metrics.requests == {("chat", "m", "200", "ok"): 2, ("chat", "m", "502", "error"): 1}
    assert {labels: (sum(took.counts), took.total) for labels, took in metrics.durations.items()} == {
        ("chat", "m"): (3, 6.0)
    }
    assert metrics.attempts == {("m", "k", "ok"): 2, ("m", "k", "upstream_fault"): 1}
    assert metrics.calls == {("agent", "ok"): 1, ("a", "ok"): 1, ("a", "error"): 1}
    assert metrics.tokens == {("m", "k", "prompt"): 20, ("m", "k", "completion"): 0, ("m", "k", "cached"): 1}
    assert metrics.cost == {("m", "k", "a"): 5}


def test_names_that_need_escapes_are_escaped() -> None:
    metrics = Metrics()
    for name in ('a"b', "c\\d", "é/😀"):
        metrics.observe(settled(name, 1.0))
    found = samples(render([metrics]).decode())
    assert {dict(labels)["model"] for (name, labels) in found if name == "headgate_requests_total"} == {
        'a"b',
        "c\\d",
        "é/😀",
    }


async def test_the_counts_of_all_processes_are_summed(tmp_path: Path) -> None:
    own, other = Metrics(), Metrics()
    for metrics, count in ((own, 3), (other, 4)):
        for _ in range(count):
            metrics.observe(settled("m", 0.02))
    (tmp_path / "999999.metrics").write_bytes(pickle.dumps(other))
    exchange = Exchange(own, tmp_path)
    exchange.publish()
    text, content_type = await exchange.exposed()
    found = samples(text.decode())
    assert content_type.startswith("text/plain")
    assert value(found, "headgate_requests_total", model="m") == 7
    assert value(found, "headgate_request_duration_seconds_count", model="m") == 7
    assert value(found, "headgate_request_duration_seconds_bucket", model="m", le="0.025") == 7


async def test_of_a_process_that_ended_the_counters_stay_but_nothing_is_in_flight(tmp_path: Path) -> None:
    other = Metrics(in_flight=5)
    other.observe(settled("m", 0.02))
    file = tmp_path / "999999.metrics"
    file.write_bytes(pickle.dumps(other))
    exchange = Exchange(Metrics(in_flight=1), tmp_path)
    for silent, in_flight in ((0, 6), (60, 1)):
        os.utime(file, (time.time() - silent,) * 2)
        found = samples((await exchange.exposed())[0].decode())
        assert value(found, "headgate_requests_total", model="m") == 1
        assert value(found, "headgate_in_flight") == in_flight


def test_a_histogram_counts_each_value_once() -> None:
    histogram = Histogram()
    for seconds in (0.0, *DURATIONS, 10_000.0):
        histogram.add(seconds)
    assert sum(histogram.counts) == len(DURATIONS) + 2
    assert histogram.counts[0] == 2
    assert histogram.counts[-1] == 1
