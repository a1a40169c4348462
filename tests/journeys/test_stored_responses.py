"""Stored responses: what is kept, shown and gone on from, whatever the provider speaks."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.clients.answers import provider
from tests.conformance.wire import sent
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.responses import native
from tests.harness.stub import Answer, Stub
from tests.requirements import covers

pytestmark = covers("156")
Fields = dict[str, Any]
both_ways = pytest.mark.parametrize("streamed_", [False, True], ids=["whole", "stream"])


@pytest_asyncio.fixture(params=["chat", "responses"])
async def gateway(request: pytest.FixtureRequest, stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    stub.otherwise = provider if request.param == "chat" else native
    settings = settings_for(stub)
    settings["upstreams"][0]["speaks"] = [request.param]
    async with running_gateway(settings, tmp_path) as running:
        yield running


async def respond(gateway: Gateway, input_: Any = "Hi", **fields: Any) -> Fields:
    """The response, whole or as the last event of a stream has it."""
    answer = await gateway.http.post("/v1/responses", json={"model": "small", "input": input_, **fields})
    assert answer.status_code == 200, answer.text
    if not fields.get("stream"):
        return answer.json()  # type: ignore[no-any-return]
    last = sent(answer.content)[-1]
    assert last.name == "response.completed"
    return last.object["response"]  # type: ignore[no-any-return]


async def shown(gateway: Gateway, id_: str, more: str = "") -> httpx.Response:
    return await gateway.http.get(f"/v1/responses/{id_}{more}")


def told(stub: Stub) -> list[tuple[str, str]]:
    """Who said what, as the provider was told last."""
    asked = stub.last.json
    said = []
    for one in asked.get("messages") or asked["input"]:
        content = one["content"]
        said.append((one["role"], content if isinstance(content, str) else "".join(part["text"] for part in content)))
    return said


@both_ways
async def test_a_response_is_kept_and_gone_on_from(gateway: Gateway, stub: Stub, streamed_: bool) -> None:
    first = await respond(gateway, "Hi", stream=streamed_)
    assert (first["store"], first["status"], first["background"]) == (True, "completed", False)
    assert (await shown(gateway, first["id"])).json() == first
    second = await respond(gateway, "And?", previous_response_id=first["id"], stream=streamed_)
    assert told(stub) == [("user", "Hi"), ("assistant", "Hello there."), ("user", "And?")]
    assert second["previous_response_id"] == first["id"]
    assert stub.last.json.get("store") in (None, False)
    assert first["id"] not in stub.last.body.decode()
    assert first["output"][0]["id"] not in stub.last.body.decode()


async def test_a_response_in_the_middle_is_forked(gateway: Gateway, stub: Stub) -> None:
    first = await respond(gateway, "One")
    second = await respond(gateway, "Two", previous_response_id=first["id"])
    await respond(gateway, "Three", previous_response_id=first["id"])
    assert told(stub) == [("user", "One"), ("assistant", "Hello there."), ("user", "Three")]
    await respond(gateway, "Four", previous_response_id=second["id"])
    assert [text for who, text in told(stub) if who == "user"] == ["One", "Two", "Four"]


@both_ways
async def test_turns_in_a_conversation_follow_each_other(gateway: Gateway, stub: Stub, streamed_: bool) -> None:
    made = await gateway.http.post("/v1/conversations", json={"items": [{"role": "user", "content": "Before."}]})
    conversation = made.json()["id"]
    answer = await respond(gateway, "Hi", conversation=conversation, stream=streamed_)
    assert answer["conversation"] == {"id": conversation}
    await respond(gateway, "And?", conversation={"id": conversation}, stream=streamed_)
    assert [text for who, text in told(stub) if who == "user"] == ["Before.", "Hi", "And?"]
    items = (await gateway.http.get(f"/v1/conversations/{conversation}/items?order=asc")).json()
    assert [one["role"] for one in items["data"]] == ["user", "user", "assistant", "user", "assistant"]


async def test_chat_and_responses_see_one_conversation(gateway: Gateway, stub: Stub) -> None:
    answer = await gateway.http.post(
        "/v1/responses", json={"model": "small", "input": "Hi"}, headers={"x-conversation-id": ""}
    )
    conversation = answer.headers["x-conversation-id"]
    await gateway.http.post(
        "/v1/chat/completions",
        json={"model": "small", "messages": [{"role": "user", "content": "More"}]},
        headers={"x-conversation-id": conversation},
    )
    assert [text for _, text in told(stub)] == ["Hi", "Hello there.", "More"]
    await respond(gateway, "Last", previous_response_id=answer.json()["id"])
    assert [text for _, text in told(stub)] == ["Hi", "Hello there.", "Last"], "the chat turn was not its own"


async def test_what_store_false_goes_on_from_stays_as_it_was(gateway: Gateway, stub: Stub) -> None:
    first = await respond(gateway, "Hi")
    loose = await respond(gateway, "And?", previous_response_id=first["id"], store=False)
    assert (loose["store"], loose["previous_response_id"]) == (False, first["id"])
    assert [text for _, text in told(stub)] == ["Hi", "Hello there.", "And?"]
    assert (await shown(gateway, loose["id"])).status_code == 404
    await respond(gateway, "Last", previous_response_id=first["id"])
    assert [text for _, text in told(stub)] == ["Hi", "Hello there.", "Last"]


async def test_input_items_are_paged_in_both_orders(gateway: Gateway) -> None:
    first = await respond(gateway, "One")
    second = await respond(gateway, "Two", previous_response_id=first["id"])
    place = f"/v1/responses/{second['id']}/input_items"
    page = (await gateway.http.get(f"{place}?limit=2&order=asc")).json()
    assert [one["role"] for one in page["data"]] == ["user", "assistant"]
    assert page["has_more"] is True
    rest = (await gateway.http.get(f"{place}?order=asc&after={page['last_id']}")).json()
    assert [one["content"][0]["text"] for one in rest["data"]] == ["Two"]
    newest = (await gateway.http.get(f"{place}?limit=1")).json()
    assert newest["data"] == rest["data"]
    assert (await gateway.http.get(f"{place}?order=up")).json()["error"]["param"] == "order"
    assert (await gateway.http.get(f"{place}?after=msg_none")).json()["error"]["param"] == "after"


async def test_a_deleted_response_is_gone_for_all(gateway: Gateway) -> None:
    id_ = (await respond(gateway, "Hi"))["id"]
    assert (await gateway.http.delete(f"/v1/responses/{id_}")).json() == {
        "id": id_,
        "object": "response",
        "deleted": True,
    }
    assert (await shown(gateway, id_)).status_code == 404
    body = {"model": "small", "input": "And?", "previous_response_id": id_}
    refused = await gateway.http.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")


@covers("77")
async def test_another_users_are_not_there(gateway: Gateway) -> None:
    id_ = (await respond(gateway, "Hi"))["id"]
    conversation = (await gateway.http.post("/v1/conversations")).json()["id"]
    gateway.http.headers["x-user-id"] = "somebody else"
    for path in (f"responses/{id_}", f"responses/{id_}/input_items", f"runs/{id_}/events"):
        assert (await gateway.http.get(f"/v1/{path}")).status_code == 404, path
    assert (await gateway.http.get(f"/v1/conversations/{conversation}")).status_code == 404
    assert (await gateway.http.post(f"/v1/responses/{id_}/cancel")).status_code == 404
    assert (await gateway.http.delete(f"/v1/responses/{id_}")).status_code == 404
    body = {"model": "small", "input": "And?", "previous_response_id": id_}
    assert (await gateway.http.post("/v1/responses", json=body)).status_code == 400
    body = {"model": "small", "input": "And?", "conversation": conversation}
    assert (await gateway.http.post("/v1/responses", json=body)).status_code == 404


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": "yes"}, "store"),
        ({"background": 1}, "background"),
        ({"background": True, "store": False}, "background"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"conversation": []}, "conversation"),
        ({"conversation": "conv_" + "0" * 32, "previous_response_id": "resp_1"}, "conversation"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ],
)
async def test_what_is_wrong_with_state_is_named(gateway: Gateway, stub: Stub, fields: Fields, param: str) -> None:
    answer = await gateway.http.post("/v1/responses", json={"model": "small", "input": "Hi", **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert stub.calls == []


async def test_a_result_belongs_to_a_call_that_is_kept(gateway: Gateway, stub: Stub) -> None:
    tools = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
    first = await respond(gateway, "Oslo?", tools=tools)
    (call,) = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
    await respond(gateway, [result], previous_response_id=first["id"], tools=tools)
    orphan = {**result, "call_id": "call_none"}
    body = {"model": "small", "input": [orphan], "previous_response_id": first["id"]}
    refused = await gateway.http.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[0].call_id")


async def test_a_turn_that_failed_leaves_nothing_behind(gateway: Gateway, stub: Stub) -> None:
    first = await respond(gateway, "Hi")
    stub.answer(*(Answer(status=500) for _ in range(4)))
    body = {"model": "small", "input": "Again", "previous_response_id": first["id"]}
    assert (await gateway.http.post("/v1/responses", json=body)).status_code >= 500
    stub.script.clear()
    await respond(gateway, "Last", previous_response_id=first["id"])
    assert [text for _, text in told(stub)] == ["Hi", "Hello there.", "Last"]


async def test_what_is_kept_can_be_summed_up(gateway: Gateway, stub: Stub) -> None:
    first = await respond(gateway, "Hi")
    body = {"model": "small", "previous_response_id": first["id"]}
    answer = await gateway.http.post("/v1/responses/compact", json=body)
    assert answer.json()["object"] == "response.compaction", answer.text
    assert [text for who, text in told(stub)[:2]] == ["Hi", "Hello there."]
    assert "previous_response_id" not in stub.last.json
    gone = await gateway.http.post("/v1/responses/compact", json={**body, "previous_response_id": "resp_1"})
    assert (gone.status_code, gone.json()["error"]["code"]) == (400, "previous_response_not_found")
