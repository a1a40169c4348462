"""`POST /admin/template/eval`: the grammar and nothing else, with tools that only read, for operators."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.tools.types import Caller, Hints, ToolResult
from tests.harness.admin import bearer
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import Stub
from tests.journeys.test_agent_prompts import tool, with_tools
from tests.journeys.test_agents import settings
from tests.journeys.test_money import new_key
from tests.requirements import covers

pytestmark = covers("template-eval")
ROUTE = "/admin/template/eval"
RAN: list[str] = []


def act(arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
    RAN.append("act")
    return ToolResult("acted")


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    RAN.clear()
    with_tools(monkeypatch, tool("act", act, Hints()), tool("allowed", act, Hints(destructive=True)))
    made = {**settings(stub, variables={"team": "Red"}), "strategies": {"template_tools": ["allowed"]}}
    async with running_gateway(made, tmp_path) as running:
        yield running


async def test_a_template_is_shown_with_what_its_calls_came_to(gateway: Gateway) -> None:
    text = "{{team}} {{calculator(expression='6*7')}}\n{{calculator(expression='no')}} {{x}}"
    body = {"template": text, "variables": {"x": "{{team}}"}, "agent": "augmented/helper"}
    told = (await gateway.http.post(ROUTE, json=body)).json()
    assert told["text"].startswith("Red 42\n[calculator failed: ")
    assert told["text"].endswith(" {{team}}")
    assert [(one["tool"], one["line"], one["failed"]) for one in told["calls"]] == [
        ("calculator", 1, False),
        ("calculator", 2, True),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{act()}}", "may do more than read"),
        ("{{allowed()}} {{act()}}", "may do more than read"),
        ("a\n{{nothing()}}", "Line 2: there is no tool 'nothing'"),
        ("{{team}}", "there is no variable 'team'"),
        ("{{''.__class__}}", None),
        ("{{x.__class__}}", "'}}'"),
        ("{{cycler.__init__.__globals__.os.popen('id').read()}}", "'}}'"),
        ("{{tool('calculator', expression='1')}}", "name of an argument"),
        ("{{range(999999999)}}", "name of an argument"),
        ("{% for x in y %}", None),
    ],
)
async def test_nothing_but_the_grammar_is_evaluated(gateway: Gateway, text: str, words: str | None) -> None:
    answer = await gateway.http.post(ROUTE, json={"template": text})
    if words is None:
        assert answer.json()["text"] == text
    else:
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "template")
        assert words in answer.json()["error"]["message"]
    assert RAN == []


async def test_what_is_allowed_is_called(gateway: Gateway) -> None:
    assert (await gateway.http.post(ROUTE, json={"template": "{{allowed()}}"})).json()["text"] == "acted"
    assert RAN == ["act"]


@pytest.mark.parametrize("body", [{}, {"template": 1}, {"template": "x", "more": 1}, {"template": "x", "agent": "no"}])
async def test_bad_requests_are_told(gateway: Gateway, body: dict[str, Any]) -> None:
    assert (await gateway.http.post(ROUTE, json=body)).status_code in (400, 404)


async def test_it_is_for_operators_of_all_tenants(gateway: Gateway) -> None:
    body = {"template": "{{allowed()}}"}
    assert (await gateway.http.post(ROUTE, json=body, headers=bearer(TOKEN))).status_code == 403
    caller = await new_key(gateway, scopes=["configuration:write"])
    async with caller:
        assert (await caller.post(ROUTE, json=body)).status_code == 403
    assert RAN == []
