"""The gateway as an MCP server: real MCP clients of both revisions list and call what their key may use."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.harness.gateway import KEY, TOKEN, Gateway, running_gateway
from tests.harness.stub import Answer, Stub, chat
from tests.journeys.test_agents import calling, settings
from tests.journeys.test_mcp import BAD
from tests.journeys.test_money import rows
from tests.requirements import covers

pytestmark = covers("158")
BOTH = pytest.mark.parametrize("mode", ["auto", "legacy"])


def serving(stub: Stub, *agents: str, **serve: Any) -> dict[str, Any]:
    tree = settings(stub)
    tree["agents"] = [{**tree["agents"][0], "name": name} for name in agents or ("augmented/helper",)]
    return {**tree, "mcp": {"serve": {"enabled": True, **serve}, "servers": {"bad": BAD}}}


@asynccontextmanager
async def client(gateway: Gateway, key: str = KEY, mode: str = "auto") -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=20) as http,
        Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http), mode=mode) as found,
    ):
        yield found


async def names(found: Client) -> list[str]:
    return [tool.name for tool in (await found.list_tools()).tools]


def text_of(result: Any) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


async def new_key(gateway: Gateway, **fields: Any) -> str:
    made = await gateway.http.post("/admin/keys", json=fields)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


@BOTH
async def test_a_client_lists_agents_and_tools_and_calls_both(stub: Stub, tmp_path: Path, mode: str) -> None:
    stub.answer(calling(("calculator", {"expression": "6*7"})), chat("It is 42."))
    said: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        said.append(message)

    async with running_gateway(serving(stub), tmp_path) as gateway, client(gateway, mode=mode) as mcp:
        listed = (await mcp.list_tools()).tools
        assert [tool.name for tool in listed][:3] == ["ask_helper", "calculator", "current_time"]
        (change,) = [tool for tool in listed if tool.name == "mcp_bad_change"]
        assert change.annotations is not None
        assert change.annotations.read_only_hint is True
        answer = await mcp.call_tool("ask_helper", {"message": "What is 6*7?"}, progress_callback=on_progress)
        assert (text_of(answer), answer.is_error) == ("It is 42.", False)
        assert said == ["turn 1", "tool calculator begins", "tool calculator ended", "turn 2"]
        assert text_of(await mcp.call_tool("calculator", {"expression": "2+3"})) == "5"
        mixed = await mcp.call_tool("mcp_bad_mixed", {})
        assert [part.type for part in mixed.content] == ["text", "image"]
        assert (await mcp.call_tool("mcp_bad_structured", {})).structured_content == {"celsius": 7}
        assert stub.calls[0].json["messages"][-1] == {"role": "user", "content": "What is 6*7?"}
        logged = await rows(gateway, 2)
        assert {row["component"] for row in logged} == {"agent"}
        lines = [line for line in await gateway.wait_for_lines(4) if line["route"] == "/mcp"]
        assert [(line["model"], line["status"]) for line in lines][:2] == [("augmented/helper", 200), (None, 200)]


@BOTH
async def test_what_goes_wrong_is_told_in_words(stub: Stub, mode: str) -> None:
    stub.otherwise = lambda _: Answer(status=400, body=b'{"error": {"message": "too long"}}')
    async with running_gateway(serving(stub)) as gateway, client(gateway, mode=mode) as mcp:
        failed = await mcp.call_tool("ask_helper", {"message": "Hi"})
        assert failed.is_error
        assert "upstream_rejected" in text_of(failed)
        divided = await mcp.call_tool("calculator", {"expression": "1/0"})
        assert divided.is_error
        for name, arguments in (("nope", {}), ("ask_helper", {}), ("ask_helper", {"message": 3})):
            with pytest.raises(MCPError) as error:
                await mcp.call_tool(name, arguments)
            assert error.value.code == -32602


async def test_each_key_sees_and_calls_its_own(stub: Stub, tmp_path: Path) -> None:
    agents = ("augmented/helper", "augmented/secret")
    async with running_gateway(serving(stub, *agents), tmp_path) as gateway:
        plain = await new_key(gateway)
        one_agent = await new_key(gateway, models={"allow": ["augmented/helper", "small"]})
        one_tool = await new_key(gateway, scopes=["tools:execute:calculator"], models={"allow": ["none"]})
        one_server = await new_key(gateway, scopes=["tools:execute:bad"], models={"allow": ["none"]})
        executor = await new_key(gateway, scopes=["tools:execute"])
        async with client(gateway, plain) as mcp:
            assert await names(mcp) == ["ask_helper", "ask_secret"]
            with pytest.raises(MCPError):
                await mcp.call_tool("calculator", {"expression": "1"})
        async with client(gateway, one_agent) as mcp:
            assert await names(mcp) == ["ask_helper"]
            with pytest.raises(MCPError):
                await mcp.call_tool("ask_secret", {"message": "Hi"})
        async with client(gateway, one_tool) as mcp:
            assert await names(mcp) == ["calculator"]
        async with client(gateway, one_server) as mcp:
            assert {name[:7] for name in await names(mcp)} == {"mcp_bad"}
        async with client(gateway, executor) as mcp:
            assert {"ask_secret", "calculator", "mcp_bad_echo"} <= set(await names(mcp))
    assert stub.calls == []


async def test_patterns_say_what_is_offered_at_all(stub: Stub) -> None:
    tree = serving(stub, "augmented/helper", "augmented/other", agents=["*helper"], tools=["calc*", "mcp_bad_e*"])
    async with running_gateway(tree) as gateway, client(gateway) as mcp:
        assert await names(mcp) == ["ask_helper", "calculator", "mcp_bad_echo"]


async def test_an_agent_that_takes_its_callers_model_is_not_offered(stub: Stub) -> None:
    tree = serving(stub, "augmented/helper", "augmented/any", tools=[])
    tree["agents"][1]["model"] = "inherit"
    async with running_gateway(tree) as gateway, client(gateway) as mcp:
        assert await names(mcp) == ["ask_helper"]
        with pytest.raises(MCPError):
            await mcp.call_tool("ask_any", {"message": "Hi"})


async def test_an_agent_whose_name_cannot_be_a_tools_name_gets_one_with_a_hash(stub: Stub) -> None:
    stub.answer(chat("Yes."))
    async with running_gateway(serving(stub, "größe/x", tools=[])) as gateway, client(gateway) as mcp:
        (name,) = [one for one in await names(mcp) if one.startswith("ask_")]
        assert name.isascii()
        assert len(name) <= 64
        assert text_of(await mcp.call_tool(name, {"message": "Hi"})) == "Yes."


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_nobody_comes_in_without_a_key(stub: Stub, method: str) -> None:
    async with running_gateway(serving(stub)) as gateway:
        for key, code in (("", "missing_authorization"), ("Bearer wrong", "invalid_authorization")):
            response = await gateway.http.request(method, "/mcp", headers={"authorization": key}, content=b"{")
            assert (response.status_code, response.json()["error"]["code"]) == (401, code)


async def test_a_session_belongs_to_the_key_that_began_it(stub: Stub) -> None:
    asked = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    accept = {"accept": "application/json, text/event-stream"}
    async with running_gateway(serving(stub, sessions=True)) as gateway:
        begun = await gateway.http.post(
            "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": asked}, headers=accept
        )
        session = {**accept, "mcp-session-id": begun.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert (await gateway.http.post("/mcp", json=ping, headers=session)).status_code == 200
        other = {**session, "authorization": f"Bearer {TOKEN}"}
        assert (await gateway.http.post("/mcp", json=ping, headers=other)).status_code == 404


@pytest.mark.parametrize("header", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
async def test_a_page_in_a_browser_cannot_reach_a_gateway_on_loopback(stub: Stub, header: dict[str, str]) -> None:
    async with running_gateway(serving(stub)) as gateway:
        response = await gateway.http.post("/mcp", json={}, headers={**header, "accept": "application/json"})
        assert response.status_code in (403, 421)


async def test_it_is_no_mcp_server_unless_it_is_told_to_be(gateway: Gateway) -> None:
    response = await gateway.http.post("/mcp", json={})
    assert response.json()["error"]["code"] == "route_not_found"


async def test_a_body_beyond_the_bound_is_refused(stub: Stub) -> None:
    tree = {**serving(stub), "server": {"limits": {"body": 2048}}}
    async with running_gateway(tree) as gateway:
        response = await gateway.http.post("/mcp", content=json.dumps({"x": "y" * 5000}))
        assert response.status_code == 413


async def test_a_client_that_leaves_ends_the_agents_run(stub: Stub) -> None:
    stub.otherwise = lambda _: Answer(delay=60)
    call = {"name": "ask_helper", "arguments": {"message": "Hi"}}
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    }
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "ask_helper",
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**call, "_meta": meta}}
    async with running_gateway(serving(stub)) as gateway:
        caller = asyncio.get_running_loop().create_task(gateway.http.post("/mcp", json=body, headers=headers))
        await stub.wait_for_calls(1)
        caller.cancel()
        (line,) = await gateway.wait_for_lines(1)
        assert (line["model"], line["outcome"]) == ("augmented/helper", "disconnected")
    assert stub.calls[0].left.is_set()


async def test_a_run_that_an_operator_cancels_is_a_failed_call_that_says_so(stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = lambda _: Answer(delay=60)
    async with running_gateway(serving(stub), tmp_path) as gateway, client(gateway) as mcp:
        call = asyncio.get_running_loop().create_task(mcp.call_tool("ask_helper", {"message": "Hi"}))
        await stub.wait_for_calls(1)
        (running,) = (await gateway.http.get("/v1/runs", params={"status": "running"})).json()["data"]
        assert (running["model"], running["route"]) == ("augmented/helper", "/mcp")
        assert (await gateway.http.post(f"/v1/runs/{running['id']}/cancel")).status_code == 200
        answer = await call
        assert answer.is_error
        assert "run_cancelled" in text_of(answer)
        assert text_of(await mcp.call_tool("calculator", {"expression": "2+3"})) == "5"
        assert not gateway.gate.detached
        (line,) = [line for line in await gateway.wait_for_lines(2) if line["model"] == "augmented/helper"]
        assert (line["outcome"], line["error"]) == ("cancelled", "run_cancelled")


@covers("115")
async def test_calls_of_tools_count_against_the_limits_of_the_key_and_are_told_in_the_log(
    stub: Stub, tmp_path: Path
) -> None:
    async with running_gateway(serving(stub), tmp_path) as gateway:
        key = await new_key(gateway, scopes=["tools:execute"], rate={"requests_per_minute": 1})
        async with client(gateway, key) as mcp:
            assert text_of(await mcp.call_tool("calculator", {"expression": "1"})) == "1"
            refused = await mcp.call_tool("calculator", {"expression": "1"})
            assert refused.is_error
            assert "rate_limit" in text_of(refused)
        lines = [line for line in await gateway.wait_for_lines(3) if line["route"] == "/mcp"]
        assert [line.get("tools", [{}])[0].get("result") for line in lines] == ["ok", None]
        assert [line["error"] is None for line in lines] == [True, False]


@covers("103")
async def test_tools_of_mcp_servers_are_listed_and_called_without_a_model_between(stub: Stub, tmp_path: Path) -> None:
    tree = serving(stub)
    tree["mcp"]["servers"]["gone"] = {"command": "/nonexistent/program"}
    async with running_gateway(tree, tmp_path) as gateway:
        listed = {tool["name"]: tool for tool in (await gateway.http.get("/v1/tools")).json()["data"]}
        assert (listed["mcp_bad_echo"]["source"], listed["mcp_bad_echo"]["server"]) == ("mcp", "bad")
        key = await new_key(gateway, scopes=["tools:execute:bad"])
        answers = {}
        for name in ("mcp_bad_structured", "calculator", "mcp_bad_nope", "mcp_bad_ech*", "mcp_gone_any"):
            answers[name] = await gateway.http.post(
                "/v1/tools/execute", json={"name": name}, headers={"authorization": f"Bearer {key}"}
            )
    assert answers["mcp_bad_structured"].json()["structured"] == {"celsius": 7}
    codes = [(one.status_code, one.json()["error"]["code"]) for one in list(answers.values())[1:]]
    assert codes == [(403, "forbidden"), *[(404, "tool_not_found")] * 2, (503, "mcp_unavailable")]
