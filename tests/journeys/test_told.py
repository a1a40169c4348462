"""What the log line and the metrics tell of money, limits and the ledger, for whole requests."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.telemetry.metrics import Metrics
from tests.conftest import settings_for
from tests.harness.gateway import KEY, TOKEN, Gateway, running_gateway
from tests.harness.metrics import Samples, scraped, value
from tests.harness.stub import BOUND, Answer, Stub, stream, stream_pieces
from tests.journeys.test_money import ask, new_key
from tests.requirements import covers
from tests.telemetry.test_metrics import settled

PRICE = {"input": "1.5", "output": "6"}
COST = (7 * 1.5 + 3 * 6) / 1e6
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


def settings(stub: Stub, **more: Any) -> dict[str, Any]:
    made = settings_for(stub, usage={"eur_per_usd": "0.9"}, routing={"first_pause": 0.001}, **more)
    made["models"] = [
        {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "price": PRICE, "retries": 1},
        {"name": "large", "targets": [{"upstream": "stub", "model": "stub-large"}], "retries": 0},
    ]
    made["tenants"] = [{"id": "team", "keys": ["sk-team-key-000001"], "budgets": [{"usd": "1", "period": "day"}]}]
    made["limits"] = {"models": {"small": {"budgets": [{"usd": "2", "period": "month", "hard": False}]}}}
    return made


@pytest_asyncio.fixture
async def governed(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub), tmp_path) as running:
        yield running


async def after(gateway: Gateway, name: str, least: float, **labels: str) -> Samples:
    """The metrics, once one has reached a value; bounded."""
    async with asyncio.timeout(BOUND):
        while value(found := await scraped(gateway), name, **labels) < least:
            await asyncio.sleep(0.01)
        return found


@covers("137")
@both_ways
async def test_the_line_tells_what_a_request_cost_and_whose_it_was(
    governed: Gateway, stub: Stub, streamed: bool
) -> None:
    stub.answer(Answer(status=503, body=b"{}"))
    headers = {"authorization": "Bearer sk-team-key-000001", "x-user-id": "ann"}
    body = {"model": "small", "messages": [{"role": "user", "content": "PROMPT-TEXT"}], "stream": streamed}
    await governed.http.post("/v1/chat/completions", json=body, headers=headers)
    (line,) = await governed.wait_for_lines(1)
    assert (line["tenant"], line["user"], line["component"]) == ("team", "ann", "passthrough")
    assert line["key"].startswith("key_")
    assert line["cost_usd"] == pytest.approx(COST)
    assert (line["cost_measure"], line["usage_missing"], line["limited"]) == ("reported", False, True)
    assert "PROMPT-TEXT" not in json.dumps(line)


@covers("137")
async def test_the_line_says_that_usage_is_missing_and_the_cost_an_estimate(governed: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()))
    await governed.stream()
    (line,) = await governed.wait_for_lines(1)
    assert (line["usage_missing"], line["cost_measure"], line["prompt_tokens"]) == (True, "estimated", None)
    assert line["cost_usd"] > 0


@covers("137")
async def test_a_cost_that_is_not_known_is_null_and_that_of_no_call_nothing(governed: Gateway) -> None:
    await governed.chat(model="large")
    await governed.chat(model="nope")
    unknown, none = await governed.wait_for_lines(2)
    assert (unknown["cost_usd"], none["cost_usd"], none["cost_measure"]) == (None, 0, None)


@covers("137", "114", "115")
async def test_the_line_names_the_limit_that_refused_and_soft_budgets_that_were_passed(governed: Gateway) -> None:
    hard = [{"usd": "0.000001", "period": "day"}]
    soft = [{"usd": "0", "period": "day", "hard": False}]
    async with await new_key(governed, rate={"requests_per_minute": 1}) as caller:
        await ask(caller)
        await ask(caller)
    async with await new_key(governed, budgets=hard) as caller:
        await ask(caller)
    async with await new_key(governed, budgets=soft) as caller:
        await ask(caller)
    async with asyncio.timeout(BOUND):
        while len(lines := [line for line in governed.lines if line["route"] == "chat"]) < 4:
            await asyncio.sleep(0.005)
    _, rate, budget, over = lines
    assert (rate["error"], rate["refused_by"]["limit"]) == ("rate_limit_exceeded", "requests")
    assert rate["refused_by"]["of"] == f"key:{rate['key']}"
    assert (budget["refused_by"]["limit"], budget["refused_by"]["period"]) == ("budget", "day")
    assert budget["refused_by"]["allowed"] == 0.000001
    assert [one["of"] for one in over["over"]] == [f"key:{over['key']}"]
    assert over["status"] == 200


@covers("133", "134")
@both_ways
async def test_cost_is_counted_in_usd_and_in_eur(governed: Gateway, streamed: bool) -> None:
    await governed.chat(stream=streamed)
    labels = {"model": "small", "target": "stub/stub-small", "component": "passthrough"}
    found = await after(governed, "headgate_cost_usd_total", 1e-12, **labels)
    assert value(found, "headgate_cost_usd_total", **labels) == pytest.approx(COST)
    assert value(found, "headgate_cost_eur_total", **labels) == pytest.approx(COST * 0.9)


@covers("134")
async def test_without_a_rate_nothing_is_said_in_eur(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway({**settings(stub), "usage": {}}, tmp_path) as gateway:
        await gateway.chat()
        found = await after(gateway, "headgate_cost_usd_total", 1e-12)
    assert not [name for name, _ in found if "eur" in name]


@covers("133")
async def test_estimates_and_calls_without_a_price_are_counted_apart(governed: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()))
    await governed.stream(model="large")
    found = await after(governed, "headgate_unpriced_total", 1, model="large")
    assert value(found, "headgate_estimated_tokens_total", model="large", kind="completion") > 0
    assert value(found, "headgate_tokens_total", model="large") == 0
    assert value(found, "headgate_cost_usd_total", model="large") == 0


@covers("133", "114")
async def test_budgets_of_tenants_and_models_are_shown_as_they_stand(governed: Gateway) -> None:
    headers = {"authorization": "Bearer sk-team-key-000001"}
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    for _ in range(3):
        assert (await governed.http.post("/v1/chat/completions", json=body, headers=headers)).status_code == 200
    found = await after(governed, "headgate_budget_used_usd", 6 * COST - 1e-12)
    for labels, limit in (
        ({"subject": "tenant:team", "period": "day", "kind": "hard"}, 1),
        ({"subject": "model:small", "period": "month", "kind": "soft"}, 2),
    ):
        assert value(found, "headgate_budget_limit_usd", **labels) == limit
        assert value(found, "headgate_budget_used_usd", **labels) == pytest.approx(3 * COST)
        assert value(found, "headgate_budget_remaining_usd", **labels) == pytest.approx(limit - 3 * COST)


@covers("133", "115", "114")
async def test_refusals_are_counted_by_what_refused(governed: Gateway) -> None:
    async with await new_key(governed, rate={"requests_per_minute": 1}) as caller:
        for _ in range(3):
            await ask(caller)
    async with await new_key(governed, budgets=[{"usd": "0.000001", "period": "week"}]) as caller:
        await ask(caller)
    async with await new_key(governed, budgets=[{"usd": "0", "period": "total", "hard": False}]) as caller:
        await ask(caller)
    found = await after(governed, "headgate_over_budget_total", 1)
    assert value(found, "headgate_refusals_total", limit="requests", of="key", period="minute") == 2
    assert value(found, "headgate_refusals_total", limit="budget", of="key", period="week") == 1
    assert value(found, "headgate_over_budget_total", of="key", period="total") == 1


@covers("133", "152")
async def test_the_state_of_the_ledger_is_shown(
    governed: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal"
    await governed.chat()
    async with asyncio.timeout(BOUND):
        while list(journal.glob("*.journal")):
            await asyncio.sleep(0.01)
    found = await scraped(governed)
    assert value(found, "headgate_journal_bytes") == value(found, "headgate_ledger_lag_seconds") == 0
    assert value(found, "headgate_ledger_trouble") == 0
    waiting = journal / f"{1_750_000_000 * 10**9:019d}-1.journal"
    monkeypatch.setattr("headgate.usage.ledger.take", lambda _: None)
    waiting.write_bytes(b"x" * 1234)
    found = await scraped(governed)
    assert value(found, "headgate_journal_bytes") == 1234
    assert value(found, "headgate_ledger_lag_seconds") > 1e6
    governed.gate.exchange.trouble = lambda: "the database is gone"
    assert value(await scraped(governed), "headgate_ledger_trouble") == 1


@covers("133")
async def test_calls_are_counted_by_the_part_that_made_them(governed: Gateway, stub: Stub) -> None:
    stub.answer(Answer(status=503, body=b"{}"))
    await governed.chat()
    found = await after(governed, "headgate_calls_total", 2)
    assert value(found, "headgate_calls_total", component="passthrough", result="error") == 1
    assert value(found, "headgate_calls_total", component="passthrough", result="ok") == 1


@covers("133", "redaction")
async def test_neither_keys_nor_their_ids_nor_users_are_in_the_metrics(governed: Gateway, stub: Stub) -> None:
    stub.answer(Answer(status=401, body=b'{"error":{"message":"bad key sk-upstream-secret-1"}}'))
    made = (await governed.http.post("/admin/keys", json={"alias": "planted-alias"})).json()
    for key in (KEY, TOKEN, made["key"], "sk-team-key-000001", "sk-nobodys-key-0001"):
        headers = {"authorization": f"Bearer {key}", "x-user-id": "planted-user", "x-session-id": "planted-session"}
        body = {"model": "small", "messages": [{"role": "user", "content": "planted-prompt"}]}
        await governed.http.post("/v1/chat/completions", json=body, headers=headers)
    text = (await governed.http.get("/metrics")).text
    ids = {line["key"] for line in await governed.wait_for_lines(6)} - {"anonymous"}
    assert made["id"] in ids
    for planted in (KEY, TOKEN, made["key"], *ids, "sk-", "planted", "secret"):
        assert planted not in text


@covers("133")
def test_the_number_of_models_in_labels_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.telemetry.metrics.MOST_MODELS", 3)
    metrics = Metrics()
    for number in range(10):
        metrics.observe(settled(f"m{number}", 0.01))
        metrics.observe(settled("m0", 0.01))
    assert {model for _, model, _, _ in metrics.requests} == {"m0", "m1", "m2", "other"}
    assert sum(metrics.requests.values()) == 20
