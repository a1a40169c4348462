"""The Open Responses proof: the compliance runner of the specification, over HTTP and WebSockets, on the gateway.

The runner is no package: OPEN_RESPONSES names a copy of its repository (bin/compliance-test.ts and what it imports).
The program that runs it, and its one library, are installed once, pinned, into a folder of their own below `.cache`.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from headgate.core.version import __version__
from tests.clients.answers import provider
from tests.conftest import settings_for
from tests.harness.gateway import KEY, running_gateway
from tests.harness.responses import native
from tests.harness.stub import Stub
from tests.requirements import covers

ROOT = Path(__file__).parents[2]
PINS = Path(__file__).parent / "responses_suite"
SUITE = os.environ.get("OPEN_RESPONSES", "")
SECONDS = 300
TESTS = {
    *("basic-response", "assistant-phase", "response-output-phase-schema", "streaming-response", "system-prompt"),
    *("tool-calling", "image-input", "multi-turn", "compact-response", "compact-missing-model"),
    *("websocket-response", "websocket-sequential-responses", "websocket-continuation"),
    *("websocket-reconnect-store-false-recovery", "websocket-previous-response-not-found"),
    *("websocket-failed-continuation-evicts-cache", "websocket-compact-new-chain"),
}
"""All that the revision 2026-04-24 has."""
pytestmark = [
    covers("open-responses"),
    pytest.mark.skipif("not config.getoption('--long')", reason="scripts/soak responses"),
    pytest.mark.skipif(not shutil.which("npm"), reason="needs npm"),
    pytest.mark.skipif(not SUITE, reason="needs OPEN_RESPONSES=FOLDER, a copy of the specification's repository"),
    pytest.mark.timeout(SECONDS + 60),
]


@pytest.fixture(scope="module")
def modules() -> Path:
    """Where the pinned packages lie; installed if they are not there yet."""
    content = b"".join((PINS / name).read_bytes() for name in ("package.json", "package-lock.json"))
    folder = ROOT / ".cache" / "responses" / hashlib.sha256(content).hexdigest()[:16]
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(PINS, folder)
        for command in (["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["npm", "rebuild", "bun"]):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=SECONDS)
        (folder / "complete").touch()
    return folder / "node_modules"


@pytest.fixture
def suite(modules: Path, tmp_path: Path) -> list[str | Path]:
    """The command that runs the tests, in a copy that finds its library."""
    for part in ("bin", "src"):
        shutil.copytree(Path(SUITE) / part, tmp_path / "suite" / part)
    (tmp_path / "suite" / "node_modules").symlink_to(modules)
    return [modules / "bun/bin/bun.exe", "run", tmp_path / "suite/bin/compliance-test.ts"]


async def results(suite: list[str | Path], url: str) -> dict[str, dict[str, Any]]:
    """The result of each test, by its id."""
    process = await asyncio.create_subprocess_exec(
        *suite, "-u", f"{url}/v1", "-k", KEY, "-m", "small", "--json", stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return {told["id"]: told for told in json.loads(output)["results"]}


@pytest.mark.parametrize("speaks", ["chat", "responses"])
@pytest.mark.parametrize("keeps", [True, False], ids=["stored", "stateless"])
async def test_every_test_of_the_specification_passes(
    suite: list[str | Path], stub: Stub, speaks: str, tmp_path: Path, *, keeps: bool
) -> None:
    """Where the provider speaks chat completions all is ours; else its own bytes come through."""
    stub.otherwise = provider if speaks == "chat" else native
    settings = settings_for(stub)
    settings["upstreams"][0]["speaks"] = [speaks]
    async with running_gateway(settings, tmp_path / "data" if keeps else None) as gateway:
        found = await results(suite, gateway.url)
    print(f"\nHeadgate {__version__}, a provider that speaks {speaks}:")
    for name in sorted(found):
        print(f"  {found[name]['status']:8} {name}")
    assert {name: told["errors"] for name, told in found.items() if told["status"] != "passed"} == {}
    assert found.keys() >= TESTS
