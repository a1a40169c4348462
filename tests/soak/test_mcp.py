"""The MCP proof: the conformance suite on our client and server, and real servers from npm and PyPI, which are listed,
called, killed and come back. All that is not ours is installed once, pinned, into folders of its own below `.cache`.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headgate.tools.mcp_client import McpServer
from headgate.tools.mcp_types import McpServerSettings
from headgate.tools.types import Caller
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Stub
from tests.requirements import covers
from tests.soak.mcp_offer import everybody_as_operator, fixture_server, fixture_tools

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "mcp_servers"
CACHE = ROOT / ".cache" / "mcp"
SECONDS = 600
REVISIONS = ("2025-11-25", "2026-07-28")
LATER = "Not scored for"
pytestmark = [
    covers("mcp-conformance"),
    pytest.mark.skipif("not config.getoption('--long')", reason="scripts/soak mcp"),
    pytest.mark.skipif(not shutil.which("npm"), reason="needs npm"),
    pytest.mark.timeout(SECONDS + 60),
]


def installed(kind: str, *files: str) -> Path:
    """A folder with what the files pin; installed if it is not there yet."""
    content = b"".join((HERE / name).read_bytes() for name in files)
    folder = CACHE / f"{kind}-{hashlib.sha256(content).hexdigest()[:16]}"
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in files:
        shutil.copy(HERE / name, folder)
    for command in {"npm": _npm, "pypi": _pypi}[kind](folder):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=SECONDS)
    (folder / "complete").touch()
    return folder


def _npm(_: Path) -> list[list[str]]:
    """Scripts run for the one package that needs one, to put its program in place."""
    quiet = ["--no-audit", "--no-fund", "--prefer-offline"]
    return [["npm", "ci", "--ignore-scripts", *quiet], ["npm", "rebuild", "node", *quiet]]


def _pypi(folder: Path) -> list[list[str]]:
    uv = str(ROOT / ".venv/bin/uv")
    python = str(folder / "venv/bin/python")
    return [
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
        [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", "requirements.txt"],
    ]


@pytest.fixture(scope="module")
def npm() -> Path:
    return installed("npm", "package.json", "package-lock.json") / "node_modules"


@pytest.fixture(scope="module")
def pypi() -> Path:
    return installed("pypi", "requirements.txt") / "venv" / "bin"


async def suite(npm: Path, *arguments: str) -> tuple[int, str]:
    """The conformance suite's exit code and summary."""
    program = [str(npm / "node/bin/node"), str(npm / "@modelcontextprotocol/conformance/dist/index.js"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = output.decode()
    found = text.partition("SUITE SUMMARY")[2] or text.partition("=== SUMMARY")[2] or text
    print(found)
    return process.returncode or 0, found


@pytest.mark.parametrize("revision", REVISIONS)
async def test_our_client_passes_every_required_scenario(npm: Path, tmp_path: Path, revision: str) -> None:
    driver = f"{sys.executable} -m tests.soak.mcp_driver"
    given = ["--requirements", revision, "--timeout", "400000", "-o", str(tmp_path)]
    code, told = await suite(npm, "client", "--command", driver, *given)
    required, _, later = told.partition(LATER)
    failed = set(re.findall(r"✗ ([\w/-]+)", required)) - set(re.findall(r"✗ ([\w/-]+)", later))
    assert failed == set()
    assert len(re.findall("✓ ", required)) >= 18
    assert code == 0


@pytest_asyncio.fixture
async def open_gateway(stub: Stub) -> AsyncIterator[Gateway]:
    """A gateway that serves MCP with sessions."""
    settings = {
        "upstreams": [{"name": "stub", "provider": "openai_compatible", "base_url": stub.url}],
        "mcp": {"serve": {"enabled": True, "sessions": True}},
    }
    async with running_gateway(settings) as gateway:
        yield gateway


COMMON = {"tools-list", "tools-call-simple-text", "tools-call-image", "tools-call-error", "dns-rebinding-protection"}
OFFERED = {
    "2025-11-25": COMMON | {"server-initialize", "ping", "server-sse-multiple-streams", "server-session-lifecycle"},
    "2026-07-28": COMMON | {"server-sse-multiple-streams", "sep-2164-resource-not-found"},
}
"""Scenarios that the gateway's own offer passes whole."""
ABOUT_OTHERS = re.compile(
    r"(resources|prompts|elicitation|input-required-result|logging|completion)-|"
    r"tools-call-(audio|embedded-resource|mixed-content|with-logging|with-progress|sampling|elicitation)$"
)
"""Scenarios about capabilities that the gateway does not advertise, or kinds of content that its tools do not give."""
IN_PART = {
    "server-stateless": {
        "sep-2575-server-rejects-undeclared-capability",
        "sep-2575-missing-capability-http-400",
        "sep-2575-http-server-no-independent-requests-on-stream",
        "sep-2575-server-no-log-without-loglevel",
    },
    "caching": {
        "sep-2549-prompts-list-caching-hints",
        "sep-2549-resources-list-caching-hints",
        "sep-2549-resources-templates-list-caching-hints",
    },
}
"""Checks about the same within scenarios that are otherwise passed."""


@pytest.mark.parametrize("revision", REVISIONS)
async def test_what_the_gateway_offers_passes_every_required_scenario_about_it(
    open_gateway: Gateway, npm: Path, tmp_path: Path, revision: str
) -> None:
    """Tools and the protocol itself. It offers no prompts and resources, and asks its clients nothing."""

    async def offered() -> Any:
        return fixture_tools()

    open_gateway.gate.offered = offered
    async with everybody_as_operator(open_gateway):
        given = ["--requirements", revision, "-o", str(tmp_path)]
        _, told = await suite(npm, "server", "--url", f"{open_gateway.url}/mcp", *given)
    required, _, later = told.partition(LATER)
    failed = set(re.findall(r"✗ ([\w/-]+)", required)) - set(re.findall(r"✗ ([\w/-]+)", later))
    assert set(re.findall(r"✓ ([\w/-]+)", required)) >= OFFERED[revision]
    for scenario in {name for name in failed if not ABOUT_OTHERS.match(name)}:
        assert failed_checks(tmp_path, scenario) == IN_PART.get(scenario), scenario


def failed_checks(folder: Path, scenario: str) -> set[str]:
    """Ids of the checks of a scenario that did not pass."""
    [file] = folder.glob(f"server-{scenario}-2*/checks.json")
    return {one["id"] for one in json.loads(file.read_text()) if one["status"] == "FAILURE"}


@pytest.mark.parametrize("revision", REVISIONS)
async def test_our_door_passes_every_required_scenario_with_a_server_that_offers_all(
    open_gateway: Gateway, npm: Path, tmp_path: Path, revision: str
) -> None:
    """Whatever MCP knows passes through the gateway's way in: keys, bounds, the HTTP server and sessions."""
    async with fixture_server(open_gateway):
        url = f"{open_gateway.url}/mcp"
        code, told = await suite(npm, "server", "--url", url, "--requirements", revision, "-o", str(tmp_path))
    required, _, later = told.partition(LATER)
    failed = set(re.findall(r"✗ ([\w/-]+)", required)) - set(re.findall(r"✗ ([\w/-]+)", later))
    assert failed == set()
    assert code == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with one file that is not in it yet."""
    (tmp_path / "a.txt").write_text("from a file")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, timeout=30)
    return tmp_path


REAL: list[tuple[str, str, list[str], str, dict[str, Any], str]] = [
    ("npm", "server-everything", ["stdio"], "echo", {"message": "hello"}, "hello"),
    ("npm", "server-filesystem", ["FOLDER"], "read_text_file", {"path": "FOLDER/a.txt"}, "from a file"),
    ("npm", "server-memory", [], "read_graph", {}, "entities"),
    ("pypi", "mcp-server-time", [], "get_current_time", {"timezone": "Europe/Oslo"}, "Europe/Oslo"),
    ("pypi", "mcp-server-git", ["--repository", "FOLDER"], "git_status", {"repo_path": "FOLDER"}, "a.txt"),
    ("pypi", "mcp-server-fetch", ["--ignore-robots-txt", "--allow-private-ips"], "fetch", {"url": "URL"}, "stub-small"),
]


@pytest.mark.parametrize(("kind", "name", "args", "tool", "arguments", "expected"), REAL, ids=[one[1] for one in REAL])
async def test_a_real_server_is_listed_called_killed_and_comes_back(
    npm: Path,
    pypi: Path,
    stub: Stub,
    folder: Path,
    kind: str,
    name: str,
    args: list[str],
    tool: str,
    arguments: dict[str, Any],
    expected: str,
) -> None:
    filled = json.loads(
        json.dumps([args, arguments]).replace("FOLDER", str(folder)).replace('"URL"', f'"{stub.url}/models"')
    )
    command, given = str(pypi / name), filled[0]
    if kind == "npm":
        command = str(npm / "node/bin/node")
        given = [str(npm / f"@modelcontextprotocol/{name}/dist/index.js"), *given]
    settings = {"command": command, "args": given, "connect_seconds": 60.0, "cwd": str(folder)}
    server = McpServer(name, McpServerSettings.model_validate(settings))
    try:
        tools = [one.info.origin for one in await server.tools()]
        print(name, server.status().protocol, server.status().server, tools)
        assert tool in tools
        for _ in range(2):
            result = await server.call(tool, filled[1], Caller())
            assert not result.failed, result.text
            assert expected in result.text
            pid = server.status().pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(60):
                while server.status().pid in (pid, None) or server.state != "up":
                    await asyncio.sleep(0.05)
        assert server.status().connects == 3
    finally:
        await server.close()
