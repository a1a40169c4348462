"""The run of a streamed turn is written before anything is told of it. Where nothing is told, none of it stays."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from headgate.conversations.store import Ending, Lease, State
from headgate.conversations.types import Conversation, New, Owner, Query, StoredRun, milliseconds
from headgate.pipeline import claim
from tests.conftest import settings_for
from tests.harness.databases import on_each_database, url_of
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, stream, stream_pieces
from tests.requirements import covers

pytestmark = [covers("state-steps", "78"), on_each_database]
OWNER = Owner("default", "")
BODY = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings_for(stub, database={"url": url_of(tmp_path)}), tmp_path) as running:
        yield running


def state_of(gateway: Gateway) -> State:
    assert gateway.gate.deps.state is not None
    return gateway.gate.deps.state


async def begun(gateway: Gateway) -> Conversation:
    """A conversation of one turn, without a stored run."""
    headers = {"x-conversation-id": ""}
    answer = await gateway.http.post("/v1/chat/completions", json={**BODY, "stream": False}, headers=headers)
    assert answer.status_code == 200
    return await state_of(gateway).heads.get(answer.headers["x-conversation-id"], OWNER)


async def first_run(gateway: Gateway, head: Conversation) -> StoredRun:
    async with asyncio.timeout(BOUND):
        while not (found := await state_of(gateway).runs.of(head)):
            await asyncio.sleep(0.01)
    return found[0]


@pytest.mark.parametrize("refusal", [Answer(status=400, body=b'{"error":{"message":"no"}}'), Answer(status=500)])
async def test_of_a_streamed_turn_that_the_provider_refuses_no_run_stays(
    gateway: Gateway, stub: Stub, refusal: Answer
) -> None:
    head = await begun(gateway)
    stub.answer(refusal)
    answer = await gateway.http.post("/v1/chat/completions", json=BODY, headers={"x-conversation-id": head.id})
    assert answer.status_code >= 400
    state = state_of(gateway)
    assert not await state.runs.of(head)
    assert not await state.runs.holder_of(head.id)
    assert await state.heads.get(head.id, OWNER) == head


async def test_of_a_first_turn_that_the_provider_refuses_nothing_stays(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(status=400, body=b'{"error":{"message":"no"}}'))
    answer = await gateway.http.post("/v1/chat/completions", json=BODY, headers={"x-conversation-id": ""})
    assert answer.status_code == 400
    assert not await state_of(gateway).heads.page(OWNER, Query())
    assert not await state_of(gateway).runs.orphans()


async def test_a_turn_that_is_kept_without_its_run_takes_that_away(gateway: Gateway) -> None:
    head, state = await begun(gateway), state_of(gateway)
    run = StoredRun("resp_1", "req_1", head.id, OWNER, "in_progress", False, milliseconds(), 0, {}, holder="h")
    held = await state.turns.begin(head.id, OWNER, Lease("h", 60), begin_run=lambda _: run)
    assert held.run == run
    assert [one.id for one in await state.runs.of(head)] == [run.id]
    said = New({"id": "msg_1", "type": "message", "role": "user", "content": []})
    await state.turns.end(Ending(held.head, [said], "h", untold=run.id))
    assert not await state.runs.of(head)
    assert (await state.heads.get(head.id, OWNER)).depth == head.depth + 1


async def test_a_run_is_there_before_its_first_event_and_prolonged_while_the_model_thinks(
    gateway: Gateway, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = await begun(gateway)
    monkeypatch.setattr(claim.Claim.renew, "__defaults__", (0.02, lambda: False))
    stub.answer(stream(stream_pieces(), delay=0.3))
    headers = {"x-conversation-id": head.id}
    asking = asyncio.create_task(gateway.http.post("/v1/chat/completions", json=BODY, headers=headers))
    run = await first_run(gateway, head)
    assert (run.status, run.events) == ("in_progress", 0)
    assert run.held_until > milliseconds()
    async with asyncio.timeout(BOUND):
        while (await first_run(gateway, head)).held_until <= run.held_until:
            await asyncio.sleep(0.01)
    answer = await asking
    assert answer.content.startswith(b"id: %b:0\n" % run.id.encode())
    ended = await first_run(gateway, head)
    assert (ended.id, ended.status, ended.holder) == (run.id, "completed", "")
    assert ended.events == answer.content.count(b"id: ") - 1  # its end marker is no event


async def test_a_caller_who_leaves_before_the_first_event_leaves_no_run(gateway: Gateway, stub: Stub) -> None:
    head = await begun(gateway)
    stub.answer(stream(stream_pieces(), delay=BOUND))
    headers = {"x-conversation-id": head.id}
    asking = asyncio.create_task(gateway.http.post("/v1/chat/completions", json=BODY, headers=headers))
    await first_run(gateway, head)
    asking.cancel()
    await asyncio.wait([asking])
    async with asyncio.timeout(BOUND):
        while await state_of(gateway).runs.of(head):
            await asyncio.sleep(0.01)
        while await state_of(gateway).runs.holder_of(head.id):
            await asyncio.sleep(0.01)
    assert (await state_of(gateway).heads.get(head.id, OWNER)).depth == head.depth
