"""What tools, plain models with tools and MCP servers have of a configuration that was read anew."""

import os
from pathlib import Path
from typing import Any

from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_agents import calling
from tests.journeys.test_mcp import BAD
from tests.journeys.test_reload import agent, reload, until, write
from tests.requirements import covers

pytestmark = covers("69")


async def statuses(gateway: Gateway) -> dict[str, Any]:
    listed = (await gateway.http.get("/admin/mcp/servers")).json()["data"]
    return {one["name"]: (one["state"], one["pid"]) for one in listed}


async def structured(gateway: Gateway, stub: Stub, server: str) -> str:
    """What the agent's model is told by a tool of a server."""
    stub.answer(calling((f"mcp_{server}_structured", {})), chat("Done."))
    assert (await gateway.chat(model="helper")).status_code == 200
    return str(stub.last.json["messages"][-1]["content"])


async def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@covers("59")
async def test_mcp_servers_come_go_and_stay_as_the_new_configuration_says(stub: Stub, tmp_path: Path) -> None:
    file = write(tmp_path, stub, mcp={"servers": {"bad": BAD}})
    agent(tmp_path, mcp_servers=["bad"])
    async with running_gateway(file, tmp_path / "data") as gateway:
        assert "celsius" in await structured(gateway, stub, "bad")
        state, first = (await statuses(gateway))["bad"]
        assert state == "up"
        agent(tmp_path, "Second.", mcp_servers=["bad"])
        assert (await reload(gateway))["mcp_servers_connected"] == 1
        assert (await statuses(gateway))["bad"] == ("up", first)
        write(tmp_path, stub, mcp={"servers": {"good": BAD}, "serve": {"enabled": True}})
        agent(tmp_path, mcp_servers=["good"])
        told = await reload(gateway)
        assert (told["mcp_servers_connected"], told["needs_restart"]) == (0, ["mcp.serve.enabled"])
        await until(lambda: has_ended(first))
        assert "celsius" in await structured(gateway, stub, "good")
        state, second = (await statuses(gateway))["good"]
        assert state == "up"
        agent(tmp_path, mcp_servers=["bad"])
        refused = await gateway.http.post("/admin/reload")
        assert refused.status_code == 422
        assert "There is no MCP server 'bad'" in refused.text
        assert (await statuses(gateway))["good"] == ("up", second)
    assert await has_ended(second)


@covers("102")
async def test_new_models_get_tools_by_their_names_and_are_listed_by_the_tool(stub: Stub, tmp_path: Path) -> None:
    tools = {"inject": {"tools": ["list_models"], "models": ["large*"]}}
    async with running_gateway(write(tmp_path, stub, tools=tools), tmp_path / "data") as gateway:
        target = [{"upstream": "stub", "model": "two"}]
        models = [{"name": name, "targets": target, "retries": 0} for name in ("small", "large-1")]
        write(tmp_path, stub, models=models, tools=tools)
        agent(tmp_path)
        await reload(gateway)
        stub.answer(calling(("list_models", {})), chat("Two and one."))
        response = await gateway.chat(model="large-1")
        assert response.headers["x-headgate-tools-added"] == "list_models"
        told = stub.last.json["messages"][-1]["content"]
        assert all(name in told for name in ("small", "large-1", "helper"))
