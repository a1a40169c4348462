"""The server killed at random moments in turns, tool calls, compactions, answers and items that callers add: what a
caller saw is kept, once.

Whatever was cut off, every conversation goes on; nobody holds one for longer than a lease lasts; no approved call is
made twice.
"""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from headgate.conversations.store import State, state_of
from headgate.conversations.store.tables import conversations, stored_runs
from headgate.conversations.types import ActionQuery, Item, Owner, milliseconds
from headgate.db.engine import Database, open_database
from headgate.pipeline.remember import LEASE_SECONDS
from tests.conftest import Amount, settings_for
from tests.harness.databases import on_each_database, url_of
from tests.harness.events import ends_well
from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat, stream, stream_pieces
from tests.journeys.test_agents import calling
from tests.requirements import covers

pytestmark = [covers("crash-state", "161"), on_each_database, pytest.mark.timeout(1200)]
KEY = "sk-soak-master-key-001"
OWNER = Owner("default", "")
CALLERS = 8
PLUGIN = '''
from pathlib import Path
from time import sleep
from headgate.tools.plugin import tool

@tool(read_only=True)
def look(at: str) -> str:
    """Look at something."""
    sleep(0.01)
    return f"seen {at}"

@tool
def wipe(target: str) -> str:
    """Delete something."""
    with Path(__file__).with_name("wiped").open("a") as file:
        file.write(target + "\\n")
    sleep(0.01)
    return f"wiped {target}"
'''


@dataclass
class Seen:
    """What callers saw whole. `said` are pairs of question and answer by conversation."""

    numbers: random.Random
    said: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    approved: dict[str, str] = field(default_factory=dict)
    count: int = 0
    compacted: int = 0
    added: int = 0
    left: int = 0


def model(numbers: random.Random, request: Recorded) -> Answer:
    """Calls a tool where the question says so, and else repeats what it was asked."""
    last = request.json["messages"][-1]
    delay = numbers.uniform(0, 0.03)
    told = str(last["content"])
    kind, _, about = told.partition(" ")
    if last["role"] == "user" and kind in ("look", "wipe"):
        made = calling((kind, {"at" if kind == "look" else "target": about}))
        made.delay = delay
        return made
    text = f"To: {told}"
    return stream(stream_pieces([text]), delay=delay) if request.json.get("stream") else chat(text)


async def turn(http: httpx.AsyncClient, conversation: str, seen: Seen) -> str:
    """One turn; the id of its conversation, empty where nothing is known of it."""
    seen.count += 1
    kind = seen.numbers.choice(("say", "say", "look", "wipe"))
    text, streamed = f"{kind} q{seen.count}", seen.numbers.random() < 0.5 and kind == "say"
    body = {"model": "worker", "messages": [{"role": "user", "content": text}], "stream": streamed}
    try:
        if streamed and seen.numbers.random() < 0.2:
            await leave(http, body, conversation, seen)
            return conversation
        response = await http.post("/v1/chat/completions", json=body, headers={"x-conversation-id": conversation})
    except httpx.HTTPError:
        return conversation
    if response.status_code != 200 or (streamed and not ends_well(response.content)):
        return conversation
    found = response.headers["x-conversation-id"]
    if streamed:
        seen.said.setdefault(found, []).append((text, f"To: {text}"))
        return found
    told = response.json()
    seen.said.setdefault(found, []).append((text, told["choices"][0]["message"]["content"] or ""))
    seen.waiting += [one["action_id"] for one in told.get("approvals_required", ())]
    return found


async def leave(http: httpx.AsyncClient, body: dict[str, Any], conversation: str, seen: Seen) -> None:
    """Ask, and go before the answer is whole."""
    headers = {"x-conversation-id": conversation}
    async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        async for _ in response.aiter_raw():
            break
    seen.left += 1


async def approve(http: httpx.AsyncClient, seen: Seen) -> None:
    if not seen.waiting:
        return
    action = seen.waiting.pop(0)
    try:
        response = await http.post(f"/a1/actions/{action}", json={"decision": "approve"})
    except httpx.HTTPError:
        return
    if response.status_code == 200:
        seen.approved[action] = response.json()["choices"][0]["message"]["content"]


async def compact(http: httpx.AsyncClient, conversation: str, seen: Seen) -> None:
    try:
        response = await http.post(f"/c1/conversations/{conversation}/compact", json={})
    except httpx.HTTPError:
        return
    seen.compacted += response.status_code == 200


async def add(http: httpx.AsyncClient, conversation: str, seen: Seen) -> str:
    """Items by their own route, in a conversation or in a new one made with them; one more is added and taken out."""
    seen.count += 1
    question, answer = f"told q{seen.count}", f"To: told q{seen.count}"
    items = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    try:
        if not conversation:
            made = await http.post("/v1/conversations", json={"items": items})
            if made.status_code != 200:
                return ""
            conversation = made.json()["id"]
        else:
            response = await http.post(f"/v1/conversations/{conversation}/items", json={"items": items})
            if response.status_code != 200:
                return conversation
        seen.said.setdefault(conversation, []).append((question, answer))
        seen.added += 1
        seen.count += 1
        path, text = f"/v1/conversations/{conversation}/items", f"aside {seen.count}"
        aside = await http.post(path, json={"items": [{"role": "user", "content": text}]})
        if aside.status_code == 200:
            removed = await http.delete(f"{path}/{aside.json()['data'][0]['id']}")
            assert removed.status_code in (200, 409, 503), removed.text
    except httpx.HTTPError:
        pass
    return conversation


async def caller(http: httpx.AsyncClient, seen: Seen) -> None:
    conversation = ""
    while True:
        if seen.numbers.random() < 0.2:
            conversation = await add(http, conversation, seen)
        if seen.numbers.random() < 0.2:
            await approve(http, seen)
        elif conversation and seen.numbers.random() < 0.1:
            await compact(http, conversation, seen)
        elif seen.numbers.random() < 0.1:
            conversation = ""
        conversation = await turn(http, conversation, seen)
        await asyncio.sleep(0)


async def talk_until_killed(serving: Process, seen: Seen) -> None:
    async with client(serving) as http:
        callers = [asyncio.create_task(caller(http, seen)) for _ in range(CALLERS)]
        await asyncio.sleep(seen.numbers.uniform(0.3, 1.5))
        os.kill(serving.popen.pid, signal.SIGKILL)
        await asyncio.to_thread(serving.wait)
        for one in callers:
            one.cancel()
        for found in await asyncio.gather(*callers, return_exceptions=True):
            # the client's library stumbles over a socket that went while it was opened
            is_theirs = isinstance(found, AttributeError) and "getpeername" in str(found)
            assert isinstance(found, asyncio.CancelledError) or is_theirs, found


def client(serving: Process) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=serving.url, headers={"authorization": f"Bearer {KEY}"}, timeout=BOUND)


def texts(items: list[Item]) -> list[tuple[str, str]]:
    """(role, text) of the messages."""
    found = [one.data for one in items if one.data.get("type") == "message"]
    return [(one["role"], "".join(part["text"] for part in one["content"])) for one in found]


async def everything(state: State, database: Database) -> dict[str, list[Item]]:
    """All conversations; checks that no item comes twice."""
    async with database.reading() as connection:
        ids = list((await connection.execute(select(conversations.c.id))).scalars())
        leases = [select(func.max(table.c.held_until)) for table in (conversations, stored_runs)]
        longest = max([(await connection.execute(lease)).scalar() or 0 for lease in leases])
    assert longest <= milliseconds() + LEASE_SECONDS * 1000, "somebody holds a conversation or a run for too long"
    found = {}
    for id_ in ids:
        head = await state.heads.get(id_, OWNER)
        found[id_] = await state.heads.items(head, limit=100_000)
        assert [one.position for one in found[id_]] == list(range(1, head.depth + 1))
    twice = [id_ for id_, times in Counter(one.id for items in found.values() for one in items).items() if times > 1]
    assert not twice
    return found


def check(seen: Seen, kept: dict[str, list[Item]], wiped: Counter[str]) -> None:
    asked = Counter(text for items in kept.values() for role, text in texts(items) if role == "user")
    assert not [text for text, times in asked.items() if times > 1], "a question is kept twice"
    for conversation, said in seen.said.items():
        messages = texts(kept[conversation])
        for question, answer in said:
            assert ("user", question) in messages, "a question that was answered is lost"
            if answer:
                assert messages[messages.index(("user", question)) + 1] == ("assistant", answer)
    assert not [target for target, times in wiped.items() if times > 1], "a call was made twice"
    for answer in seen.approved.values():
        assert wiped[answer.removeprefix("To: wiped ")] == 1


async def go_on(serving: Process, kept: dict[str, list[Item]], state: State, database: Database) -> None:
    """A turn of every conversation, and an answer to whatever still waits, once leases are over."""
    later = int(LEASE_SECONDS * 1000)
    async with database.writing() as connection:
        for table in (conversations, stored_runs):
            c = table.c
            await connection.execute(update(table).where(c.holder != "").values(held_until=c.held_until - later))
    async with client(serving) as http:
        for action in await state.actions.page(OWNER, ActionQuery(limit=100_000, waiting=True)):
            response = await http.post(f"/a1/actions/{action.id}", json={"decision": "reject"})
            is_lost = all(one.id != action.id for one in kept[action.conversation])
            assert response.status_code == (409 if is_lost else 200), response.text
        for number, conversation in enumerate(kept):
            body = {"model": "worker", "messages": [{"role": "user", "content": f"last {number}"}]}
            answer = await http.post("/v1/chat/completions", json=body, headers={"x-conversation-id": conversation})
            assert answer.status_code == 200, answer.text
    at_work = select(func.count()).select_from(stored_runs).where(stored_runs.c.status.in_(("queued", "in_progress")))
    async with asyncio.timeout(BOUND):
        while await counted(database, at_work):
            await asyncio.sleep(0.05)


async def counted(database: Database, query: Any) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(query)).scalar() or 0)


async def test_what_a_caller_saw_is_kept_once_and_every_conversation_goes_on(
    stub: Stub, processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    seen, kills = Seen(random.Random(11)), amount(2, 100)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "tools.py").write_text(PLUGIN)
    settings: dict[str, Any] = settings_for(stub)
    settings["database"] = {"url": url_of(tmp_path / "data")}
    settings["tools"] = {"folder": str(tmp_path / "plugins")}
    settings["agents"] = [{"name": "worker", "model": "small", "tools": ["look", "wipe"]}]
    config = tmp_path / "headgate.yaml"
    config.write_text(json.dumps(settings))
    stub.otherwise = lambda request: model(seen.numbers, request)

    async def serve() -> Process:
        return await asyncio.to_thread(processes.serve, "--config", str(config), HEADGATE_MASTER_KEY=KEY)

    for _ in range(kills):
        await talk_until_killed(await serve(), seen)
        stub.requests.clear()
    database = open_database(url_of(tmp_path / "data"))
    state = state_of(database)
    try:
        kept = await everything(state, database)
        wiped = tmp_path / "plugins" / "wiped"
        check(seen, kept, Counter(wiped.read_text().split() if wiped.exists() else ()))
        answered = sum(map(len, seen.said.values()))
        told = f"{answered} turns ({seen.added} of them added as items, {seen.left} others left under way)"
        told += f", {len(seen.approved)} approvals and {seen.compacted} compactions seen"
        print(f"\n{kills} kills; {len(kept)} conversations, {told}")
        assert answered >= kills
        await go_on(await serve(), kept, state, database)
        check(seen, await everything(state, database), Counter(wiped.read_text().split() if wiped.exists() else ()))
    finally:
        await database.close()
