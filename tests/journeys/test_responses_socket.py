"""The Responses API over WebSockets: each response is a call of its own, and one may go on from the last."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from headgate.api import responses_socket
from tests.conftest import settings_for
from tests.harness.gateway import KEY, TOKEN, Gateway, running_gateway
from tests.harness.responses import native
from tests.harness.stub import BOUND, Stub, stream, stream_pieces
from tests.journeys.test_money import rows
from tests.requirements import covers

pytestmark = covers("responses")
Told = dict[str, Any]


@asynccontextmanager
async def socket(
    gateway: Gateway, key: str = KEY, path: str = "/v1/responses", **options: Any
) -> AsyncIterator[ClientConnection]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with connect(f"ws://127.0.0.1:{gateway.port}{path}", additional_headers=headers, **options) as opened:
        yield opened


async def told(opened: ClientConnection) -> Told:
    async with asyncio.timeout(BOUND):
        found: Told = json.loads(await opened.recv())
        return found


async def respond(opened: ClientConnection, **fields: Any) -> list[Told]:
    """The events of one response, up to its last."""
    await opened.send(json.dumps({"type": "response.create", "model": "small", "input": "Hi", **fields}))
    events = [await told(opened)]
    while events[-1]["type"] not in ("response.completed", "response.incomplete", "response.failed", "error"):
        events.append(await told(opened))
    return events


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
async def test_events_come_as_messages_one_response_after_another(gateway: Gateway, path: str) -> None:
    async with socket(gateway, path=path) as opened:
        for _ in range(2):
            events = await respond(opened)
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hello there."
    first, second = await gateway.wait_for_lines(2)
    assert first["request_id"] != second["request_id"]
    assert (first["route"], first["status"], first["outcome"]) == ("responses", 200, "ok")


async def test_a_response_goes_on_from_the_last_one(gateway: Gateway, stub: Stub) -> None:
    async with socket(gateway) as opened:
        first = (await respond(opened, input="Remember: cobalt.", store=False))[-1]["response"]
        await respond(opened, previous_response_id=first["id"], input="Which word?")
    said = [one["content"] for one in stub.last.json["messages"]]
    assert said == ["Remember: cobalt.", "Hello there.", "Which word?"]


async def test_a_response_can_be_prepared_without_asking_a_model(gateway: Gateway, stub: Stub) -> None:
    async with socket(gateway) as opened:
        (fault,) = await respond(opened, tools=5, generate=False)
        assert fault["error"]["param"] == "tools"
        prepared = await respond(opened, input="Remember: cobalt.", generate=False)
        assert [event["type"].rpartition(".")[2] for event in prepared] == ["created", "in_progress", "completed"]
        assert not stub.calls
        await respond(opened, previous_response_id=prepared[-1]["response"]["id"], input="Which word?")
    assert [one["content"] for one in stub.last.json["messages"]] == ["Remember: cobalt.", "Which word?"]


async def test_a_response_that_is_not_held_cannot_be_gone_on_from(gateway: Gateway, stub: Stub) -> None:
    async with socket(gateway) as opened:
        first = (await respond(opened))[-1]["response"]["id"]
        await respond(opened)
        for more in ({"store": False}, {}, {"generate": False}):
            (error,) = await respond(opened, previous_response_id=first, **more)
            assert (error["type"], error["status"]) == ("error", 400)
            assert error["error"]["code"] == "previous_response_not_found"
    assert len(stub.calls) == 2


async def test_what_failed_cannot_be_tried_again_from_the_same_response(gateway: Gateway) -> None:
    async with socket(gateway) as opened:
        first = (await respond(opened))[-1]["response"]["id"]
        orphan = [{"type": "function_call_output", "call_id": "call_none", "output": "x"}]
        (failed,) = await respond(opened, previous_response_id=first, input=orphan)
        assert failed["error"]["param"] == "input[2].call_id"
        (gone,) = await respond(opened, previous_response_id=first)
        assert gone["error"]["code"] == "previous_response_not_found"
        assert (await respond(opened))[-1]["type"] == "response.completed"


async def test_a_provider_of_the_api_gets_the_whole_conversation(stub: Stub) -> None:
    stub.otherwise = native
    settings = settings_for(stub)
    settings["upstreams"][0]["speaks"] = ["responses"]
    async with running_gateway(settings) as gateway, socket(gateway) as opened:
        await respond(opened)
        await respond(opened, previous_response_id="resp_p1", input="And?")
        asked = stub.last.json
        await respond(opened, previous_response_id="resp_of_theirs", input="And?")
        theirs = stub.last.json
    assert [item["role"] for item in asked["input"]] == ["user", "assistant", "user"]
    assert "previous_response_id" not in asked
    assert theirs["previous_response_id"] == "resp_of_theirs"


@pytest.mark.parametrize(
    ("message", "param"),
    [("{", None), ("[]", None), ('{"type":"session.update"}', "type"), ('{"type":"response.create"}', "model")],
)
async def test_a_message_that_cannot_be_read_is_answered_and_the_connection_goes_on(
    gateway: Gateway, message: str, param: str | None
) -> None:
    async with socket(gateway) as opened:
        await opened.send(message)
        error = await told(opened)
        assert (error["type"], error["status"], error["error"]["param"]) == ("error", 400, param)
        assert (await respond(opened))[-1]["type"] == "response.completed"


async def test_nobody_comes_in_without_a_key(gateway: Gateway) -> None:
    for key in ("", "sk-wrong"):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(gateway, key):
                pass
        assert refused.value.response.status_code == 401
        assert b'"type":"authentication_error"' in (refused.value.response.body or b"")
    gateway.gate.draining = True
    with pytest.raises(InvalidStatus) as late:
        async with socket(gateway):
            pass
    assert late.value.response.status_code == 503


async def test_only_so_many_may_be_open(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses_socket, "_MOST_SOCKETS", 1)
    async with socket(gateway) as opened:
        with pytest.raises(InvalidStatus) as refused:
            async with socket(gateway):
                pass
        assert refused.value.response.status_code == 503
        await respond(opened)


async def test_each_response_is_limited_and_paid_for(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings_for(stub), tmp_path) as gateway:
        key = (await gateway.http.post("/admin/keys", json={"rate": {"requests_per_minute": 1}})).json()["key"]
        async with socket(gateway, key) as opened:
            await respond(opened)
            (refused,) = await respond(opened)
            assert (refused["status"], refused["error"]["code"]) == (429, "rate_limit_exceeded")
        async with socket(gateway, TOKEN) as opened:
            await respond(opened)
        assert len(await rows(gateway, 2)) == 2


async def test_who_leaves_ends_the_call(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream(stream_pieces()[:2], hang=True))
    async with socket(gateway) as opened:
        await opened.send(json.dumps({"type": "response.create", "model": "small", "input": "Hi"}))
        await told(opened)
        opened.transport.abort()
        async with asyncio.timeout(BOUND):
            await stub.last.left.wait()
    (line,) = await gateway.wait_for_lines(1)
    assert line["outcome"] == "disconnected"


async def test_messages_that_come_too_early_wait(gateway: Gateway) -> None:
    async with socket(gateway) as opened:
        for _ in range(20):
            await opened.send(json.dumps({"type": "response.create", "model": "small", "input": "Hi"}))
        ends = 0
        while ends < 20:
            ends += (await told(opened))["type"] == "response.completed"


async def test_a_message_is_not_larger_than_a_body(stub: Stub) -> None:
    settings = settings_for(stub, server={"limits": {"body": 20_000}})
    async with running_gateway(settings) as gateway, socket(gateway, max_size=None) as opened:
        with pytest.raises(ConnectionClosed) as closed:
            await respond(opened, input="x" * 30_000)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    assert not stub.calls


async def test_a_connection_ends_after_its_time(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses_socket, "_LONGEST_SECONDS", 0.05)
    async with socket(gateway) as opened:
        assert (await told(opened))["error"]["code"] == "websocket_connection_limit_reached"
        with pytest.raises(ConnectionClosed):
            await told(opened)


async def test_openais_client_speaks_to_it(gateway: Gateway) -> None:
    async with (
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client,
        client.responses.connect() as connection,
    ):
        await connection.response.create(model="small", input="Hi")
        text = ""
        async for event in connection:
            text += event.delta if event.type == "response.output_text.delta" else ""
            if event.type == "response.completed":
                break
    assert text == "Hello there."
