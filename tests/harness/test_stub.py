"""The scripted upstream does what a test scripts; seen with a plain client."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.harness.gateway import raw_exchange
from tests.harness.stub import BOUND, DONE, Answer, Stub, chat, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("harness")
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: stub\r\ncontent-length: 2\r\n\r\n{}"


@pytest_asyncio.fixture
async def client(stub: Stub) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stub.url, timeout=BOUND) as opened:
        yield opened


async def test_the_script_comes_first_and_in_order(client: httpx.AsyncClient, stub: Stub) -> None:
    stub.answer(chat("one"), Answer(status=503, body=b"down", headers={"retry-after": "7"}))
    answers = [await client.post("/chat/completions", json={"n": number}) for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 503, 200]
    assert answers[0].json()["choices"][0]["message"]["content"] == "one"
    assert answers[1].headers["retry-after"] == "7"
    assert [call.json for call in stub.calls] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_a_listing_of_models_takes_nothing_from_the_script(client: httpx.AsyncClient, stub: Stub) -> None:
    stub.answer(Answer(status=503))
    assert (await client.get("/models")).json()["data"][0]["id"] == "stub-small"
    assert stub.calls == []
    assert (await client.post("/chat/completions", json={})).status_code == 503


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_each_framing_carries_the_same_body(client: httpx.AsyncClient, stub: Stub, framing: str) -> None:
    stub.answer(stream(framing=framing))
    response = await client.post("/chat/completions", json={})
    assert response.content == b"".join(stream_pieces())
    assert ("content-length" in response.headers) is (framing == "length")


async def test_requests_on_one_connection_have_its_number(client: httpx.AsyncClient, stub: Stub) -> None:
    stub.answer(chat(), stream(framing="close"), chat())
    for _ in range(3):
        await client.post("/chat/completions", json={})
    assert [call.connection for call in stub.calls] == [1, 1, 2]


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("at", [0, 1, 100, 205])
async def test_a_cut_body_has_just_so_many_bytes(stub: Stub, framing: str, at: int) -> None:
    stub.answer(stream(framing=framing, cut_after=at))
    received = await raw_exchange(stub.port, POST)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    whole = b"".join(stream_pieces())
    assert (_dechunked(body) if framing == "chunked" else body) == whole[:at]


def _dechunked(body: bytes) -> bytes:
    """The content of complete chunks; fails when the chunk that ends a body is there."""
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        assert size != b"0"
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return content


async def test_raw_bytes_are_sent_as_they_are(stub: Stub) -> None:
    stub.answer(Answer(raw=b"HTTP/1.1 200 O"))
    assert await raw_exchange(stub.port, POST) == b"HTTP/1.1 200 O"


async def test_a_reset_is_no_orderly_end(stub: Stub) -> None:
    stub.answer(Answer(raw=b"", reset=True))
    with pytest.raises(ConnectionResetError):
        await raw_exchange(stub.port, POST)


async def test_pieces_wait_for_their_release(client: httpx.AsyncClient, stub: Stub) -> None:
    release = asyncio.Event()
    stub.answer(stream(release=release))
    async with client.stream("POST", "/chat/completions", json={}) as response:
        pieces = response.aiter_raw()
        assert await anext(pieces) == stream_pieces()[0]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting := asyncio.ensure_future(anext(pieces))), 0.05)
        release.set()
        assert (await waiting + b"".join([piece async for piece in pieces])).endswith(DONE)


@pytest.mark.parametrize("answer", [Answer(raw=b"", hang=True), stream(hang=True), Answer(delay=BOUND)])
async def test_a_caller_that_leaves_is_noted(stub: Stub, answer: Answer) -> None:
    stub.answer(answer)
    _, writer = await asyncio.open_connection("127.0.0.1", stub.port)
    writer.write(POST)
    await stub.wait_for_calls(1)
    assert not stub.last.left.is_set()
    writer.close()
    await asyncio.wait_for(stub.last.left.wait(), BOUND)


async def test_a_stopped_stub_refuses_and_can_start_again_on_its_port(stub: Stub) -> None:
    await stub.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", stub.port)
    await stub.start()
    stub.answer(Answer(raw=b"here"))
    assert await raw_exchange(stub.port, POST) == b"here"
