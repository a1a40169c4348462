"""Targets and providers whose budget is spent are passed over, by what the ledger says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio

from headgate.core.run import Run
from headgate.core.tokens import Tokens
from headgate.usage.allotments import Allotment, Allotments
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub
from tests.requirements import covers
from tests.usage.runs import attempt, run_of

pytestmark = covers("114", "target-budgets")
PRICE = {"input": "100000", "output": "0"}
"""Seven tokens of a prompt cost 0.7 USD."""


@pytest_asyncio.fixture
async def second() -> AsyncIterator[Stub]:
    async with Stub() as other:
        yield other


@asynccontextmanager
async def gateway(
    stub: Stub, second: Stub, folder: Path, *, budget: Any = None, **routing: Any
) -> AsyncIterator[Gateway]:
    settings: dict[str, Any] = {
        "upstreams": [
            {"name": "a", "provider": "openai_compatible", "base_url": stub.url, "api_key": "sk-a"},
            {"name": "b", "provider": "vllm", "base_url": second.url, "api_key": "sk-b"},
        ],
        "models": [
            {
                "name": "small",
                "price": PRICE,
                "targets": [
                    {"upstream": "a", "model": "x", **({"budget": budget} if budget else {})},
                    {"upstream": "b", "model": "y"},
                ],
            }
        ],
        "routing": routing,
    }
    async with running_gateway(settings, folder) as running:
        yield running


async def test_a_target_whose_budget_is_spent_is_passed_over_also_after_a_restart(
    stub: Stub, second: Stub, tmp_path: Path
) -> None:
    budget = {"usd": 1, "every": "1d"}
    async with gateway(stub, second, tmp_path, budget=budget) as running:
        targets = [(await running.chat()).headers["x-headgate-target"] for _ in range(4)]
        assert targets == ["a/x", "a/x", "b/y", "b/y"]
        assert (await running.chat()).headers["x-headgate-passed-over"] == "a/x=its budget is spent"
    async with gateway(stub, second, tmp_path, budget=budget) as running:
        assert (await running.chat()).headers["x-headgate-target"] == "b/y"
    async with gateway(stub, second, tmp_path, budget={"usd": 100, "every": "1d"}) as running:
        assert (await running.chat()).headers["x-headgate-target"] == "a/x"


async def test_a_provider_whose_budget_is_spent_is_passed_over_and_without_any_left_the_call_is_refused(
    stub: Stub, second: Stub, tmp_path: Path
) -> None:
    budgets = {"openai_compatible": {"usd": "0.5"}, "vllm": {"usd": "0.5", "every": "1h"}}
    async with gateway(stub, second, tmp_path, provider_budgets=budgets) as running:
        assert [(await running.chat()).headers["x-headgate-target"] for _ in range(2)] == ["a/x", "b/y"]
        refused = await running.chat()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert (len(stub.calls), len(second.calls)) == (1, 1)


def spending(cost: int, key: str = "u/m") -> Run:
    one = attempt(tokens=Tokens(1))
    one.key, one.cost = key, cost
    return run_of([one])


async def test_what_was_spent_long_ago_is_forgotten_and_nothing_is_counted_twice_for_long() -> None:
    now, ledger, out = [1000.0], [0], set[str]()

    async def ask(one: Allotment, since: int) -> int:
        assert since == int((now[0] - 60) * 1000)
        return ledger[0]

    one = Allotment(frozenset(("u/m",)), 100, 60, target="u/m")
    allotments = Allotments([one], ask, out, lambda: now[0])
    allotments.observe(spending(60))
    allotments.observe(spending(60, "of/another"))
    assert (one.spent, out) == (60, set())
    allotments.observe(spending(40))
    assert out == {"u/m"}
    now[0], ledger[0] = 1010.0, 100
    await allotments.refresh()
    assert (one.spent, out) == (100, {"u/m"})
    now[0], ledger[0] = 1070.0, 0
    await allotments.refresh()
    assert (one.spent, out) == (0, set())
