"""The Responses API in front of a provider that speaks it: relayed as it is. And such a provider behind other doors."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conformance.chat_rules import check_stream as check_chat
from tests.conformance.wire import sent
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.responses import call, message, native, pieces, reasoning, refused, streamed, whole
from tests.harness.stub import Stub, chat, stream
from tests.journeys.test_money import rows
from tests.requirements import covers

pytestmark = covers("responses")


def speaking(stub: Stub, *dialects: str, **more: Any) -> dict[str, Any]:
    settings = settings_for(stub, **more)
    settings["upstreams"][0]["speaks"] = list(dialects)
    return settings


@pytest_asyncio.fixture
async def native_gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    stub.otherwise = native
    async with running_gateway(speaking(stub, "chat", "responses"), tmp_path) as gateway:
        yield gateway


async def respond(gateway: Gateway, **fields: Any) -> httpx.Response:
    return await gateway.http.post("/v1/responses", json={"model": "small", "input": "Hi", **fields})


async def test_a_call_reaches_the_provider_as_it_was_sent(stub: Stub) -> None:
    """Where nothing is kept here, the provider's own state is reached."""
    stub.otherwise = native
    body = b'{"store": true, "model":"small", "previous_response_id": "resp_x", "input":"Hi", "new": [1, 2]}'
    async with running_gateway(speaking(stub, "chat", "responses")) as gateway:
        answer = await gateway.http.post("/v1/responses", content=body)
    assert stub.last.path == "/v1/responses"
    assert stub.last.body == body.replace(b'"small"', b'"stub-small"')
    assert answer.content == whole().body.replace(b'"stub-small"', b'"small"')
    assert answer.headers["x-headgate-target"] == "stub/stub-small"


async def test_a_stream_comes_through_byte_for_byte_and_is_counted(native_gateway: Gateway, stub: Stub) -> None:
    output = (reasoning("Hm.", sealed="gAAAA"), message("Hello."), call())
    stub.answer(streamed(*output))
    answer = await respond(native_gateway, stream=True, store=False)
    expected = b"".join(pieces(*output)).replace(b'"model":"stub-small"', b'"model":"small"')
    assert answer.content == expected
    (line,) = await native_gateway.wait_for_lines(1)
    assert (line["prompt_tokens"], line["completion_tokens"], line["cached_tokens"]) == (7, 3, 2)
    assert line["first_token_ms"] is not None
    (entry,) = await rows(native_gateway, 1)
    assert (entry["prompt"], entry["completion"], entry["measure"]) == ("7", "3", "reported")


async def test_a_provider_that_fails_before_its_model_began_is_replaced(stub: Stub) -> None:
    settings = speaking(stub, "responses")
    settings["models"] = [
        {"name": "small", "targets": [{"upstream": "stub", "model": one} for one in ("first", "second")], "retries": 0}
    ]
    error = {"code": "server_error", "message": "It burnt."}
    stub.answer(stream(pieces(last="response.failed", error=error)), streamed())
    async with running_gateway(settings) as gateway:
        answer = await respond(gateway, stream=True)
    assert [one.json["model"] for one in stub.calls] == ["first", "second"]
    assert sent(answer.content)[-1].name == "response.completed"
    assert answer.headers["x-headgate-attempts"] == "2"


async def test_a_failure_in_the_middle_is_told_once_and_noted(native_gateway: Gateway, stub: Stub) -> None:
    error = {"code": "server_error", "message": "It burnt."}
    stub.answer(stream(pieces(message("Hel"), last="response.failed", error=error)))
    events = sent((await respond(native_gateway, stream=True)).content)
    assert [one.name for one in events].count("response.failed") == 1
    assert events[-1].object["response"]["error"] == error
    (line,) = await native_gateway.wait_for_lines(1)
    assert (line["outcome"], line["error"]) == ("error", "upstream_fault")


async def test_a_stream_that_breaks_off_says_so_with_the_next_number(native_gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream(pieces(message("Hello."))[:6]))
    events = sent((await respond(native_gateway, stream=True)).content)
    assert [one.object["sequence_number"] for one in events] == list(range(7))
    assert (events[-1].name, events[-1].object["error"]["code"]) == ("error", "upstream_broke_off")


@pytest.mark.parametrize("streams", [False, True])
async def test_a_refusal_keeps_its_status_and_its_words(native_gateway: Gateway, stub: Stub, *, streams: bool) -> None:
    stub.answer(refused(400, "Unknown parameter: 'new'.", param="new", code="unknown_parameter"))
    answer = await respond(native_gateway, stream=streams)
    told = answer.json()["error"]
    assert (answer.status_code, told["code"], told["param"]) == (400, "unknown_parameter", "new")
    assert told["message"] == "Unknown parameter: 'new'."


async def test_an_answer_that_failed_is_an_error(native_gateway: Gateway, stub: Stub) -> None:
    stub.answer(whole(status="failed", error={"code": "server_error", "message": "It burnt."}))
    answer = await respond(native_gateway)
    assert (answer.status_code, answer.json()["error"]["message"]) == (502, "It burnt.")


async def test_compactions_of_the_provider_are_its_own(native_gateway: Gateway, stub: Stub) -> None:
    answer = await native_gateway.http.post("/v1/responses/compact", json={"model": "small", "input": "Hi"})
    assert stub.last.path == "/v1/responses/compact"
    assert answer.json()["output"][0]["encrypted_content"] == "gAAAA-sealed"


async def test_a_chat_is_put_into_the_words_of_a_provider_that_knows_no_other(stub: Stub) -> None:
    stub.otherwise = native
    async with running_gateway(speaking(stub, "responses")) as gateway:
        answer = (await gateway.chat(max_tokens=9)).json()
        assert answer["choices"][0]["message"]["content"] == "Hello there."
        assert answer["usage"]["total_tokens"] == 10
        assert stub.last.json == {
            "model": "stub-small",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
            "max_output_tokens": 9,
            "store": False,
        }
        stub.answer(streamed(reasoning("Hm."), message("Yes."), call()))
        content = await gateway.stream(tools=[{"type": "function", "function": {"name": "weather"}}])
    said = check_chat(content, usage=False)
    assert (said.thought, said.text, said.calls[0][1]) == ("Hm.", "Yes.", "weather")


async def test_openais_own_address_is_spoken_to_in_both_and_another_one_as_chat(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["upstreams"].append({"name": "theirs", "provider": "openai", "api_key": "sk-test-of-openai-01"})
    settings["upstreams"].append(
        {"name": "proxy", "provider": "openai", "base_url": stub.url, "api_key": "sk-proxy-01"}
    )
    async with running_gateway(settings) as gateway:
        spoken = {name: upstream.speaks for name, upstream in gateway.gate.deps.upstreams.items()}
        stub.answer(chat())
    assert spoken["theirs"] == {"chat", "responses", "compaction"}
    assert spoken["proxy"] == spoken["stub"] == {"chat"}


async def test_a_body_that_is_no_response_is_garbled(native_gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([b"data: hello\n\n"]))
    answer = await respond(native_gateway, stream=True)
    assert answer.status_code == 502
    assert json.loads(answer.content)["error"]["code"] == "upstream_garbled"
