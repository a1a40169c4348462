"""All that is kept of a user or a tenant: handed out as a whole, and gone as a whole, from every table."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from headgate.audit.head import HeadFile
from headgate.audit.types import Head
from headgate.conversations.types import Owner, StoredEvent, StoredRun, milliseconds
from headgate.db.columns import metadata
from headgate.db.engine import Database, open_database
from headgate.usage.ledger import Ledger
from tests.conftest import settings_for
from tests.harness.admin import bearer
from tests.harness.databases import on_each_database, url_of
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_agents import calling
from tests.journeys.test_mixed_turns import theirs
from tests.journeys.test_money import new_key, rows
from tests.requirements import covers

pytestmark = [covers("172"), on_each_database]
ANN, BOB, BLUE, SAID = "ann-4711", "bob-0815", "blue-house", "the-red-door-code-is-1234"
Sums = list[dict[str, Any]]


@dataclass
class House:
    """A tenant with two users who talked, were paid for, and were administered; and a neighbour."""

    gateway: Gateway
    database: Database
    folder: Path
    keys: dict[str, httpx.AsyncClient]

    async def mentions(self, text: str) -> set[str]:
        """The tables in which a text stands anywhere."""
        found = set()
        async with self.database.reading() as connection:
            for table in metadata.sorted_tables:
                for row in await connection.execute(select(table)):
                    if text in repr([bytes(one).decode("latin-1") if isinstance(one, bytes) else one for one in row]):
                        found.add(table.name)
        return found

    async def sums(self, by: str) -> Sums:
        answer = await self.gateway.http.get("/admin/usage", params={"by": by})
        found: Sums = answer.json()["rows"]
        return found

    async def export(self, path: str) -> list[dict[str, Any]]:
        answer = await self.gateway.http.get(f"/admin/data/{path}")
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    async def acts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.gateway.http.get("/admin/audit")).json()["data"]
        return found

    async def is_sound(self) -> bool:
        """Whether the audit log fits together, and with the file outside the database."""
        return bool((await self.gateway.http.get("/admin/audit/verify")).json()["ok"])


async def say(caller: httpx.AsyncClient, stub: Stub, text: str, conversation: str = "", **headers: str) -> str:
    stub.answer(chat(f"Answer to {text}"))
    body = {"model": "small", "message": text, **({"conversation_id": conversation} if conversation else {})}
    answer = await caller.post("/c1/chat", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-conversation-id"])


async def live(caller: httpx.AsyncClient, stub: Stub, gateway: Gateway, user: str) -> None:
    """Some of everything that leaves something behind."""
    origin = await say(caller, stub, f"{SAID} {user}", **{"x-request-id": user})
    forked = (await caller.post(f"/c1/conversations/{origin}/fork")).json()["id"]
    await say(caller, stub, "And then?", forked)
    await caller.delete(f"/c1/conversations/{origin}")
    await caller.post(f"/c1/conversations/{forked}/rewind", json={"item": None})
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "metadata": {"tags": [user, "shared"]}}
    assert (await caller.post("/v1/chat/completions", json=body)).status_code == 200
    state = gateway.gate.deps.state
    assert state is not None
    for number in (1, 2):
        stub.answer(calling(("open_door", {"of": user})))
        asked = {"model": "small", "message": "Open.", "conversation_id": forked, "tools": [theirs()]}
        assert (await caller.post("/c1/chat", json=asked)).status_code == 200
        if number == 1:
            [action] = (await caller.get("/a1/actions", params={"waiting": "true"})).json()["data"]
            stub.answer(chat("Opened."))
            answer = {"decision": "answer", "text": f"opened for {user}"}
            assert (await caller.post(f"/a1/actions/{action['id']}", json=answer)).status_code == 200
    await state.memories.write(Owner(BLUE, user), f"{user} likes tea.")
    run = StoredRun(
        f"resp_{user}", user, forked, Owner(BLUE, user), "in_progress", False, milliseconds(), 0, {"user": user}
    )
    await state.runs.begin(run)
    await state.runs.note(run.id, [StoredEvent(0, json.dumps({"type": "x", "of": user}).encode())])


@pytest_asyncio.fixture
async def house(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(Ledger.__init__, "__defaults__", (0.05, None))
    settings = settings_for(stub, database={"url": url_of(tmp_path)}, routing={"overrides": {"fields": True}})
    settings["models"][0]["price"] = {"input": "1000", "output": "2000"}
    async with running_gateway(settings, tmp_path) as gateway:
        await gateway.http.post("/admin/tenants", json={"id": BLUE, "metadata": {"of": BLUE}})
        await gateway.http.put(f"/v1/tenant/config/requests_per_minute?tenant={BLUE}", json={"value": 900})
        keys = {}
        for user in (ANN, BOB):
            about = {"user_id": user, "user_alias": user, "team_id": BLUE, "auto_create_key": False, "max_budget": 5000}
            assert (await gateway.http.post("/user/new", json=about)).is_success
            keys[user] = await new_key(gateway, tenant=BLUE, user=user, alias=f"key of {user}", metadata={"of": user})
        for user, caller in keys.items():
            await live(caller, stub, gateway, user)
        await keys[ANN].get(f"/admin/tenants/{ANN}")  # refused, which is kept as well
        await rows(gateway, 12)
        database = open_database(url_of(tmp_path))
        try:
            yield House(gateway, database, tmp_path, keys)
        finally:
            await database.close()
            for caller in keys.values():
                await caller.aclose()


async def test_everything_of_a_user_is_handed_out_and_nothing_of_anybody_else(house: House) -> None:
    lines = await house.export(f"{BLUE}/{ANN}")
    kinds = {one["type"] for one in lines}
    expected = {"export", "user", "key", "conversation", "segment", "item", "run", "event", "attempt", "act", "end"}
    assert kinds == expected | {"action", "memory"}
    [memory] = [one for one in lines if one["type"] == "memory"]
    assert memory["text"] == f"{ANN} likes tea."
    actions = {one["state"]: one for one in lines if one["type"] == "action"}
    assert {state: one["kind"] for state, one in actions.items()} == {"done": "client_tool", "pending": "client_tool"}
    assert actions["done"]["answer"] == {"text": f"opened for {ANN}"}
    assert (lines[0]["user"], lines[-1]["count"]) == (ANN, len(lines) - 2)
    said = [one for one in lines if one["type"] == "item" and SAID in json.dumps(one)]
    assert said  # of the conversation that was deleted, what its fork has in common with it
    assert BOB not in json.dumps(lines)
    assert "digest" not in json.dumps([one for one in lines if one["type"] == "key"])
    [act] = [one for one in await house.acts() if one["action"] == "data.exported"]
    assert act["target"]["id"] == ANN


async def test_of_a_user_who_is_erased_no_row_of_any_table_is_left(house: House) -> None:
    assert {"conversations", "stored_runs", "events", "attempts", "users", "keys", "audit"} <= await house.mentions(ANN)
    assert {"actions", "memories"} <= await house.mentions(ANN)
    assert "items" in await house.mentions(f"{SAID} {ANN}")
    before = {by: await house.sums(by) for by in ("tenant", "key", "model", "day")}
    of_user = next(one for one in await house.sums("user") if one["name"] == f"{BLUE}/{ANN}")
    answer = await house.gateway.http.delete(f"/admin/data/{BLUE}/{ANN}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["counts"] | {"acts": 0} == {
        "knowledge": 0,
        "keys": 1,
        "conversations": 1,
        "settings": 0,
        "attempts": 6,
        "acts": 0,
    }
    assert await house.mentions(ANN) == set()
    assert await house.mentions(f"{SAID} {BOB}") == {"items"} | (await house.mentions(f"{SAID} {BOB}"))
    assert {by: await house.sums(by) for by in before} == before
    [now] = [one for one in await house.sums("user") if "erased-" in one["name"]]
    assert {**now, "name": ""} == {**of_user, "name": ""}
    assert (await house.keys[ANN].get("/c1/conversations")).status_code == 401
    assert len((await house.keys[BOB].get("/c1/conversations")).json()["items"]) == 1
    assert [one["type"] for one in await house.export(f"{BLUE}/{BOB}")].count("conversation") == 1


async def test_the_audit_log_tells_of_it_without_the_name_and_stays_sound(house: House) -> None:
    assert await house.is_sound()
    count = len(await house.acts())
    await house.gateway.http.delete(f"/admin/data/{BLUE}/{ANN}")
    acts = await house.acts()
    assert len(acts) == count + 2
    assert (acts[0]["action"], acts[0]["outcome"], acts[0]["target"]["id"][:7]) == ("data.erased", "done", "erased-")
    assert acts[0]["before"].keys() == {"seq", "hash"}
    assert await house.is_sound()
    await house.gateway.http.post("/admin/tenants", json={"id": "later"})
    assert await house.is_sound()


async def test_a_crash_before_the_head_of_the_log_was_written_is_made_good(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, write = house.folder / "audit.head", HeadFile.write
    first = file.read_bytes()
    announced = json.loads(first)["seq"] + 1

    def breaks(self: HeadFile, head: Head) -> None:
        if head.seq > announced:
            raise OSError
        write(self, head)

    monkeypatch.setattr(HeadFile, "write", breaks)
    await house.gateway.http.delete(f"/admin/data/{BLUE}/{ANN}")
    monkeypatch.undo()
    left = json.loads(file.read_bytes())
    [act] = [one for one in await house.acts() if one["action"] == "data.erased"]
    assert act["before"] == {"seq": announced, "hash": left["hash"]}
    assert await house.is_sound()
    await house.gateway.http.post("/admin/tenants", json={"id": "later"})
    assert json.loads(file.read_bytes())["seq"] == announced + 2
    assert await house.is_sound()
    file.write_bytes(first)  # one from before, for which no act stands
    assert not await house.is_sound()


async def test_of_a_tenant_that_is_erased_only_the_ledgers_sums_are_left(house: House) -> None:
    before = await house.sums("tenant")
    answer = await house.gateway.http.delete(f"/admin/data/{BLUE}")
    assert answer.status_code == 200, answer.text
    for text in (ANN, BOB, SAID):
        assert await house.mentions(text) == set()
    assert await house.mentions(BLUE) == {"attempts"}
    assert await house.sums("tenant") == before
    assert (await house.keys[BOB].get("/c1/conversations")).status_code == 401
    assert (await house.gateway.http.get(f"/admin/tenants/{BLUE}")).status_code == 404
    assert await house.is_sound()
    again = (await house.gateway.http.post("/admin/tenants", json={"id": BLUE})).status_code
    assert again == 201


async def test_it_can_be_asked_for_again(house: House) -> None:
    for _ in range(2):
        answer = await house.gateway.http.delete(f"/admin/data/{BLUE}/{ANN}")
        assert answer.status_code == 200, answer.text
    assert answer.json()["counts"]["conversations"] == 0
    assert await house.mentions(ANN) == set()


@pytest.mark.parametrize("path", [f"{BLUE}/", "default", f"{BLUE}/{'x' * 300}"])
async def test_what_cannot_be_erased_is_refused(house: House, path: str) -> None:
    answer = await house.gateway.http.delete(f"/admin/data/{path}")
    assert answer.status_code in (404, 409), answer.text
    assert "conversations" in await house.mentions(ANN)


async def test_it_takes_the_scope_for_the_tenant(house: House) -> None:
    made = {}
    for name, fields in {
        "reads": {"tenant": BLUE, "scopes": ["data:read"]},
        "elsewhere": {"scopes": ["data:*"]},
    }.items():
        made[name] = (await house.gateway.http.post("/admin/keys", json=fields)).json()["key"]

    async def status(method: str, key: str) -> int:
        answer = await house.gateway.http.request(method, f"/admin/data/{BLUE}/{ANN}", headers=bearer(made[key]))
        return answer.status_code

    assert [await status("GET", "reads"), await status("DELETE", "reads")] == [200, 403]
    assert [await status("GET", "elsewhere"), await status("DELETE", "elsewhere")] == [404, 404]
