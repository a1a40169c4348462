"""The bounds of HTTP: headers, bodies, arrival time, requests in flight; and its odd but legal forms."""

import asyncio
import json
from typing import Any

import pytest

from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, raw_exchange, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, chunk, stream
from tests.requirements import covers

pytestmark = covers("bounds")

BODY = json.dumps({"model": "small", "messages": [{"role": "user", "content": "Hi"}]}).encode()


def post(*headers: str, body: bytes = BODY, length: bool = True, close: bool = True) -> bytes:
    """A chat completion as bytes on the wire."""
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {KEY}", *headers]
    lines += [f"content-length: {len(body)}"] if length else []
    lines += ["connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def told(answer: bytes) -> tuple[int, Any]:
    """(status, error) of the first answer in some bytes."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    error = json.loads(rest)["error"]
    assert f"x-request-id: {error['request_id']}".encode() in head
    return int(head.split()[1]), error


async def first_answer(port: int, request: bytes) -> bytes:
    """The first answer on a connection that stays open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(BOUND):
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length))
    writer.close()
    return head + body


def limited(stub: Stub, drain: float = 30, **limits: Any) -> dict[str, Any]:
    return settings_for(stub, server={"limits": limits, "drain_seconds": drain})


@covers("20", "18")
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET http:// HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_get_an_envelope_and_an_end(gateway: Gateway, garbage: bytes) -> None:
    status, error = told(await raw_exchange(gateway.port, garbage))
    assert (status, error["code"], error["type"]) == (400, "invalid_http", "invalid_request_error")


@pytest.mark.parametrize("header", ["x: " + "y" * 70_000, "\r\n".join(f"x-{at}: {'y' * 100}" for at in range(700))])
async def test_headers_beyond_the_limit_are_refused(gateway: Gateway, stub: Stub, header: str) -> None:
    status, error = told(await raw_exchange(gateway.port, post(header)))
    assert (status, error["code"]) == (431, "headers_too_large")
    assert not stub.calls


async def test_headers_below_the_limit_pass_however_large_the_body_behind_them(gateway: Gateway) -> None:
    body = BODY[:-1] + b',"x":"' + b"x" * 300_000 + b'"}'
    assert (await raw_exchange(gateway.port, post("x: " + "y" * 60_000, body=body))).startswith(b"HTTP/1.1 200 ")


async def test_a_header_without_end_is_refused_as_soon_as_it_passes_the_limit(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET / HTTP/1.1\r\nx: ")
    for _ in range(20):
        writer.write(b"y" * 8192)
    status, error = told(await asyncio.wait_for(reader.read(), BOUND))
    assert (status, error["code"]) == (431, "headers_too_large")
    writer.close()


async def test_the_limit_of_headers_holds_for_each_request_not_for_the_connection(stub: Stub) -> None:
    async with running_gateway(limited(stub, headers=2000)) as gateway:
        requests = post("x: " + "y" * 1500, close=False) * 4 + post()
        answers = await raw_exchange(gateway.port, requests)
    assert answers.count(b"HTTP/1.1 200 ") == 5


@covers("20")
@pytest.mark.parametrize("size", [2000, 200_000])
@pytest.mark.parametrize("form", ["length", "chunked"])
async def test_a_body_over_the_limit_is_413(stub: Stub, form: str, size: int) -> None:
    body = BODY[:-1] + b',"x":"' + b"x" * size + b'"}'
    request = post(body=body, close=False)
    if form == "chunked":
        request = post("transfer-encoding: chunked", body=chunked(body, 1000), length=False, close=False)
    async with running_gateway(limited(stub, body=1024)) as gateway:
        answer = await first_answer(gateway.port, request)
        (line,) = await gateway.wait_for_lines(1)
    assert told(answer)[0] == 413
    assert (line["status"], line["error"]) == (413, "body_too_large")
    assert not stub.calls


async def test_a_length_over_the_limit_is_refused_before_the_body_is_sent(gateway: Gateway) -> None:
    head = post(f"content-length: {10**12}", body=b"", length=False)
    status, error = told(await raw_exchange(gateway.port, head))
    assert (status, error["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/chat", post()[:-5], post("transfer-encoding: chunked", body=b'5\r\n{"mod', length=False)]
)
async def test_a_request_that_does_not_arrive_in_time_is_ended(stub: Stub, sent: bytes) -> None:
    async with running_gateway(limited(stub, body_seconds=0.2)) as gateway:
        answer = await raw_exchange(gateway.port, sent)
    if sent:
        status, error = told(answer)
        assert (status, error["code"]) == (408, "body_timeout")
    else:
        assert answer == b"", "a connection on which nothing was asked is closed without a word"
    assert not stub.calls


@covers("137")
async def test_a_body_that_does_not_arrive_leaves_a_line_with_the_id_that_was_told(stub: Stub) -> None:
    async with running_gateway(limited(stub, body_seconds=0.1)) as gateway:
        _, error = told(await raw_exchange(gateway.port, post()[:-5]))
        (line,) = await gateway.wait_for_lines(1)
    assert (line["status"], line["outcome"], line["error"]) == (408, "error", "body_timeout")
    assert line["request_id"] == error["request_id"]


async def test_an_answer_that_takes_longer_than_the_arrival_is_not_ended(stub: Stub) -> None:
    stub.answer(Answer(body=b"{}", delay=0.5))
    async with running_gateway(limited(stub, body_seconds=0.2)) as gateway:
        assert (await raw_exchange(gateway.port, post())).startswith(b"HTTP/1.1 200 ")


async def test_a_late_body_behind_an_answer_gets_no_second_answer(stub: Stub) -> None:
    async with running_gateway(limited(stub, body_seconds=0.3)) as gateway:
        answer = await raw_exchange(gateway.port, post(f"content-length: {10**9}", length=False, close=False))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert told(answer)[0] == 413


async def test_an_upgrade_that_is_not_known_is_passed_over_and_the_request_served(gateway: Gateway, stub: Stub) -> None:
    headers = ("upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA", "connection: upgrade, http2-settings")
    for request in (
        post(*headers, close=False),
        post(*headers, "transfer-encoding: chunked", body=chunked(BODY, 20), length=False, close=False),
        post(*headers, body=BODY[:-1] + b',"x":"' + b"x" * 300_000 + b'"}', close=False),
    ):
        assert (await first_answer(gateway.port, request)).startswith(b"HTTP/1.1 200 ")
        assert json.loads(stub.last.body)["model"] == "stub-small"


async def test_after_an_offered_upgrade_the_connection_serves_on(gateway: Gateway) -> None:
    offer = ("upgrade: h2c", "connection: upgrade")
    health = b"GET /healthz HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"
    answers = await raw_exchange(gateway.port, post(*offer, close=False) + health + post())
    assert answers.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("path", ["/healthz", "/v1/chat/completions"])
async def test_a_websocket_is_answered_as_the_plain_request_it_also_is(gateway: Gateway, path: str) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "x", "sec-websocket-version": "13"}
    response = await gateway.http.get(path, headers=headers)
    assert response.status_code == (200 if path == "/healthz" else 405)


async def test_a_caller_that_waits_for_leave_to_send_its_body_gets_it(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    request = post("expect: 100-continue")
    writer.write(request[: -len(BODY)])
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), BOUND) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(BODY)
    assert (await asyncio.wait_for(reader.read(), BOUND)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_caller_without_a_key_gets_no_leave(gateway: Gateway) -> None:
    request = post("expect: 100-continue").replace(KEY.encode(), b"wrong")
    assert (await raw_exchange(gateway.port, request[: -len(BODY)])).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, identity", "x\xff"])
async def test_a_compressed_body_is_415(gateway: Gateway, stub: Stub, encoding: str) -> None:
    headers = {b"content-encoding": encoding.encode("latin-1")}
    response = await gateway.http.post("/v1/chat/completions", content=BODY, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert not stub.calls


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
async def test_a_body_that_is_not_compressed_may_say_so(gateway: Gateway, encoding: str) -> None:
    response = await gateway.http.post("/v1/chat/completions", content=BODY, headers={"content-encoding": encoding})
    assert response.status_code == 200


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_body_in_chunks_is_put_together(gateway: Gateway, stub: Stub, size: int) -> None:
    request = post("transfer-encoding: chunked", body=chunked(BODY, size), length=False)
    assert (await raw_exchange(gateway.port, request)).startswith(b"HTTP/1.1 200 ")
    assert stub.last.body == BODY.replace(b'"small"', b'"stub-small"')


async def test_a_request_byte_by_byte_is_a_request(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.transport.set_write_buffer_limits(0)
    for byte in post():
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await asyncio.wait_for(reader.read(), BOUND)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_requests_in_a_row_are_answered_in_order(gateway: Gateway, stub: Stub) -> None:
    stub.answer(*(Answer(body=b'{"n":%d}' % number, delay=0.05 * (3 - number)) for number in range(3)))
    answers = await raw_exchange(gateway.port, post(close=False) * 2 + post())
    places = [answers.index(b'{"n":%d}' % number) for number in range(3)]
    assert places == sorted(places)


@covers("12")
async def test_a_caller_that_leaves_with_requests_in_a_row_ends_the_work_on_the_first(
    gateway: Gateway, stub: Stub
) -> None:
    stub.answer(stream([chunk({"content": "word"})] * 5000, gap=0.01))
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(post(body=BODY[:-1] + b',"stream":true}', close=False) * 2)
    await stub.wait_for_calls(1)
    writer.transport.abort()
    await asyncio.wait_for(stub.last.left.wait(), BOUND)
    (line,) = await gateway.wait_for_lines(1)
    assert line["outcome"] == "disconnected"


async def test_beyond_the_bound_of_requests_in_flight_the_answer_is_503_at_once(stub: Stub) -> None:
    release = asyncio.Event()
    stub.answer(stream(release=release))
    async with running_gateway(limited(stub, in_flight=1)) as gateway:
        running = asyncio.get_running_loop().create_task(gateway.stream())
        await stub.wait_for_calls(1)
        refused = await gateway.chat()
        release.set()
        assert b"[DONE]" in await running
        assert (await gateway.chat()).status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
