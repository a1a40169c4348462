"""Agents and callers with MCP servers that a script plays: long names, and logins of LiteLLM's file."""

from pathlib import Path

import pytest
import yaml

from tests.harness.gateway import running_gateway
from tests.harness.stub import Answer, Recorded, Stub, chat
from tests.journeys.test_agents import calling
from tests.journeys.test_mcp import BAD, with_servers
from tests.requirements import covers
from tests.tools.test_mcp_http import good, says


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


@covers("62", "166")
async def test_servers_of_litellms_file_are_called_with_its_login(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAR_TOKEN", "of-the-server")
    stub.otherwise = good
    far = {"url": stub.url, "protocol_version": "2025-11-25", "auth_type": "bearer_token"}
    model = {"model": "openai/x", "api_key": "sk-x", "api_base": stub.url}
    servers = {
        "far": {**far, "auth_value": "os.environ/FAR_TOKEN"},
        "near": {"transport": "stdio", "command": BAD["command"], "args": BAD["args"], "allowed_tools": ["echo"]},
        "signed": {"url": stub.url, "auth_type": "aws_sigv4"},
    }
    file = tmp_path / "config.yaml"
    file.write_text(
        yaml.safe_dump({"model_list": [{"model_name": "x", "litellm_params": model}], "mcp_servers": servers})
    )
    async with running_gateway(file) as gateway:
        listed = [one["name"] for one in (await gateway.http.get("/v1/tools")).json()["data"]]
        asked = {"name": "mcp_far_echo", "arguments": {}}
        answer = (await gateway.http.post("/v1/tools/execute", json=asked)).json()
        states = {one["name"]: one["state"] for one in (await gateway.http.get("/admin/mcp/servers")).json()["data"]}
    assert [name for name in listed if name.startswith("mcp_")] == ["mcp_far_echo", "mcp_near_echo"]
    assert answer["content"] == "hello"
    assert {one.headers["authorization"] for one in stub.calls} == {"Bearer of-the-server"}
    assert states == {"far": "up", "near": "up", "signed": "disabled"}
