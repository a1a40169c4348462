"""MCP servers behind an address that misbehave: bounded, told truthfully, never waited for without end."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from headgate.core.tool_errors import McpUnavailable
from headgate.tools.mcp_client import McpServer
from headgate.tools.mcp_types import McpServerSettings
from headgate.tools.types import Caller, ToolResult
from tests.harness.stub import BOUND, Answer, Recorded, Stub
from tests.requirements import covers

pytestmark = covers("61", "70")


def says(request: Recorded, result: Any, **more: Any) -> Answer:
    body = json.dumps({"jsonrpc": "2.0", "id": request.json["id"], "result": result}).encode()
    return Answer(body=body, **more)


def good(request: Recorded) -> Answer:
    """A server of 2025-11-25 with one tool and sessions."""
    if request.method != "POST":
        return Answer(status=405)
    method = request.json["method"]
    if method == "initialize":
        info = {"name": "stub", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        return says(request, result, headers={"mcp-session-id": "one"})
    if method == "tools/list":
        return says(request, {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]})
    if method == "tools/call":
        return says(request, {"content": [{"type": "text", "text": "hello"}]})
    return Answer(status=202, body=b"")


def serving(stub: Stub, **settings: Any) -> McpServer:
    given = {"url": stub.url, "protocol": "legacy", "longest_rest": 0.2, "connect_seconds": 5.0, **settings}
    return McpServer("stub", McpServerSettings.model_validate(given))


async def call(server: McpServer) -> ToolResult:
    async with asyncio.timeout(BOUND):
        return await server.call("echo", {}, Caller())


async def test_headers_are_sent_and_a_packed_answer_is_not_asked_for(stub: Stub) -> None:
    stub.otherwise = good
    server = serving(stub, headers={"Authorization": "Bearer of-the-server"})
    try:
        assert (await call(server)).text == "hello"
    finally:
        await server.close()
    assert {one.headers["authorization"] for one in stub.calls} == {"Bearer of-the-server"}
    assert {one.headers["accept-encoding"] for one in stub.calls} == {"identity"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(body=b'{"jsonrpc":"2.0","id":3,"result":"' + b"x" * 200_000 + b'"}'), "more than 65536 bytes"),
        (Answer(body=gzip.compress(b"x" * 9_000_000), headers={"content-encoding": "gzip"}), "packed"),
        (Answer(body=b"<html>"), "JSON"),
        (Answer(body=b"<html>", content_type="text/html"), "text/html"),
        (Answer(status=500), "error response"),
        (Answer(body=b'{"id":1', cut_after=3), "ended during the call"),
        (Answer(raw=b"", reset=True), "ended during the call"),
        (Answer(status=302, headers={"location": "http://169.254.169.254/"}), "169.254.169.254"),
        (Answer(body=b'{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"no such tool"}}'), "no such tool"),
    ],
)
async def test_whatever_it_answers_the_call_fails_in_words_and_the_next_one_succeeds(
    stub: Stub, answer: Answer, told: str
) -> None:
    stub.otherwise = good
    server = serving(stub, largest_message=65_536)
    try:
        await server.tools()
        stub.answer(answer)
        result = await call(server)
        assert result.failed
        assert told in result.text
        server._rest_until = 0.0
        assert (await call(server)).text == "hello"
    finally:
        await server.close()
    assert all(one.headers["host"].startswith("127.0.0.1") for one in stub.requests)


async def test_a_session_that_was_forgotten_is_begun_anew_and_the_call_made_once_more(stub: Stub) -> None:
    stub.otherwise = good
    server = serving(stub)
    try:
        await server.tools()
        stub.answer(Answer(status=404))
        assert (await call(server)).text == "hello"
        assert server.status().connects == 2
    finally:
        await server.close()


async def test_a_server_that_is_not_there_is_down_until_it_is(stub: Stub) -> None:
    stub.otherwise = good
    server = serving(stub)
    try:
        await stub.stop()
        with pytest.raises(McpUnavailable, match="ConnectError"):
            await server.tools()
        assert [server.state] == ["down"]
        await stub.start()
        server._rest_until = 0.0
        assert [tool.info.name for tool in await server.tools()] == ["mcp_stub_echo"]
        assert [server.state] == ["up"]
    finally:
        await server.close()


async def test_a_server_that_never_answers_is_given_up_in_time(stub: Stub) -> None:
    stub.otherwise = lambda _: Answer(delay=60)
    server = serving(stub, connect_seconds=0.3)
    try:
        async with asyncio.timeout(BOUND):
            with pytest.raises(McpUnavailable, match=r"did not answer within 0\.3 seconds"):
                await server.tools()
    finally:
        await server.close()


async def test_a_call_that_hangs_ends_in_time_and_its_request_is_closed(stub: Stub) -> None:
    stub.otherwise = good
    server = serving(stub, call_seconds=0.2)
    try:
        await server.tools()
        stub.answer(Answer(delay=60))
        result = await call(server)
        assert "did not end within 0.2 seconds" in result.text
        await stub.wait_for_calls(5)
        assert stub.calls[-1].json["method"] == "notifications/cancelled"
    finally:
        await server.close()


async def test_pages_of_tools_are_put_together_and_a_list_without_end_is_cut(stub: Stub) -> None:
    def endless(request: Recorded) -> Answer:
        if request.method == "POST" and request.json["method"] == "tools/list":
            at = int((request.json.get("params") or {}).get("cursor") or 0)
            page = [{"name": f"t{at}_{n:02}", "inputSchema": {"type": "object"}} for n in range(100)]
            return says(request, {"tools": page, "nextCursor": str(at + 1)})
        return good(request)

    stub.otherwise = endless
    server = serving(stub)
    try:
        assert len(await server.tools()) == 1000
    finally:
        await server.close()


@covers("60")
async def test_an_event_without_end_over_sse_ends_the_connection(stub: Stub) -> None:
    pieces = [b"event: endpoint\ndata: /v1/messages\n\n", b"data: " + b"x" * 2_000_000 + b"\n\n"]

    def flooding(request: Recorded) -> Answer:
        if request.method == "POST":
            return Answer(status=202, body=b"")
        return Answer(pieces=pieces, framing="chunked", content_type="text/event-stream", hang=True)

    stub.otherwise = flooding
    server = serving(stub, type="sse")
    try:
        async with asyncio.timeout(BOUND):
            with pytest.raises(McpUnavailable, match="exceeded the 1048576 byte limit"):
                await server.tools()
    finally:
        await server.close()
