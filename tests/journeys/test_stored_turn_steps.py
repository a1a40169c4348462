"""How often a stored turn goes to the database, and what becomes of a caller that leaves while it does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from headgate.conversations.types import Owner, Query
from headgate.core.state_errors import ConversationBusy
from headgate.db.engine import Database
from tests.conformance.wire import sent
from tests.conftest import settings_for
from tests.harness.databases import on_each_database, url_of
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

pytestmark = [covers("state-steps", "79"), on_each_database]
OWNER = Owner("default", "")
Door = Callable[[Gateway, str, bool], Any]


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(settings_for(stub, database={"url": url_of(tmp_path)}), tmp_path) as running:
        yield running


async def by_header(gateway: Gateway, before: str, streamed: bool) -> str:
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": streamed}
    answer = await gateway.http.post("/v1/chat/completions", json=body, headers={"x-conversation-id": before})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-conversation-id"]


async def by_c1(gateway: Gateway, before: str, streamed: bool) -> str:
    body = {"model": "small", "message": "Hi", "stream": streamed, **({"conversation_id": before} if before else {})}
    answer = await gateway.http.post("/c1/chat", json=body)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-conversation-id"]


async def by_responses(gateway: Gateway, before: str, streamed: bool) -> str:
    body = {"model": "small", "input": "Hi", "stream": streamed, "previous_response_id": before or None}
    answer = await gateway.http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    if streamed:
        return sent(answer.content)[0].object["response"]["id"]  # type: ignore[no-any-return]
    return answer.json()["id"]  # type: ignore[no-any-return]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the database: `read`, or `write`, or `last` for what the disk is waited for."""
    seen: list[str] = []
    do = Database.do

    async def noted(self: Database, act: Any, *, read_only: bool = False, lasting: bool = True) -> Any:
        if act.__qualname__.startswith(("Turns.", "Runs.begin.", "Heads.", "Signals.forget.")):
            seen.append("read" if read_only else "last" if lasting else "write")
        return await do(self, act, read_only=read_only, lasting=lasting)

    monkeypatch.setattr(Database, "do", noted)
    return seen


@pytest.mark.parametrize(
    ("door", "streamed", "first", "second"),
    [
        (by_header, False, ["write", "last"], ["write", "last"]),
        (by_c1, False, ["write", "last"], ["write", "last"]),
        (by_responses, False, ["last"], ["write", "last"]),
        (by_header, True, ["write", "last"], ["write", "last"]),
        (by_c1, True, ["write", "last"], ["write", "last"]),
        (by_responses, True, ["write", "last"], ["write", "write", "last"]),
    ],
)
async def test_a_turn_takes_few_transactions_and_waits_once_for_the_disk(
    gateway: Gateway, stub: Stub, steps: list[str], door: Door, streamed: bool, first: list[str], second: list[str]
) -> None:
    before, ours = "", []
    for _ in range(2):
        steps.clear()
        before = await door(gateway, before, streamed)
        ours.append(list(steps))
    assert ours == [first, second]


async def until_free(gateway: Gateway, conversation: str) -> None:
    state = gateway.gate.deps.state
    assert state is not None
    async with asyncio.timeout(BOUND):
        while await state.runs.holder_of(conversation):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("door", "streamed"), [(by_header, False), (by_header, True), (by_responses, False)])
async def test_a_caller_who_leaves_while_the_conversation_is_taken_does_not_hold_it(
    gateway: Gateway, stub: Stub, monkeypatch: pytest.MonkeyPatch, door: Door, streamed: bool
) -> None:
    state, taken = gateway.gate.deps.state, asyncio.Event()
    assert state is not None
    before = await door(gateway, "", False)
    name = "begin" if door is by_header else "after"
    take = getattr(state.turns, name)

    async def slow(*told: Any) -> Any:
        held = await take(*told)
        taken.set()
        await asyncio.Event().wait()
        return held

    monkeypatch.setattr(state.turns, name, slow)
    leaving = asyncio.create_task(door(gateway, before, streamed))
    async with asyncio.timeout(BOUND):
        await taken.wait()
    monkeypatch.undo()
    (head,) = await state.heads.page(OWNER, Query())
    assert await state.runs.holder_of(head.id)
    earlier = len(await state.runs.of(head)) - streamed
    leaving.cancel()
    await asyncio.wait([leaving])
    await until_free(gateway, head.id)
    assert len(await state.runs.of(head)) == earlier, "a run stays of which nobody was told"


async def test_strangers_do_not_line_up_for_a_conversation(stub: Stub, tmp_path: Path) -> None:
    settings = settings_for(stub, conversations={"second_turn": "enqueue"}, database={"url": url_of(tmp_path)})
    async with running_gateway(settings, tmp_path) as gateway:
        conversation = await by_header(gateway, "", False)
        state = gateway.gate.deps.state
        assert state is not None
        head = await state.heads.get(conversation, OWNER)
        await state.runs.hold(head, "somebody", 60)
        in_line = asyncio.create_task(by_header(gateway, conversation, False))
        async with asyncio.timeout(BOUND):
            while not gateway.gate.deps.second_turn.waiting:
                await asyncio.sleep(0)
        stranger = {"x-conversation-id": conversation, "x-user-id": "stranger"}
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
        answer = await gateway.http.post("/v1/chat/completions", json=body, headers=stranger)
        assert answer.status_code == 404
        assert not in_line.done()
        await state.runs.release(head, "somebody")
        assert await in_line == conversation


async def test_what_is_kept_of_a_turn_is_kept_as_a_whole_or_not_at_all(
    gateway: Gateway, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headgate.conversations.store import rows

    first = await by_responses(gateway, "", False)
    state = gateway.gate.deps.state
    assert state is not None
    (head,) = await state.heads.page(OWNER, Query())

    async def fails(*_: Any) -> None:
        raise ConversationBusy("The database fell over at the last statement.")

    monkeypatch.setattr(rows, "begin_run", fails)
    body = {"model": "small", "input": "Hi", "previous_response_id": first}
    answer: httpx.Response = await gateway.http.post("/v1/responses", json=body)
    assert answer.status_code == 409
    after = await state.heads.get(head.id, OWNER)
    assert (after.depth, after.revision) == (head.depth, head.revision)
    assert len(await state.heads.items(after)) == head.depth
    await until_free(gateway, head.id)
