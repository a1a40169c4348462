"""Calls that wait for an approval in the words of the Responses API, answered there and elsewhere."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_actions import answer, results, settings, wiped
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.requirements import covers

pytestmark = covers("161")


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings(stub, tmp_path), tmp_path) as running:
        yield running


async def respond(gateway: Gateway, said: Any, **fields: Any) -> httpx.Response:
    return await gateway.http.post("/v1/responses", json={"model": "cleaner", "input": said, **fields})


def asked(response: dict[str, Any]) -> dict[str, Any]:
    [found] = [one for one in response["output"] if one["type"] == "mcp_approval_request"]
    return dict(found)


@pytest.mark.parametrize("approve", [True, False])
async def test_a_request_for_approval_is_answered_by_the_next_response(
    gateway: Gateway, stub: Stub, tmp_path: Path, approve: bool
) -> None:
    stub.answer(calling(("wipe", {"target": "logs"})))
    first = (await respond(gateway, "Clean up.")).json()
    request = asked(first)
    assert (first["status"], request["name"], request["arguments"]) == ("completed", "wipe", '{"target": "logs"}')
    stub.answer(chat("Well."))
    said = [{"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": approve}]
    second = await respond(gateway, said, previous_response_id=first["id"])
    assert second.status_code == 200, second.text
    assert wiped(tmp_path) == (["logs"] if approve else [])
    assert [one["role"] for one in stub.last.json["messages"]] == ["user", "assistant", "tool"]
    assert (await respond(gateway, said, previous_response_id=second.json()["id"])).status_code == 409
    assert len(wiped(tmp_path)) == approve


async def test_a_streamed_request_is_answered_at_the_other_door(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    stub.answer(calling_in_pieces("wipe", '{"target": "logs"}'))
    told = (await respond(gateway, "Clean up.", stream=True)).text
    assert "mcp_approval_request" in told
    [action] = (await gateway.http.get("/a1/actions")).json()["data"]
    assert action["id"] in told
    stub.answer(chat("All clean."))
    assert (await answer(gateway, action["id"])).status_code == 200
    assert wiped(tmp_path) == ["logs"]
    assert results(stub) == ["wiped logs"]


async def test_an_answer_needs_the_turn_that_asked(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    stub.answer(calling(("wipe", {"target": "logs"})))
    request = asked((await respond(gateway, "Clean up.")).json())
    said = [{"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}]
    assert (await respond(gateway, said)).status_code == 400
    assert wiped(tmp_path) == []
