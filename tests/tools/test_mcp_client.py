"""One MCP server, and all that it may do wrong: each fault is a failed result, and nothing is left behind."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.core.tool_errors import McpUnavailable
from headgate.tools.mcp_client import McpServer
from headgate.tools.mcp_types import McpServerSettings
from headgate.tools.runner import ToolBounds, run_tool
from headgate.tools.types import Caller, ToolResult
from tests.harness.stub import BOUND
from tests.requirements import covers

pytestmark = covers("70")
SCRIPT = str(Path(__file__).with_name("mcp_bad_server.py"))
Made = Callable[..., McpServer]


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    """Makes servers that note what they do in `notes` of the test's folder; all are closed at the end."""
    servers: list[McpServer] = []

    def make(**settings: Any) -> McpServer:
        given = {"command": sys.executable, "args": ["-I", "-S", SCRIPT, str(tmp_path / "notes")], **settings}
        server = McpServer("bad", McpServerSettings.model_validate({"longest_rest": 0.5, **given}))
        servers.append(server)
        return server

    yield make
    for server in servers:
        await server.close()


def notes(folder: Path, what: str) -> list[Any]:
    file = folder / "notes"
    lines = file.read_text().splitlines() if file.exists() else []
    return [found[what] for found in map(json.loads, lines) if what in found]


async def until(ready: Callable[[], object]) -> None:
    async with asyncio.timeout(BOUND):
        while not ready():
            await asyncio.sleep(0.01)


async def call(server: McpServer, name: str, **arguments: Any) -> ToolResult:
    async with asyncio.timeout(BOUND):
        return await server.call(name, arguments, Caller())


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


async def test_a_server_starts_with_its_first_use_and_its_tools_come_in_order(made: Made, tmp_path: Path) -> None:
    server = made()
    assert server.state == "idle"
    assert notes(tmp_path, "started") == []
    tools = await server.tools()
    assert [tool.info.origin for tool in tools] == sorted(tool.info.origin for tool in tools)
    assert tools[0].info.name == "mcp_bad_change"
    assert tools[0].info.hints.read_only is True
    assert (await server.tools()) is tools
    status = server.status()
    assert (status.state, status.protocol, status.server) == ("up", "2025-11-25", "bad 1")
    assert (await call(server, "echo", a=1)).text == '{"a": 1}'


async def test_many_first_uses_at_once_start_one_process(made: Made, tmp_path: Path) -> None:
    server = made()
    async with asyncio.timeout(BOUND):
        await asyncio.gather(*(call(server, "echo") for _ in range(20)))
    assert len(notes(tmp_path, "started")) == 1


async def test_a_server_that_dies_in_a_call_fails_the_call_and_comes_back(made: Made, tmp_path: Path) -> None:
    server = made()
    result = await call(server, "die")
    assert result.failed
    assert "ended during the call" in result.text
    await until(lambda: server.state == "up")
    assert (await call(server, "echo")).text == "{}"
    assert len(notes(tmp_path, "started")) == 2
    assert server.status().failures == 1


async def test_a_server_that_dies_soon_each_time_rests_longer_each_time(made: Made) -> None:
    server = made(longest_rest=60.0)
    rests = []
    for _ in range(3):
        server._rest_until = 0.0
        await server.tools()
        await call(server, "die")
        await until(lambda: server.state == "down")
        rests.append(server.status().rest)
    assert 0 < rests[0] <= 0.5 < rests[1] <= 1 < rests[2] <= 2


async def test_a_server_that_cannot_start_rests_longer_each_time_and_says_why(made: Made) -> None:
    server = made(command="/no/such/program", longest_rest=60.0)
    with pytest.raises(McpUnavailable, match="'/no/such/program' cannot be run: No such file"):
        await server.tools()
    with pytest.raises(McpUnavailable, match=r"is tried again in 0\.\d seconds"):
        await server.tools()
    assert server.state == "down"
    rests = []
    for _ in range(3):
        server._rest_until = 0.0
        with pytest.raises(McpUnavailable):
            await server.tools()
        rests.append(server.status().rest)
    assert rests[0] < rests[1] < rests[2] <= 60


async def test_what_a_child_said_last_is_told_when_it_does_not_come_up(made: Made) -> None:
    server = made(args=["-c", "import sys; sys.exit('the token sk-0123456789abcdef is wrong')"])
    with pytest.raises(McpUnavailable, match="it said: the token") as error:
        await server.tools()
    assert "0123456789" not in error.value.message


async def test_a_call_that_hangs_ends_in_time_and_is_cancelled_on_the_server(made: Made, tmp_path: Path) -> None:
    server = made(call_seconds=0.2)
    result = await call(server, "hang")
    assert result.failed
    assert "did not end within 0.2 seconds" in result.text
    await until(lambda: notes(tmp_path, "cancelled") == notes(tmp_path, "hanging"))
    assert (await call(server, "echo")).text == "{}"
    assert len(notes(tmp_path, "started")) == 1


async def test_a_caller_that_leaves_cancels_the_call(made: Made, tmp_path: Path) -> None:
    server = made()
    await server.tools()
    task = asyncio.get_running_loop().create_task(server.call("hang", {}, Caller()))
    await until(lambda: notes(tmp_path, "hanging"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: notes(tmp_path, "cancelled") == notes(tmp_path, "hanging"))


async def test_calls_that_hang_one_after_the_other_have_the_server_started_anew(made: Made, tmp_path: Path) -> None:
    server = made(call_seconds=0.1, hangs=2)
    await call(server, "hang")
    assert [server.state] == ["up"]
    await call(server, "hang")
    assert [server.state] == ["down"]
    assert "2 calls in a row" in server.status().error
    server._rest_until = 0.0
    assert (await call(server, "echo")).text == "{}"
    assert len(notes(tmp_path, "started")) == 2


async def test_a_flood_of_50_megabytes_is_cut_off_at_the_bound(made: Made, tmp_path: Path) -> None:
    server = made(largest_message=1 << 20)
    result = await call(server, "flood")
    assert result.failed
    assert "more than 1048576 bytes" in result.text
    pid = notes(tmp_path, "started")[0]
    await until(lambda: not is_running(pid))
    server._rest_until = 0.0
    assert (await call(server, "echo")).text == "{}"


async def test_lines_that_are_no_messages_are_passed_over(made: Made) -> None:
    assert (await call(made(), "garbage")).text == "after the garbage"


async def test_a_server_that_speaks_something_else_is_given_up(made: Made) -> None:
    chatter = "while True: print('hello, I am a shell')"
    server = made(args=["-c", chatter])
    with pytest.raises(McpUnavailable, match=r"no MCP|ended"):
        await server.tools()


async def test_an_answer_of_the_wrong_shape_is_a_failed_result(made: Made) -> None:
    server = made()
    result = await call(server, "wrong")
    assert result.failed
    assert "cannot be used" in result.text
    assert (await call(server, "echo")).text == "{}"


async def test_a_tool_that_fails_and_one_that_is_not_there_give_failed_results(made: Made) -> None:
    server = made()
    assert await call(server, "fails") == ToolResult("Error: it does not work", failed=True)
    tool = next(one for one in await server.tools() if one.info.origin == "echo")
    result = await run_tool(tool, "[1]", Caller(), ToolBounds())
    assert result.failed


async def test_pictures_and_structured_content_are_kept_and_the_rest_is_named(made: Made) -> None:
    server = made()
    result = await call(server, "mixed")
    assert result.text.split("\n") == [
        "First.",
        "[sound left out: audio/wav, 4 bytes]",
        "[file:///a.txt]",
        "A page.",
        "[b: file:///b.txt]",
    ]
    assert [image.mime_type for image in result.images] == ["image/png"]
    result = await call(server, "structured")
    assert (result.text, result.structured) == ('{"celsius": 7}', {"celsius": 7})


async def test_a_list_that_changed_is_asked_for_again_and_else_it_is_not(made: Made, tmp_path: Path) -> None:
    server = made()
    await server.tools()
    await server.tools()
    assert len(notes(tmp_path, "listed")) == 1
    await call(server, "change")
    await until(lambda: server._good_until == 0.0)
    assert "added" in [tool.info.origin for tool in await server.tools()]
    assert len(notes(tmp_path, "listed")) == 2


async def test_the_trace_goes_on_in_the_server(made: Made, tmp_path: Path) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    await made().call("echo", {}, Caller(traceparent=trace))
    (meta,) = notes(tmp_path, "meta")
    assert meta["traceparent"].split("-")[1] == "a" * 32
    assert meta["traceparent"].split("-")[2] != "b" * 16


@pytest.mark.parametrize(
    ("policy", "read_only", "destructive"),
    [("auto", True, False), ("always_allow", False, False), ("always_ask", False, True)],
)
async def test_the_operator_may_say_what_a_servers_calls_are(
    made: Made, policy: str, read_only: bool, destructive: bool
) -> None:
    tool = (await made(policy=policy).tools())[0]
    assert (tool.info.hints.read_only, tool.info.hints.destructive) == (read_only, destructive)


async def test_a_filter_of_the_server_hides_tools_from_everybody(made: Made) -> None:
    server = made(whitelist=["e*", "d*"], blacklist=["die"])
    assert [tool.info.origin for tool in await server.tools()] == ["echo"]


async def test_closing_leaves_nothing_behind_not_even_grandchildren(made: Made, tmp_path: Path) -> None:
    server = made()
    grandchild = int((await call(server, "spawn")).text)
    (child,) = notes(tmp_path, "started")
    assert is_running(child)
    assert is_running(grandchild)
    await server.close()
    await until(lambda: not is_running(child) and not is_running(grandchild))
    with pytest.raises(McpUnavailable, match="not in use"):
        await server.tools()


async def test_a_child_sees_its_own_variables_and_none_of_the_gateways(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-gateway")
    program = "import os, sys; sys.exit('OPENAI_API_KEY' in os.environ and 'leaked' or os.environ['MINE'])"
    server = made(args=["-c", program], env={"MINE": "seen by the child"})
    with pytest.raises(McpUnavailable, match="it said: seen by the child"):
        await server.tools()
