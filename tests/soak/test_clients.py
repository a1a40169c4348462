"""Real clients from npm and PyPI, end to end: each has a conversation with a tool call, over the gateway, with a
provider that speaks chat completions only. They are installed once, pinned, into HEADGATE_CLIENTS_DIR, else into
`~/.cache/headgate-clients`; one that cannot be installed is skipped with the reason.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway, running_gateway
from tests.harness.stub import DONE, USAGE, Answer, Recorded, Stub, chat, chunk, stream, usual
from tests.requirements import covers

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "clients"
CACHE = Path(os.environ.get("HEADGATE_CLIENTS_DIR") or Path.home() / ".cache" / "headgate-clients")
INSTALL_SECONDS, SECONDS = 900, 120
SECRET = "headgate-secret-4711"
QUIET = ["--no-audit", "--no-fund", "--prefer-offline"]
PYTHON_SDKS = ("openai-chat", "openai-responses", "anthropic", "agents-chat", "agents-responses")
NODE_SDKS = ("openai-chat", "openai-responses", "anthropic")
pytestmark = [
    covers("clients", "launch"),
    pytest.mark.skipif("not config.getoption('--long')", reason="scripts/soak clients"),
    pytest.mark.timeout(INSTALL_SECONDS + SECONDS),
]


@cache
def installed(kind: str, *files: str) -> Path | str:
    """A folder with what the files pin, installed if it is not there yet; or why it cannot be."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in files)).hexdigest()[:16]
    folder = CACHE / f"{kind}-{digest}"
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in files:
        shutil.copy(HERE / name, folder)
    commands = _npm(folder) if kind == "npm" else _pypi(folder, files[0])
    try:
        for command in commands:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as fault:
        return f"{' and '.join(files)} cannot be installed: {fault}"
    (folder / "complete").touch()
    return folder


def _npm(folder: Path) -> list[list[str]]:
    """Scripts run for those packages alone that put their program in place with one.

    `npm ci` takes no lock file that was made on one kind of machine where programs for others are optional packages.
    """
    own = ["node", "@anthropic-ai/claude-code", "opencode-ai", "cline"]
    return [["npm", "install", "--ignore-scripts", *QUIET], ["npm", "rebuild", *own, *QUIET]]


def _pypi(folder: Path, requirements: str) -> list[list[str]]:
    uv, python = str(ROOT / ".venv/bin/uv"), str(folder / "venv/bin/python")
    return [
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
        [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", requirements],
    ]


def programs_of(kind: str) -> Path:
    """The folder with the programs of npm's packages, or of a requirements file; skips where there is none."""
    found = installed("npm", "package.json", "package-lock.json") if kind == "npm" else installed(kind, f"{kind}.txt")
    if isinstance(found, str):
        pytest.skip(found)
    return found / "node_modules" / ".bin" if kind == "npm" else found / "venv" / "bin"


@dataclass
class Provider:
    """Answers every chat with a tool call if it offers one of `picks` and no result is there yet, else with a text that
    repeats the result. `text`: what it says to those who offer no tools; `thought`: what it thinks before all it says.
    """

    picks: dict[str, dict[str, Any]]
    text: str = "Hello there."
    thought: str = ""

    def answer(self, request: Recorded) -> Answer:
        if not request.path.endswith("/chat/completions"):
            return usual(request)
        asked = request.json
        results = [one["content"] for one in asked["messages"] if one["role"] == "tool"]
        offered = [tool["function"]["name"] for tool in asked.get("tools") or ()]
        pick = next((name for name in self.picks if name in offered), None)
        if results:
            return self._say(f"It said: {results[-1]}", asked)
        return self._say(self.text, asked) if pick is None else self._call(pick, asked)

    def _say(self, text: str, asked: Any) -> Answer:
        if not asked.get("stream"):
            return chat(text)
        words = [chunk({"content": part}) for part in (text[:5], text[5:]) if part]
        return _streamed([*self._begun(), *words, chunk({}, "stop")], asked)

    def _begun(self) -> list[bytes]:
        first = chunk({"role": "assistant", "content": None})
        return [first, chunk({"reasoning_content": self.thought})] if self.thought else [first]

    def _call(self, name: str, asked: Any) -> Answer:
        arguments = json.dumps(self.picks[name])
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            return chat(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
        begun = {**call, "index": 0, "function": {"name": name, "arguments": ""}}
        parts = [{"index": 0, "function": {"arguments": part}} for part in (arguments[:7], arguments[7:])]
        pieces = [chunk({"tool_calls": [one]}) for one in (begun, *parts)]
        return _streamed([*self._begun(), *pieces, chunk({}, "tool_calls")], asked)


def _streamed(pieces: list[bytes], asked: Any) -> Answer:
    wants = (asked.get("stream_options") or {}).get("include_usage")
    return stream([*pieces, *([chunk(usage=USAGE)] if wants else []), DONE])


@pytest_asyncio.fixture
async def gateway(stub: Stub) -> AsyncIterator[Gateway]:
    async with running_gateway(settings_for(stub)) as running:
        yield running


@dataclass
class Place:
    """A home and a working directory of the client's own, with a secret in a file."""

    home: Path
    work: Path
    file: Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    file = work / "secret.txt"
    file.write_text(f"{SECRET}\n")
    subprocess.run(["git", "init", "--quiet", str(work)], check=True)
    return Place(home, work, file)


async def said(place: Place, programs: Path, *command: str, **variables: str) -> str:
    """What a command printed."""
    environment = {
        "PATH": f"{programs}:{programs.parent / 'node' / 'bin'}:{os.environ['PATH']}",
        "HOME": str(place.home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=place.work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{out.decode()[-3000:]}\n{err.decode()[-3000:]}"
    return out.decode()


async def launched(gateway: Gateway, place: Place, programs: Path, client: str, *args: str, **more: str) -> str:
    """The same for a client that `headgate launch` starts."""
    command = [
        sys.executable,
        "-m",
        "headgate",
        "launch",
        client,
        "--url",
        gateway.url,
        "--model",
        "small",
        "--",
        *args,
    ]
    return await said(place, programs, *command, HEADGATE_KEY=KEY, **more)


def results(stub: Stub) -> list[str]:
    """What tools gave back, as the provider got it."""
    asked = [call.json for call in stub.calls if call.path.endswith("/chat/completions")]
    return [str(one["content"]) for one in asked[-1]["messages"] if one["role"] == "tool"]


thinks = pytest.mark.parametrize("thought", ["", "Let me look."], ids=["plain", "thinks"])


@thinks
async def test_claude_code_reads_a_file(gateway: Gateway, stub: Stub, place: Place, thought: str) -> None:
    stub.otherwise = Provider({"Read": {"file_path": str(place.file)}}, thought=thought).answer
    out = await launched(gateway, place, programs_of("npm"), "claude", "-p", "What is in secret.txt?")
    assert "It said:" in out
    assert SECRET in out
    assert SECRET in results(stub)[-1]
    assert {call.json["model"] for call in stub.calls} == {"stub-small"}


@thinks
async def test_codex_runs_a_command(gateway: Gateway, stub: Stub, place: Place, thought: str) -> None:
    stub.otherwise = Provider({"exec_command": {"cmd": f"cat {place.file}"}}, thought=thought).answer
    args = ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "What is in secret.txt?")
    out = await launched(gateway, place, programs_of("npm"), "codex", *args)
    assert "It said:" in out
    assert SECRET in out
    assert SECRET in results(stub)[-1]


async def test_opencode_reads_a_file(gateway: Gateway, stub: Stub, place: Place) -> None:
    stub.otherwise = Provider({"read": {"filePath": str(place.file)}}).answer
    out = await launched(gateway, place, programs_of("npm"), "opencode", "run", "What is in secret.txt?")
    assert SECRET in out
    assert SECRET in results(stub)[-1]


async def test_continue_reads_a_file(gateway: Gateway, stub: Stub, place: Place) -> None:
    stub.otherwise = Provider({"Read": {"filepath": str(place.file)}}).answer
    out = await launched(gateway, place, programs_of("npm"), "continue", "-p", "What is in secret.txt?")
    assert SECRET in out
    assert SECRET in results(stub)[-1]


async def test_cline_runs_a_command(gateway: Gateway, stub: Stub, place: Place) -> None:
    stub.otherwise = Provider({"run_commands": {"commands": [f"cat {place.file}"]}}).answer
    out = await launched(gateway, place, programs_of("npm"), "cline", "What is in secret.txt?")
    assert SECRET in out
    assert SECRET in results(stub)[-1]


async def test_aider_edits_a_file(gateway: Gateway, stub: Stub, place: Place) -> None:
    """It calls no tools: it takes what the model writes, in a form of its own."""
    stub.otherwise = Provider({}, "hello.py\n```\nprint('from the model')\n```\n").answer
    (place.work / "hello.py").write_text("print('before')\n")
    args = ("--message", "Change the text.", "--yes-always", "--no-git", "--no-check-update", "--no-show-release-notes")
    out = await launched(gateway, place, programs_of("aider"), "aider", *args, "--analytics-disable", "hello.py")
    assert "Applied edit to hello.py" in out
    assert (place.work / "hello.py").read_text() == "print('from the model')\n"
    assert "print('before')" in json.dumps(stub.calls[-1].json["messages"])


@pytest.mark.parametrize("door", ["chat", "responses"])
async def test_llm_calls_a_function(gateway: Gateway, stub: Stub, place: Place, door: str) -> None:
    stub.otherwise = Provider({"secret": {"place": "Oslo"}}).answer
    function = f"def secret(place: str) -> str:\n    'Tell it.'\n    return '{SECRET} in ' + place\n"
    args = ("--functions", function, *(("--responses",) if door == "responses" else ()), "What is it?")
    out = await launched(gateway, place, programs_of("python"), "llm", *args)
    assert f"It said: {SECRET} in Oslo" in out
    assert results(stub) == [f"{SECRET} in Oslo"]


@pytest.mark.parametrize("which", PYTHON_SDKS)
async def test_an_official_python_client(gateway: Gateway, stub: Stub, place: Place, which: str) -> None:
    stub.otherwise = Provider({"secret": {"place": "Oslo"}, "tell": {"place": "Oslo"}}).answer
    programs = programs_of("python")
    out = await said(place, programs, str(programs / "python"), str(HERE / "python_sdks.py"), which, gateway.url, KEY)
    assert out.strip() == f"It said: {SECRET} in Oslo"
    assert results(stub) == [f"{SECRET} in Oslo"]


@pytest.mark.parametrize("which", NODE_SDKS)
async def test_an_official_node_client(gateway: Gateway, stub: Stub, place: Place, which: str) -> None:
    stub.otherwise = Provider({"secret": {"place": "Oslo"}}).answer
    programs = programs_of("npm")
    script = shutil.copy(HERE / "node_sdks.mjs", programs.parent.parent)
    node = str(programs.parent / "node" / "bin" / "node")
    out = await said(place, programs, node, str(script), which, gateway.url, KEY)
    assert out.strip() == f"It said: {SECRET} in Oslo"
    assert results(stub) == [f"{SECRET} in Oslo"]
