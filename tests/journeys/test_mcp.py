"""Agents with tools of MCP servers, over every transport, from the caller's request to the tool and back."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml

from headgate.agents.types import AgentSettings
from headgate.cli.demo_mcp import demo_server
from headgate.tools.mcp_types import McpServerSettings
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Recorded, Stub, chat
from tests.journeys.test_agents import calling, settings
from tests.requirements import covers
from tests.tools.test_mcp_http import good, says

ROOT = Path(__file__).parents[2]
DEMO = {"command": sys.executable, "args": ["-m", "headgate", "demo-mcp", "--transport", "stdio"]}
SCRIPT = ["-I", "-S", str(ROOT / "tests/tools/mcp_bad_server.py")]
BAD = {
    "command": sys.executable,
    "args": SCRIPT,
    "longest_rest": 0.2,
    "call_seconds": 2.0,
}
GONE = {"url": "http://127.0.0.1:9/mcp", "connect_seconds": 2.0}


def with_servers(stub: Stub, servers: dict[str, Any], **agent: Any) -> dict[str, Any]:
    return {**settings(stub, mcp_servers=list(servers), **agent), "mcp": {"servers": servers}}


@asynccontextmanager
async def demo_over(transport: str) -> AsyncIterator[dict[str, Any]]:
    """The demo server, and the settings to reach it."""
    if transport == "stdio":
        yield DEMO
        return
    demo = demo_server()
    app = demo.sse_app() if transport == "sse" else demo.streamable_http_app()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none"))
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        async with asyncio.timeout(BOUND):
            while not server.started:
                await asyncio.sleep(0.01)
        path = "sse" if transport == "sse" else "mcp"
        yield {"type": transport, "url": f"http://127.0.0.1:{listening.getsockname()[1]}/{path}"}
    finally:
        server.should_exit = server.force_exit = True
        await task


@pytest.mark.parametrize(
    ("transport", "protocol", "spoken"),
    [
        pytest.param("stdio", "auto", "2026-07-28", marks=covers("59", "73")),
        pytest.param("sse", "auto", "2026-07-28", marks=covers("60", "73")),
        pytest.param("streamablehttp", "auto", "2026-07-28", marks=covers("61", "73")),
        pytest.param("streamablehttp", "legacy", "2025-11-25", marks=covers("61", "73")),
    ],
)
async def test_an_agent_uses_two_tools_of_the_demo_server(
    stub: Stub, transport: str, protocol: str, spoken: str
) -> None:
    stub.answer(
        calling(("mcp_demo_get_weather", {"city": "Oslo"}), ("mcp_demo_get_stock_price", {"symbol": "abc"})),
        chat("It is made up."),
    )
    async with (
        demo_over(transport) as server,
        running_gateway(with_servers(stub, {"demo": {**server, "protocol": protocol}}, tools=[])) as gateway,
    ):
        response = await gateway.chat(model="augmented/helper")
        assert response.json()["choices"][0]["message"]["content"] == "It is made up.", response.text
        (status,) = (await gateway.http.get("/admin/mcp/servers")).json()["data"]
    offered = [tool["function"]["name"] for tool in stub.calls[0].json["tools"]]
    assert offered == [
        f"mcp_demo_{name}" for name in ("analyze_text", "get_stock_price", "get_weather", "translate", "web_search")
    ]
    weather, price = (json.loads(message["content"]) for message in stub.last.json["messages"][-2:])
    assert (weather["city"], weather["demo"]) == ("Oslo", True)
    assert price["symbol"] == "ABC"
    assert (status["state"], status["protocol"], status["calls"]) == ("up", spoken, 2)


@covers("64")
async def test_an_agents_own_filters_hold_besides_those_of_the_server(stub: Stub) -> None:
    servers = {"bad": {**BAD, "blacklist": ["die"]}}
    filters = {"bad": {"whitelist": ["e*", "d*", "mixed"], "blacklist": ["mi*"]}}
    tree = with_servers(stub, servers, tools=["mcp_bad_zeta"])
    tree["agents"][0]["mcp_servers"] = filters
    async with running_gateway(tree) as gateway:
        await gateway.chat(model="augmented/helper")
    names = [tool["function"]["name"] for tool in stub.last.json["tools"]]
    assert names == ["mcp_bad_echo", "mcp_bad_zeta"]


@covers("70")
async def test_a_server_that_dies_is_told_to_the_model_and_the_run_goes_on(stub: Stub) -> None:
    stub.answer(calling(("mcp_bad_die", {}), ("mcp_bad_echo", {})), chat("One of them died."))
    async with running_gateway(with_servers(stub, {"bad": BAD}, tools=[], parallel_tools=False)) as gateway:
        response = await gateway.chat(model="augmented/helper")
        assert response.status_code == 200
        died = stub.last.json["messages"][-2]["content"]
        assert "ended during the call" in died
        async with asyncio.timeout(BOUND):
            while (await gateway.http.get("/readyz")).json()["mcp"] != {"bad": "up"}:
                await asyncio.sleep(0.02)
        stub.answer(calling(("mcp_bad_echo", {"x": 1})), chat("It works again."))
        await gateway.chat(model="augmented/helper")
    assert stub.last.json["messages"][-1]["content"] == '{"x": 1}'


@covers("70")
async def test_readiness_shows_a_server_that_was_killed_until_it_is_back(stub: Stub) -> None:
    async with running_gateway(with_servers(stub, {"bad": BAD}, tools=[])) as gateway:
        await gateway.chat(model="augmented/helper")
        assert (await gateway.http.get("/readyz")).json()["mcp"] == {"bad": "up"}
        assert gateway.gate.mcp is not None
        server = gateway.gate.mcp.server("bad")
        pid = server.status().pid
        assert pid is not None
        server.settings = server.settings.model_copy(update={"command": "/nonexistent/program"})
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(BOUND):
            while (ready := (await gateway.http.get("/readyz")).json())["mcp"] != {"bad": "down"}:
                await asyncio.sleep(0.01)
        assert ready["status"] == "degraded"
        stub.answer(calling(("mcp_bad_echo", {})), chat("It is down."))
        response = await gateway.chat(model="augmented/helper")
        assert response.headers["x-headgate-tools-absent"] == "bad"
        assert "Error: " in stub.last.json["messages"][-1]["content"]
        server.settings = server.settings.model_copy(update={"command": sys.executable})
        async with asyncio.timeout(BOUND):
            while (ready := (await gateway.http.get("/readyz")).json())["mcp"] != {"bad": "up"}:
                await asyncio.sleep(0.01)
        assert ready["status"] != "degraded"
        stub.answer(calling(("mcp_bad_echo", {"x": 2})), chat("It works again."))
        await gateway.chat(model="augmented/helper")
    assert stub.last.json["messages"][-1]["content"] == '{"x": 2}'


@covers("63")
async def test_a_tool_whose_name_was_shortened_is_called_by_its_own(stub: Stub) -> None:
    long = "x" * 90
    told = {"name": long, "inputSchema": {"type": "object"}}

    def serve(request: Recorded) -> Answer:
        if request.method == "POST" and request.json["method"] == "tools/list":
            return says(request, {"tools": [told]})
        return good(request)

    async with Stub() as far:
        far.otherwise = serve
        tree = with_servers(stub, {"far": {"url": far.url, "protocol": "legacy"}}, tools=[], tool_policy="always_allow")
        async with running_gateway(tree) as gateway:
            [listed] = (await gateway.http.get("/admin/mcp/tools")).json()["data"]
            stub.answer(calling((listed["name"], {})), chat("Done."))
            await gateway.chat(model="augmented/helper")
        called = [one.json["params"]["name"] for one in far.calls if one.json["method"] == "tools/call"]
    assert (len(listed["name"]), listed["origin"]) == (64, long)
    assert called == [long]
    assert stub.last.json["messages"][-1]["content"] == "hello"


@covers("70")
async def test_tools_of_a_server_that_is_down_are_absent_and_the_answer_says_so(stub: Stub) -> None:
    async with running_gateway(with_servers(stub, {"gone": GONE})) as gateway:
        response = await gateway.chat(model="augmented/helper")
        assert response.status_code == 200
        assert response.headers["x-headgate-tools-absent"] == "gone"
        assert [tool["function"]["name"] for tool in stub.last.json["tools"]] == ["calculator", "get_current_time"]
        ready = (await gateway.http.get("/readyz")).json()
        assert (ready["status"], ready["mcp"]) == ("degraded", {"gone": "down"})
        lines = await gateway.wait_for_lines(1)
        assert lines[0]["tools_absent"] == ["gone"]


@covers("70")
async def test_an_agent_fails_without_a_server_that_it_requires(stub: Stub) -> None:
    async with running_gateway(with_servers(stub, {"gone": {**GONE, "required": True}})) as gateway:
        response = await gateway.chat(model="augmented/helper")
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "mcp_unavailable"
        assert "ConnectError" in response.json()["error"]["message"]
    assert stub.calls == []


@covers("70")
async def test_a_caller_that_leaves_ends_the_call_and_nothing_keeps_running(stub: Stub, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    stub.answer(calling(("mcp_bad_hang", {})))
    bad = {**BAD, "args": [*SCRIPT, str(notes)], "call_seconds": 60.0}
    async with running_gateway(with_servers(stub, {"bad": bad}, tools=[])) as gateway:
        caller = asyncio.get_running_loop().create_task(gateway.chat(model="augmented/helper"))
        async with asyncio.timeout(BOUND):
            while not (notes.exists() and "hanging" in notes.read_text()):
                await asyncio.sleep(0.01)
        caller.cancel()
        lines = await gateway.wait_for_lines(1)
        assert lines[0]["outcome"] == "disconnected"
        async with asyncio.timeout(BOUND):
            while "cancelled" not in notes.read_text():
                await asyncio.sleep(0.01)


@covers("70")
async def test_an_image_of_a_tool_is_shown_to_the_model(stub: Stub) -> None:
    stub.answer(calling(("mcp_bad_mixed", {})), chat())
    async with running_gateway(with_servers(stub, {"bad": BAD}, tools=[])) as gateway:
        await gateway.chat(model="augmented/helper")
    assert stub.last.json["messages"][-1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


@covers("71")
async def test_operators_look_at_servers_and_tools_and_nobody_else_does(stub: Stub) -> None:
    servers = {"bad": BAD, "off": {"enabled": False}, "gone": GONE}
    async with running_gateway(with_servers(stub, servers)) as gateway:
        listed = (await gateway.http.get("/admin/mcp/servers")).json()["data"]
        assert [(one["name"], one["state"]) for one in listed] == [
            ("bad", "idle"),
            ("off", "disabled"),
            ("gone", "idle"),
        ]
        tools = (await gateway.http.get("/admin/mcp/servers/bad/tools")).json()["data"]
        assert tools[0]["hints"]["read_only"] is True
        for name in ("echo", "mcp_bad_echo"):
            one = (await gateway.http.get(f"/admin/mcp/servers/bad/tools/{name}")).json()
            assert (one["name"], one["origin"], one["parameters"]) == ("mcp_bad_echo", "echo", {"type": "object"})
        shown = (await gateway.http.get("/admin/mcp/servers/bad")).json()
        assert (shown["state"], shown["said"]) == ("up", ["the bad server is up"])
        every = (await gateway.http.get("/admin/mcp/tools")).json()
        assert {one["server"] for one in every["data"]} == {"bad"}
        assert list(every["absent"]) == ["gone"]
        for path, status in (("servers/nope", 404), ("servers/bad/tools/nope", 404), ("servers/gone/tools", 503)):
            assert (await gateway.http.get(f"/admin/mcp/{path}")).status_code == status
        token = {"authorization": f"Bearer {TOKEN}"}
        refused = await gateway.http.get("/admin/mcp/servers", headers=token)
        assert refused.status_code == 403
        assert "mcp:read" in refused.json()["error"]["message"]


@covers("71")
async def test_no_route_makes_or_changes_a_server(gateway: Gateway) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/admin/mcp/servers", "/admin/mcp/servers/a", "/admin/mcp/tools"):
            response = await gateway.http.request(method, path, json={"name": "a", "command": "touch"})
            assert response.status_code == 405
    assert gateway.gate.mcp is None


@covers("73")
def test_the_shipped_files_fit_each_other() -> None:
    servers = yaml.safe_load((ROOT / "conf/mcp/servers.yaml").read_text())["servers"]
    for server in servers.values():
        McpServerSettings.model_validate(server)
    agent = AgentSettings.model_validate(yaml.safe_load((ROOT / "conf/agents/demo.yaml").read_text()))
    assert set(agent.mcp_servers) <= set(servers)
    assert isinstance(agent.mcp_servers, dict)
