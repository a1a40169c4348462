"""What agents cost the gateway: CPU per round of tools, many agents and servers configured, many streams at once.

Only the gateway's own process is measured, in CPU time: it does not depend on what else the machine does.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bench import cpu, server
from tests.conftest import Amount
from tests.harness.process import Process, Processes
from tests.harness.stub import DONE, Answer, Recorded, Stub, chat, stream, stream_pieces
from tests.journeys.test_agents import calling, calling_in_pieces
from tests.requirements import covers

KEY = "sk-soak-master-key-001"
ROUNDS = 5
MANY = 50
PLUGIN = '''
from headgate.tools.plugin import tool

@tool(read_only=True)
async def nothing(x: int) -> str:
    """Does nothing."""
    return "done"
'''
pytestmark = [covers("agents-cost"), pytest.mark.timeout(300)]


def rounds(request: Recorded) -> Answer:
    """A model that calls its agent's only tool as often as the caller's `seed` says, and then answers."""
    body = request.json
    done = sum(message["role"] == "tool" for message in body["messages"])
    streams = bool(body.get("stream"))
    if done == body["seed"]:
        return stream(stream_pieces([f"word{number} " for number in range(20)], usage=True)) if streams else chat()
    function = body["tools"][0]["function"]
    argument = next(iter(function["parameters"]["properties"]))
    arguments = {argument: done if argument == "x" else f"Oslo {done}"}
    if not streams:
        return calling((function["name"], arguments))
    pieces = calling_in_pieces(function["name"], json.dumps(arguments)).pieces or []
    return stream([*pieces[:-1], DONE])


def configuration(folder: Path, stub: Stub, **more: Any) -> str:
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "nothing.py").write_text(PLUGIN)
    settings = {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "models": [{"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}]}],
        "agents": [{"name": "helper", "model": "small", "system_prompt": "You help.", "tools": ["nothing"]}],
        "tools": {"folder": str(folder / "plugins")},
        **more,
    }
    (folder / "headgate.yaml").write_text(yaml.safe_dump(settings))
    return str(folder / "headgate.yaml")


@asynccontextmanager
async def served(processes: Processes, file: str) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    serving = await asyncio.to_thread(processes.serve, "--config", file, HEADGATE_MASTER_KEY=KEY)
    limits = httpx.Limits(max_connections=None)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=serving.url, headers=headers, timeout=60, limits=limits) as http:
        yield serving, http


async def ask(http: httpx.AsyncClient, seed: int, *, streamed: bool = False, name: str = "helper") -> str:
    body = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "seed": seed, "stream": streamed}
    response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return response.text


def seconds_of(pid: int) -> float:
    """CPU of one process, without its children's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    ticks = sum(map(int, fields[11:13])) / cpu.TICKS_PER_SECOND
    exact = sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
    return max(ticks, exact / 1e9)


async def cost(serving: Process, http: httpx.AsyncClient, count: int, seed: int, **more: Any) -> float:
    """CPU milliseconds of the gateway per request."""
    before = seconds_of(serving.popen.pid)
    for start in range(0, count, 10):
        await asyncio.gather(*(ask(http, seed, **more) for _ in range(min(10, count - start))))
    return (seconds_of(serving.popen.pid) - before) / count * 1e3


async def per_round(serving: Process, http: httpx.AsyncClient, count: int, **more: Any) -> tuple[float, float]:
    """CPU milliseconds of a request without tools, and of each round of one tool on top; medians of several."""
    times = 3 if count > MANY else 1
    plain, rest = [], []
    for _ in range(times):
        plain.append(await cost(serving, http, count, 0, **more))
        rest.append((await cost(serving, http, count, ROUNDS, **more) - plain[-1]) / ROUNDS)
    return sorted(plain)[times // 2], sorted(rest)[times // 2]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_a_round_of_tools_costs_less_than_a_millisecond(
    stub: Stub, processes: Processes, tmp_path: Path, amount: Amount, streamed: bool
) -> None:
    stub.otherwise = rounds
    count = amount(20, 200)
    async with served(processes, configuration(tmp_path, stub)) as (serving, http):
        await cost(serving, http, 10, ROUNDS, streamed=streamed)
        plain, each = await per_round(serving, http, count, streamed=streamed)
    print(f"\n{'stream' if streamed else 'whole'}: {plain:.2f} ms CPU per answer, {each:.2f} ms per round of one tool")
    assert each <= amount(2, 1)


@pytest.fixture(params=["stdio", "sse", "streamablehttp", "streamablehttp-legacy"])
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The demo server as a process of its own: the settings to reach it."""
    if request.param in ("sse", "streamablehttp-legacy") and not request.config.getoption("--long"):
        pytest.skip("scripts/soak agents")
    transport, _, protocol = request.param.partition("-")
    more = {"whitelist": ["get_weather"], "protocol": protocol or "auto"}
    command = [sys.executable, "-m", "headgate", "demo-mcp", "--transport", transport]
    if transport == "stdio":
        yield {"command": command[0], "args": command[1:], **more}
        return
    port = server.free_port()

    async def answers() -> bool:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True

    with server.running([*command, "--port", str(port)], {}, tmp_path / "demo.log") as process:
        server.wait_until(answers, process, 20)
        path = "sse" if transport == "sse" else "mcp"
        yield {"type": transport, "url": f"http://127.0.0.1:{port}/{path}", **more}


async def test_what_a_call_of_an_mcp_server_costs_is_told(
    stub: Stub, demo: dict[str, Any], processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    stub.otherwise = rounds
    agents = [{"name": "helper", "model": "small", "mcp_servers": ["demo"]}]
    file = configuration(tmp_path, stub, mcp={"servers": {"demo": demo}}, agents=agents)
    async with served(processes, file) as (serving, http):
        await cost(serving, http, 10, ROUNDS)
        plain, each = await per_round(serving, http, amount(10, 100))
    how = f"{demo.get('type', 'stdio')}, {demo['protocol']}"
    print(f"\nMCP over {how}: {plain:.2f} ms CPU per answer, {each:.2f} ms per round of one tool")
    assert each <= amount(8, 4)


@pytest.fixture
def crowded(tmp_path: Path, stub: Stub) -> Iterator[str]:
    """200 agents in files of their own, and 50 MCP servers, half of them programs."""
    (tmp_path / "conf/agents").mkdir(parents=True)
    note = tmp_path / "started"
    servers: dict[str, Any] = {}
    for number in range(50):
        program = {"command": sys.executable, "args": ["-c", f"open({str(note)!r}, 'a').write('x')"]}
        servers[f"server{number}"] = {"url": f"{stub.url}/mcp"} if number % 2 else program
    for number in range(200):
        agent = {
            "name": f"augmented/agent{number}",
            "model": "small",
            "description": "One of many.",
            "system_prompt": f"You are number {number}. " + "You help. " * 40 + "{{text_stats(text='a')}}",
            "tools": ["calculator"],
            "mcp_servers": {f"server{number % 50}": {"whitelist": ["a*"]}, f"server{(number + 1) % 50}": None},
            "delegates": [f"augmented/agent{(number + 1) % 200}"],
        }
        (tmp_path / f"conf/agents/agent{number}.yaml").write_text(yaml.safe_dump(agent))
    yield configuration(tmp_path, stub, mcp={"servers": servers}, agents=[])
    assert not note.exists(), "a server was started that nobody had asked for"


async def test_two_hundred_agents_and_fifty_servers_start_soon_and_take_little(
    stub: Stub, processes: Processes, crowded: str, tmp_path: Path
) -> None:
    stub.otherwise = rounds
    began = time.monotonic()
    async with served(processes, crowded) as (serving, http):
        took = time.monotonic() - began
        used = cpu.usage(serving.popen.pid)
        listed = (await http.get("/a1/agents")).json()["data"]
        states = {one["state"] for one in (await http.get("/admin/mcp/servers")).json()["data"]}
        assert stub.requests == []
        settled = cpu.usage(serving.popen.pid)
    print(
        f"\n200 agents, 50 MCP servers: ready after {took:.2f} s ({used.cpu_seconds:.2f} s of CPU), "
        f"{settled.rss_mb:.0f} MB"
    )
    assert (len(listed), states) == (200, {"idle"})
    assert used.cpu_seconds < 2
    assert settled.rss_mb < 150


async def test_a_hundred_streams_of_agents_at_once_go_through_one_worker(
    stub: Stub, processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    """Each uses two tools in turn before it answers; the caller sees its first word while others still work."""
    stub.otherwise = rounds
    async with served(processes, configuration(tmp_path, stub)) as (serving, http):
        await ask(http, 2, streamed=True)
        for _ in range(amount(1, 10)):
            before, began = cpu.usage(serving.popen.pid), time.monotonic()
            texts = await asyncio.gather(*(ask(http, 2, streamed=True) for _ in range(100)))
            took = time.monotonic() - began
        after = cpu.usage(serving.popen.pid)
        in_flight = (await http.get("/metrics")).text
    assert all(text.rstrip().endswith("data: [DONE]") and text.count("word19") == 1 for text in texts)
    assert all(text.count('"tool_completed"') == 2 for text in texts)
    assert re.search(r"^headgate_in_flight 0", in_flight, re.MULTILINE)
    spent = (after.cpu_seconds - before.cpu_seconds) / 100 * 1e3
    print(f"\n100 agent streams at once: {took:.2f} s, {spent:.2f} ms CPU each, {after.rss_mb:.0f} MB")
    assert after.rss_mb < 150
    assert spent < amount(20, 10)
