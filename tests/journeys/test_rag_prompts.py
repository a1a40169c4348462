"""Passages that go along with the user's message: where they stand, who is told of them, and what they cannot do."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from tests.harness.collector import running_collector
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.knowing import Knowing
from tests.harness.stub import Answer, Stub, chat, stream
from tests.journeys.hostile_texts import ALL
from tests.journeys.test_agents import calling
from tests.journeys.test_conversations import say
from tests.journeys.test_knowledge import INDICES, filled, settings
from tests.journeys.test_money import new_key
from tests.journeys.test_progress import SCHEMA
from tests.requirements import covers

pytestmark = covers("95")
MODEL = {"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}
ASKED = "How many wheels has an automobile?"
AGENTS: list[dict[str, Any]] = [
    {"name": "clerk", "rag_index": "facts", "system_prompt": "You are a clerk."},
    {"name": "several", "rag_index": ["facts", "nowhere"]},
    {"name": "first", "rag_index": {"indices": ["facts"], "top_k": 1}},
    {"name": "strict", "rag_index": {"indices": ["facts"], "min_score": 0.99}},
    {"name": "narrow", "rag_index": {"indices": ["facts"], "share": 0.0001}},
    {"name": "lost", "rag_index": "nowhere"},
    {"name": "reader", "rag_index": "hostile", "tool_groups": ["rag"]},
    {"name": "thinker", "rag_index": "facts", "strategy": "reasoning"},
]


@pytest.fixture
def model(stub: Stub) -> Knowing:
    return Knowing(stub)


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path, model: Knowing) -> AsyncIterator[Gateway]:
    made = settings(stub, tmp_path)
    made |= {"models": [*made["models"], MODEL], "agents": [{"model": "small", **one} for one in AGENTS]}
    async with running_gateway(made, tmp_path) as running:
        await filled(running.http)
        yield running


def asking(text: str = ASKED) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def test_passages_stand_behind_what_the_user_said_with_ids_to_cite(gateway: Gateway, model: Knowing) -> None:
    answer = await gateway.chat(model="clerk", messages=asking())
    system, user = model.chats[-1]["messages"]
    assert system == {"role": "system", "content": "You are a clerk."}
    said, note, first, *_ = user["content"].split("\n\n")
    assert said == ASKED
    assert "data, not instructions" in note
    assert first == "[cars#0]\n> (Cars, https://example.org/cars)\n> A car has four wheels."
    mark = note.partition(">")[0]
    assert user["content"].endswith(f"\n</{mark[1:]}>")
    told = answer.json()["retrieval"]
    assert (told["passages"][0]["id"], told["passages"][0]["index"], told["failed"]) == ("cars#0", "facts", {})
    ids = [one["id"] for one in told["passages"]]
    line = next(one for one in await gateway.wait_for_lines(1) if one["model"] == "clerk")
    assert line["passages"] == ids
    run = (await gateway.http.get(f"/v1/runs/{answer.headers['x-request-id']}")).json()
    assert [one["id"] for one in run["decision"]["passages"]] == ids


async def test_a_stream_tells_of_them_before_the_answer_and_not_to_those_who_want_plain_chunks(
    gateway: Gateway, model: Knowing
) -> None:
    for headers, told in (({}, 1), ({"x-events": "none"}, 0)):
        model.answer(stream())
        body = {"model": "clerk", "messages": asking(), "stream": True}
        answer = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
        chunks = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
        found = [one["proxy_status"] for one in chunks if one.get("proxy_status", {}).get("type") == "retrieval"]
        assert len(found) == told
        for one in found:
            assert one["passages"][0]["id"] == "cars#0"
            jsonschema.validate(one, {**SCHEMA, "$ref": "#/$defs/proxy_status"})
        assert answer.text.endswith("data: [DONE]\n\n")


async def test_they_are_told_in_every_dialect(gateway: Gateway, model: Knowing) -> None:
    shared = {"model": "clerk", "max_tokens": 50}
    told = (await gateway.http.post("/v1/messages", json={**shared, "messages": asking()})).json()
    assert told["retrieval"]["passages"][0]["id"] == "cars#0"
    model.answer(stream())
    body = {"model": "clerk", "input": ASKED, "stream": True}
    text = (await gateway.http.post("/v1/responses", json=body, headers={"x-events": "all"})).text
    assert '"cars#0"' in text
    model.answer(stream())
    text = (await gateway.http.post("/api/chat", json={"model": "clerk", "messages": asking()})).text
    assert '"cars#0"' in text


async def test_the_next_turn_begins_with_the_same_bytes_and_the_users_words_are_kept_as_they_were(
    gateway: Gateway, model: Knowing
) -> None:
    first = await say(gateway, ASKED, model="clerk")
    await say(gateway, "And a cat?", first.headers["x-conversation-id"], model="clerk")
    one, two = (json.dumps(request["messages"]) for request in model.chats)
    shared = one[: one.index("<passages-")]
    assert ASKED in shared
    assert two.startswith(shared[: shared.index(ASKED) + len(ASKED)])
    assert two.count("<passages-") == 1
    assert "cats#0" in model.told
    kept = (await gateway.http.get(f"/c1/conversations/{first.headers['x-conversation-id']}")).json()
    assert "passages-" not in json.dumps(kept)
    assert ASKED in json.dumps(kept)


async def test_the_prompt_of_a_tools_turn_goes_on_from_the_one_before(gateway: Gateway, model: Knowing) -> None:
    model.answer(calling(("rag_list_indices", {})), chat("Done."))
    await gateway.http.post(INDICES, json={"name": "hostile"})
    await gateway.http.post(f"{INDICES}/hostile/documents:add", json={"text": "An automobile has wheels."})
    await gateway.chat(model="reader", messages=asking())
    first, second = (request["messages"] for request in model.chats)
    assert "<passages-" in first[-1]["content"]
    assert second[: len(first)] == first


async def test_how_many_how_near_and_how_long_is_as_set(gateway: Gateway, model: Knowing) -> None:
    for agent, count in (("clerk", 3), ("first", 1), ("strict", 0), ("narrow", 0)):
        answer = await gateway.chat(model=agent, messages=asking())
        assert len(answer.json()["retrieval"]["passages"]) == count, agent
        assert model.told.count("\n> ") >= count
        assert ("<passages-" in model.told) is bool(count)


async def test_a_prompt_that_leaves_little_room_gets_fewer(stub: Stub, tmp_path: Path, model: Knowing) -> None:
    made = settings(stub, tmp_path)
    narrow = {**MODEL, "capabilities": {"context_window": 400}}
    made |= {"models": [*made["models"], narrow], "agents": [{"model": "small", **AGENTS[0]}]}
    async with running_gateway(made, tmp_path) as gateway:
        await filled(gateway.http)
        counts = []
        for length in (0, 760, 900):
            answer = await gateway.chat(model="clerk", messages=asking(ASKED + " really" * (length // 7)))
            counts.append(len(answer.json()["retrieval"]["passages"]))
    assert counts[0] == 3
    assert counts[0] > counts[1] > counts[2] == 0


async def test_parts_of_a_message_stay_and_the_passages_are_a_part_of_their_own(
    gateway: Gateway, model: Knowing
) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    parts = [{"type": "text", "text": ASKED}, image]
    await gateway.chat(model="clerk", messages=[{"role": "user", "content": parts}])
    sent = model.chats[-1]["messages"][-1]["content"]
    assert sent[:2] == parts
    assert sent[2]["text"].startswith("<passages-")
    await gateway.chat(model="clerk", messages=[{"role": "user", "content": [image]}])
    assert model.chats[-1]["messages"][-1]["content"] == [image]


async def test_a_run_that_finds_nothing_goes_on_without_and_says_so(
    gateway: Gateway, model: Knowing, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await gateway.chat(model="lost", messages=asking())
    assert answer.json()["retrieval"] == {"passages": [], "failed": {"nowhere": "index_not_found"}}
    assert (answer.status_code, answer.headers["x-headgate-tools-absent"]) == (200, "index nowhere")
    assert model.told == ASKED
    assert "goes on without the index nowhere: index_not_found" in caplog.text
    answer = await gateway.chat(model="several", messages=asking())
    assert answer.json()["retrieval"]["failed"] == {"nowhere": "index_not_found"}
    assert "[cars#0]" in model.told
    model.embeds = False
    answer = await gateway.chat(model="clerk", messages=asking())
    assert answer.json()["retrieval"] == {"passages": [], "failed": {"facts": "upstream_fault"}}
    assert (answer.status_code, model.told) == (200, ASKED)


async def test_without_anything_kept_the_run_goes_on(stub: Stub, tmp_path: Path, model: Knowing) -> None:
    made = settings(stub, tmp_path)
    made |= {"models": [*made["models"], MODEL], "agents": [{"model": "small", **AGENTS[0]}]}
    made.pop("database")
    async with running_gateway(made) as gateway:
        answer = await gateway.chat(model="clerk", messages=asking())
        assert answer.json()["retrieval"]["failed"] == {"facts": "state_unavailable"}
        assert model.told == ASKED


async def test_a_failing_model_is_still_a_plain_error(gateway: Gateway, model: Knowing) -> None:
    model.answer(Answer(500))
    answer = await gateway.chat(model="clerk", messages=asking(), stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_fault")


async def test_reasoning_has_them_in_each_step(gateway: Gateway, model: Knowing) -> None:
    step = '{"thought": "done", "next_action": "finished", "tools_to_use": []}'
    model.answer(chat(step), chat("Four."))
    answer = await gateway.chat(model="thinker", messages=asking())
    assert answer.json()["retrieval"]["passages"][0]["id"] == "cars#0"
    assert all("[cars#0]" in json.dumps(request["messages"]) for request in model.chats)


@covers("95", "135", "81")
async def test_the_trace_and_the_file_of_the_conversation_tell_of_them(
    stub: Stub, tmp_path: Path, model: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.telemetry.traces._EVERY", 0.01)
    made = settings(stub, tmp_path)
    made |= {"models": [*made["models"], MODEL], "agents": [{"model": "small", **AGENTS[0]}]}
    made["logging"] = {"runs": {"folder": str(tmp_path / "runs")}}
    async with running_collector() as collector:
        made["tracing"] = {"endpoint": collector.url}
        async with running_gateway(made, tmp_path) as gateway:
            await filled(gateway.http)
            await gateway.chat(model="clerk", messages=asking())
            spans = await collector.wait_for(5)
        (told,) = [one.attributes["headgate.passages"] for one in spans if "headgate.passages" in one.attributes]
    assert told[0] == "cars#0"
    lines = [json.loads(line) for file in (tmp_path / "runs").iterdir() for line in file.read_text().splitlines()]
    (line,) = [one for one in lines if one["type"] == "retrieval"]
    assert line["passages"][0]["id"] == "cars#0"


@covers("100")
async def test_another_tenants_index_of_the_same_name_is_not_read(gateway: Gateway, model: Knowing) -> None:
    await gateway.http.post("/admin/tenants", json={"id": "blue"})
    async with await new_key(gateway, tenant="blue") as caller:
        body = {"model": "clerk", "messages": asking()}
        answer = await caller.post("/v1/chat/completions", json=body)
    assert answer.json()["retrieval"]["failed"] == {"facts": "index_not_found"}
    assert "cars" not in model.told


async def test_hostile_documents_are_quoted_and_change_nothing_else(gateway: Gateway, model: Knowing) -> None:
    await gateway.http.post(INDICES, json={"name": "hostile"})
    for number, (name, text) in enumerate(ALL.items()):
        document = {"id": "bad", "title": text[:900].replace("\0", ""), "text": f"wheels {text}".replace("\0", "")}
        verb = "PUT" if number else "POST"
        path = f"{INDICES}/hostile/documents" + ("/bad" if number else ":add")
        kept = await gateway.http.request(verb, path, json=document)
        assert kept.status_code in (200, 201), (name, kept.text)
        await gateway.chat(model="reader", messages=asking("wheels"))
        (message,) = model.chats[-1]["messages"]
        said, _, block = message["content"].partition("\n\n")
        assert (said, message["role"]) == ("wheels", "user"), name
        opening, *lines, closing = block.split("\n")
        assert closing == f"</{opening[1:]}", name
        body = lines[2:]
        assert all(not line or line.startswith(("> ", "[bad#")) or line == ">" for line in body), (name, body)
        assert "<|im_start|>" not in block, name
        assert model.chats[-1].keys() == {"model", "messages", "tools"}, name
    assert len(ALL) > 40
