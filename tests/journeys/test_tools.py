"""Tools without a model between: the list, calls by scope, and what the log and the metrics say of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from headgate.core.errors import StartupError
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub
from tests.journeys.test_agents import settings
from tests.journeys.test_money import new_key, rows
from tests.requirements import covers

pytestmark = covers("103")
COMPUTE = ["calculator", "current_time", "date_math", "text_stats", "json_query"]
RAG = [
    "rag_query",
    *(f"rag_{verb}" for verb in ("list_indices", "create_index", "get_index", "delete_index")),
    *(f"rag_{verb}" for verb in ("list_documents", "get_document", "add_document", "update_document")),
    "rag_delete_document",
]
DESTROYING = ("rag_delete_index", "rag_update_document", "rag_delete_document")
SLOW = '''
import asyncio
from pathlib import Path
from headgate.tools.plugin import tool

@tool
async def wait_long(mark: str) -> str:
    """Waits until it is stopped."""
    Path(mark).write_text("begun")
    try:
        await asyncio.sleep(30)
    finally:
        Path(mark).write_text("stopped")
'''


@pytest_asyncio.fixture
async def gateway(stub: Stub, tmp_path: Path) -> AsyncIterator[Gateway]:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "slow.py").write_text(SLOW)
    made = settings(stub)
    made["models"].append({"name": "painter", "targets": [{"upstream": "stub", "model": "paint"}], "price": PRICE})
    made["tools"] = {"folder": str(tmp_path / "plugins"), "image_model": "painter"}
    async with running_gateway(made, tmp_path) as running:
        yield running


PRICE = {"input": 0, "output": 0, "request": "0.04"}


async def execute(caller: httpx.AsyncClient, name: Any, arguments: Any = None, **more: Any) -> httpx.Response:
    body = {"name": name, "arguments": {} if arguments is None else arguments, **more}
    return await caller.post("/v1/tools/execute", json=body)


@covers("101")
async def test_the_list_has_every_tool_with_schema_source_group_and_hints(gateway: Gateway) -> None:
    listed = (await gateway.http.get("/v1/tools")).json()["data"]
    memory = [f"memory_{verb}" for verb in ("write", "read", "search", "list", "delete")]
    more = ["web_fetch", "image_generate", "list_models", *memory, *RAG, "wait_long"]
    assert [tool["name"] for tool in listed] == [*COMPUTE, *more]
    assert {tool["group"] for tool in listed} == {"compute", "web", "image", "discovery", "memory", "rag", None}
    for tool in listed:
        assert tool["description"], tool["name"]
        assert tool["parameters"]["type"] == "object", tool["name"]
        assert tool["may_execute"] is True
        assert tool["source"] == ("plugin" if tool["name"] == "wait_long" else "builtin")
        assert tool["needs_approval"] is (tool["name"] in ("wait_long", "memory_delete", *DESTROYING))
    assert listed[0]["hints"]["readOnlyHint"] is True
    assert (await gateway.http.get("/tools")).json()["data"] == listed


async def test_a_call_answers_with_the_result_and_leaves_a_line_and_a_count(gateway: Gateway) -> None:
    response = await execute(gateway.http, "calculator", {"expression": "6*7"})
    told = response.json()
    assert (response.status_code, told["content"], told["is_error"]) == (200, "42", False)
    assert told["id"] == response.headers["x-request-id"]
    assert (await execute(gateway.http, "calculator", {"expression": "1/0"})).json()["is_error"] is True
    lines = [line for line in await gateway.wait_for_lines(2) if line["route"] == "/v1/tools/execute"]
    assert [(line["tools"][0]["tool"], line["tools"][0]["result"]) for line in lines] == [
        ("calculator", "ok"),
        ("calculator", "failed"),
    ]
    assert "6*7" not in json.dumps(lines)
    scraped = (await gateway.http.get("/metrics")).text
    assert 'headgate_tools_total{result="ok",tool="calculator"} 1.0' in scraped


@covers("arguments")
@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"name": "calculator", "arguments": {}}, 400, "invalid_field", "arguments.expression"),
        ({"name": "calculator", "arguments": {"expression": 5}}, 400, "invalid_field", "arguments.expression"),
        ({"name": "calculator", "arguments": "1+1"}, 400, "invalid_field", "arguments"),
        ({"name": "nope"}, 404, "tool_not_found", "name"),
        ({"name": ["calculator"]}, 404, "tool_not_found", "name"),
        ({}, 400, "missing_field", "name"),
        ({"name": "calculator", "args": {}}, 400, "invalid_field", "args"),
        ([], 400, "invalid_json", None),
    ],
)
async def test_bad_input_names_the_field(gateway: Gateway, body: Any, status: int, code: str, param: Any) -> None:
    response = await gateway.http.post("/v1/tools/execute", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)


@pytest.mark.parametrize(
    ("scopes", "listed", "calculates", "fetches"),
    [
        ([], None, 403, 403),
        (["tools:read"], 24, 403, 403),
        (["tools:read:compute"], 5, 403, 403),
        (["tools:execute"], None, 200, 200),
        (["tools:execute:calculator"], None, 200, 403),
        (["tools:execute:web"], None, 403, 200),
        (["tools:*:compute"], 5, 200, 403),
        (["tools:execute:plugin"], None, 403, 403),
        (["keys:read", "usage:read"], None, 403, 403),
    ],
)
async def test_a_key_calls_what_its_scopes_name(
    gateway: Gateway, scopes: list[str], listed: int | None, calculates: int, fetches: int
) -> None:
    async with await new_key(gateway, scopes=scopes) as caller:
        answer = await caller.get("/v1/tools")
        assert answer.status_code == (403 if listed is None else 200)
        if listed is not None:
            assert len(answer.json()["data"]) == listed
            executable = {tool["name"] for tool in answer.json()["data"] if tool["may_execute"]}
            assert executable == (set(COMPUTE) if "tools:*:compute" in scopes else set())
        assert (await execute(caller, "calculator", {"expression": "1"})).status_code == calculates
        fetched = await execute(caller, "web_fetch", {"url": "http://127.0.0.1:1/"})
        assert fetched.status_code == fetches
        if fetches == 200:
            assert "address_forbidden" in fetched.json()["content"]


@covers("116")
async def test_nobody_hands_on_a_scope_for_tools_that_he_does_not_have(gateway: Gateway) -> None:
    async with await new_key(gateway, scopes=["keys:write", "tools:execute:compute"]) as maker:
        assert (await maker.post("/admin/keys", json={"scopes": ["tools:execute:compute"]})).status_code == 201
        for scope in ("tools:execute", "tools:execute:web", "tools:read", "tools:*:compute"):
            refused = await maker.post("/admin/keys", json={"scopes": [scope]})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden"), scope


@covers("115")
async def test_calls_count_against_the_limits_of_the_key(gateway: Gateway) -> None:
    async with await new_key(gateway, scopes=["tools:execute"], rate={"requests_per_minute": 1}) as caller:
        assert (await execute(caller, "calculator", {"expression": "1"})).status_code == 200
        assert (await execute(caller, "calculator", {"expression": "1"})).status_code == 429


async def test_a_caller_that_leaves_stops_the_tool(gateway: Gateway, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    call = asyncio.ensure_future(execute(gateway.http, "wait_long", {"mark": str(mark)}))
    async with asyncio.timeout(BOUND):
        while not mark.exists() or not mark.read_text():
            await asyncio.sleep(0.005)
        call.cancel()
        while mark.read_text() != "stopped":
            await asyncio.sleep(0.005)
    [line] = [line for line in await gateway.wait_for_lines(1) if line["route"] == "/v1/tools/execute"]
    assert (line["outcome"], line["tools"][0]["result"]) == ("disconnected", "cancelled")
    assert not gateway.gate.active


@covers("162")
async def test_a_call_that_an_operator_cancels_says_so(gateway: Gateway, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    call = asyncio.ensure_future(execute(gateway.http, "wait_long", {"mark": str(mark)}))
    async with asyncio.timeout(BOUND):
        while not mark.exists() or not mark.read_text():
            await asyncio.sleep(0.005)
    [running] = (await gateway.http.get("/v1/runs", params={"status": "running"})).json()["data"]
    assert running["route"] == "/v1/tools/execute"
    await gateway.http.post(f"/v1/runs/{running['id']}/cancel")
    assert (await call).json()["error"]["code"] == "run_cancelled"
    assert mark.read_text() == "stopped"
    [line] = [line for line in await gateway.wait_for_lines(2) if line["route"] == "/v1/tools/execute"]
    assert (line["outcome"], line["error"]) == ("cancelled", "run_cancelled")


@covers("101", "152")
async def test_a_picture_is_made_by_the_gateways_own_model_and_paid_for_as_a_child(
    gateway: Gateway, stub: Stub
) -> None:
    stub.answer(Answer(body=b'{"created":1,"data":[{"b64_json":"iVBORw0KGgo=","revised_prompt":"a cat, sitting"}]}'))
    made = await execute(gateway.http, "image_generate", {"prompt": "a cat", "size": "64x64"})
    told = made.json()
    assert told["images"] == [{"data": "iVBORw0KGgo=", "mime_type": "image/png"}]
    assert "a cat, sitting" in told["content"]
    assert stub.last.path == "/v1/images/generations"
    assert stub.last.json == {"model": "paint", "n": 1, "prompt": "a cat", "size": "64x64"}
    [entry] = await rows(gateway, 1)
    assert (entry["parent"], entry["component"], entry["cost_usd"]) == (told["id"], "tool", "0.040000000")


async def test_a_key_that_may_not_use_the_image_model_makes_no_picture(gateway: Gateway, stub: Stub) -> None:
    async with await new_key(gateway, scopes=["tools:execute"], models={"allow": ["small"]}) as caller:
        refused = (await execute(caller, "image_generate", {"prompt": "a cat"})).json()
        assert "model_forbidden" in refused["content"]
        names = (await execute(caller, "list_models")).json()["structured"]["models"]
    assert names == ["small"]
    assert not stub.calls
    everything = (await execute(gateway.http, "list_models", {"contains": "P"})).json()["structured"]["models"]
    assert everything == ["painter", "augmented/helper"]


@covers("104")
async def test_a_broken_plug_in_stops_the_start(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x = 1\n1 / 0\n")
    made = {**settings(stub), "tools": {"folder": str(tmp_path)}}
    with pytest.raises(StartupError, match=r"bad\.py, line 2"):
        async with running_gateway(made):
            pass
    made["tools"]["skip_broken"] = True
    async with running_gateway(made) as running:
        assert len((await running.http.get("/v1/tools")).json()["data"]) == 7


async def test_an_agent_that_names_a_tool_which_there_is_not_is_told_of_in_the_log(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_gateway(settings(stub, tools=["calculator", "calculater", "mcp_x_y"])):
        pass
    assert "'calculater'" in caplog.text
    assert "mcp_x_y" not in caplog.text


@covers("104")
async def test_an_agent_calls_a_plug_in(stub: Stub, tmp_path: Path) -> None:
    from tests.harness.stub import chat
    from tests.journeys.test_agents import calling

    text = (
        "from headgate.tools.plugin import tool\n\n@tool(read_only=True)\ndef twice(x: int) -> int:\n    return x * 2\n"
    )
    (tmp_path / "twice.py").write_text(text)
    made = {**settings(stub, tools=["twice"]), "tools": {"folder": str(tmp_path)}}
    async with running_gateway(made) as running:
        stub.answer(calling(("twice", {"x": 21})), chat("42"))
        assert (await running.chat(model="augmented/helper")).status_code == 200
    assert stub.last.json["messages"][-1]["content"] == "42"
