"""Whatever an upstream does, the caller gets a true status, and the next request succeeds."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.events import ends_well, last_error
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat, chunk, stream, stream_pieces
from tests.requirements import covers

pytestmark = covers("faults", "18")
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
SHORT = {"connect": 0.3, "read": 0.3, "write": 0.3}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"


@pytest.fixture(autouse=True)
def _no_errors_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelname == "ERROR"] == []


@pytest_asyncio.fixture
async def impatient(stub: Stub) -> AsyncIterator[Gateway]:
    """A gateway that waits for nothing longer than 0.3 seconds."""
    settings = settings_for(stub)
    settings["upstreams"][0]["timeouts"] = SHORT
    async with running_gateway(settings) as running:
        yield running


async def succeeds(gateway: Gateway, streamed: bool) -> None:
    response = await gateway.chat(stream=streamed)
    assert response.status_code == 200
    assert ends_well(response.content) if streamed else response.json()["choices"][0]["message"]["content"]


def error_of(response: httpx.Response) -> Any:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]
    return error


# name: (what the provider sends instead of a proper answer, status, code)
NO_ANSWERS: dict[str, tuple[Answer, int, str]] = {
    "closes without an answer": (Answer(raw=b""), 502, "upstream_unreachable"),
    "resets": (Answer(raw=b"", reset=True), 502, "upstream_unreachable"),
    "half a header": (Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-ty"), 502, "upstream_unreachable"),
    "bytes that are not HTTP": (Answer(raw=b"\x15\x03\x01\x00\x02\x02\x16 garbage"), 502, "upstream_garbled"),
    "another protocol's greeting": (Answer(raw=b"SSH-2.0-OpenSSH_9.9\r\n", hang=True), 502, "upstream_garbled"),
    "a huge header block": (
        Answer(raw=HEAD % b"application/json" + b"x-filler: %b\r\n" % (b"y" * 8000) * 200),
        502,
        "upstream_garbled",
    ),
    "switches protocols": (
        Answer(raw=b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
        502,
        "upstream_garbled",
    ),
    "says nothing": (Answer(raw=b"", hang=True), 504, "upstream_timeout"),
    "stops in the header": (Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-ty", hang=True), 504, "upstream_timeout"),
    "a page": (Answer(body=b"<html>Welcome</html>", content_type="text/html"), 502, "upstream_garbled"),
    "no content type": (Answer(body=b"{}", content_type=None), 502, "upstream_garbled"),
    "no content": (Answer(status=204, body=b"", content_type=None), 502, "upstream_garbled"),
    "an unknown encoding": (Answer(body=b"\x0b", headers={"content-encoding": "br"}), 502, "upstream_garbled"),
    "a redirect": (
        Answer(status=302, body=b"", headers={"location": "https://elsewhere.test/"}),
        502,
        "upstream_garbled",
    ),
    "nothing, of length 0, then closes": (Answer(raw=HEAD % b"text/plain" + b"\r\n"), 502, "upstream_garbled"),
}


@both_ways
@pytest.mark.parametrize("fault", NO_ANSWERS)
async def test_no_proper_answer_is_a_true_status(impatient: Gateway, stub: Stub, fault: str, streamed: bool) -> None:
    answer, status, code = NO_ANSWERS[fault]
    stub.answer(answer)
    response = await impatient.chat(stream=streamed)
    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert response.headers["x-headgate-error"] == code
    await succeeds(impatient, streamed)
    lines = await impatient.wait_for_lines(2)
    assert [(line["status"], line["outcome"], line["error"]) for line in lines] == [
        (status, "error", code),
        (200, "ok", None),
    ]


BAD_BODIES: dict[str, tuple[Answer, str]] = {
    "an empty body": (Answer(body=b""), "upstream_garbled"),
    "garbage": (Answer(body=b'{"choices": [}'), "upstream_garbled"),
    "a bare text": (Answer(body=b'"Hello"'), "upstream_garbled"),
    "a stream": (stream(), "upstream_garbled"),
    "fewer bytes than announced": (
        Answer(raw=HEAD % b"application/json" + b"content-length: 9\r\n\r\n{}"),
        "upstream_broke_off",
    ),
    "chunks without an end": (Answer(body=b'{"choices":[]}', framing="chunked", cut_after=9), "upstream_broke_off"),
    "a garbled chunk": (
        Answer(raw=HEAD % b"application/json" + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
        "upstream_garbled",
    ),
    "garbage said to be gzip": (Answer(body=b"garbage", headers={"content-encoding": "gzip"}), "upstream_garbled"),
    "half of gzip": (
        Answer(body=gzip.compress(chat().body)[:-30], headers={"content-encoding": "gzip"}),
        "upstream_garbled",
    ),
    "a body that stops": (
        Answer(raw=HEAD % b"application/json" + b"content-length: 9\r\n\r\n{}", hang=True),
        "upstream_timeout",
    ),
    "an error where success was said": (Answer(body=b'{"error":{"message":"out of memory"}}'), "upstream_fault"),
}


@pytest.mark.parametrize("fault", BAD_BODIES)
async def test_a_bad_body_is_a_true_status(impatient: Gateway, stub: Stub, fault: str) -> None:
    answer, code = BAD_BODIES[fault]
    stub.answer(answer)
    response = await impatient.chat()
    assert error_of(response)["code"] == code
    assert response.status_code in (502, 503, 504)
    await succeeds(impatient, streamed=False)


BAD_STREAMS: dict[str, tuple[Answer, str]] = {
    "no events": (stream([b""]), "upstream_broke_off"),
    "JSON": (chat(), "upstream_garbled"),
    "half a frame": (stream([chunk({"content": "a"})[:40]]), "upstream_broke_off"),
    "half a frame, then silence": (stream([chunk({"content": "a"})[:40]], hang=True), "upstream_timeout"),
    "a frame that is no JSON": (stream([b"data: {]\n\n"]), "upstream_garbled"),
    "a frame that is no object": (stream([b"data: 7\n\n"]), "upstream_garbled"),
    "choices that are none": (stream([b'data: {"choices":[7]}\n\n']), "upstream_garbled"),
    "garbage said to be gzip": (stream(headers={"content-encoding": "gzip"}), "upstream_garbled"),
    "a garbled chunk": (
        Answer(raw=HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\nzz\r\n"),
        "upstream_garbled",
    ),
}


@pytest.mark.parametrize("fault", BAD_STREAMS)
async def test_a_bad_stream_is_a_true_status(impatient: Gateway, stub: Stub, fault: str) -> None:
    answer, code = BAD_STREAMS[fault]
    stub.answer(answer)
    response = await impatient.chat(stream=True)
    assert error_of(response)["code"] == code
    assert response.status_code in (502, 504)
    await succeeds(impatient, streamed=True)


@both_ways
async def test_a_refused_connection_is_a_502_until_the_provider_is_back(
    gateway: Gateway, stub: Stub, streamed: bool
) -> None:
    await stub.stop()
    response = await gateway.chat(stream=streamed)
    assert (response.status_code, error_of(response)["code"]) == (502, "upstream_unreachable")
    await stub.start()
    await succeeds(gateway, streamed)


@covers("13")
@both_ways
async def test_a_connection_that_is_not_made_in_time_is_a_504(impatient: Gateway, stub: Stub, streamed: bool) -> None:
    await stub.stop()
    with full_backlog(stub.port):
        response = await impatient.chat(stream=streamed)
    assert (response.status_code, error_of(response)["code"]) == (504, "upstream_timeout")
    assert "connection" in error_of(response)["message"]
    await stub.start()
    await succeeds(impatient, streamed)


@contextmanager
def full_backlog(port: int) -> Iterator[None]:
    """Someone listens, but the queue of connections to accept is full, so that another one gets no answer at all."""
    with socket.socket() as listening, socket.socket() as first:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(0)
        first.connect(("127.0.0.1", port))
        yield


@covers("13")
@both_ways
async def test_a_provider_that_stops_reading_is_a_504(impatient: Gateway, stub: Stub, streamed: bool) -> None:
    await stub.stop()
    gone = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", stub.port, limit=1024):
        response = await impatient.chat(stream=streamed, messages=[{"role": "user", "content": "x" * (12 << 20)}])
        gone.set()
    assert (response.status_code, error_of(response)["code"]) == (504, "upstream_timeout")
    assert "stopped reading" in error_of(response)["message"]
    await stub.start()
    await succeeds(impatient, streamed)


@covers("13")
async def test_a_call_that_drips_ends_after_its_total_time(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["upstreams"][0]["timeouts"] = {"total": 0.5}
    async with running_gateway(settings) as gateway:
        stub.answer(Answer(pieces=[b" "] * 400, gap=0.02), stream([chunk({"content": "a"})] * 400, gap=0.02))
        response = await gateway.chat()
        assert (response.status_code, error_of(response)["code"]) == (504, "upstream_timeout")
        assert last_error(await gateway.stream())["code"] == "upstream_timeout"
        await succeeds(gateway, streamed=False)


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints"])
@both_ways
async def test_an_informational_answer_before_the_real_one_is_skipped(
    gateway: Gateway, stub: Stub, status: bytes, streamed: bool
) -> None:
    body = b"".join(stream_pieces()) if streamed else chat().body
    early = b"HTTP/1.1 %b\r\nlink: </a>\r\n\r\n" % status
    head = HEAD % (b"text/event-stream" if streamed else b"application/json")
    stub.answer(Answer(raw=early + head + b"content-length: %d\r\n\r\n%b" % (len(body), body)))
    await succeeds(gateway, streamed)
    assert len(stub.calls) == 1


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZip"])
@both_ways
async def test_a_compressed_answer_is_passed_on_plain(
    gateway: Gateway, stub: Stub, encoding: str, streamed: bool
) -> None:
    plain = b"".join(stream_pieces()) if streamed else chat().body
    packed = zlib.compress(plain) if encoding == "deflate" else gzip.compress(plain)
    kind = "text/event-stream" if streamed else "application/json"
    pieces = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    stub.answer(Answer(pieces=pieces, framing="chunked", content_type=kind, headers={"content-encoding": encoding}))
    response = await gateway.chat(stream=streamed)
    assert response.content == plain.replace(b"stub-small", b"small")
    assert "content-encoding" not in response.headers
    await succeeds(gateway, streamed)


async def test_an_answer_of_unknown_encoding_does_not_keep_its_connection(gateway: Gateway, stub: Stub) -> None:
    stub.answer(Answer(body=b"\x0b", headers={"content-encoding": "br"}, hang=True))
    assert (await gateway.chat()).status_code == 502
    await asyncio.wait_for(stub.last.left.wait(), 1)
