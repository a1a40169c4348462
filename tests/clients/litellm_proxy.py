"""LiteLLM's own proxy and ours on the same file: starts them, makes calls, and says what was seen as flat facts."""

import asyncio
import json
import os
import socket
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import httpx
import openai

from tests.clients.litellm_calls import CALLS, KEY, LITELLM_CALLS, OPENAI_CALLS, Call, SdkCall
from tests.clients.litellm_facts import Facts, alike, by_name, flat, seen, sent
from tests.harness.stub import Stub

GOLDEN = Path(__file__).parents[1] / "golden" / "litellm_proxy"
VARIABLES = {"STUB_KEY": "sk-upstream-secret-0002", "STUB_MASTER_KEY": KEY}
START_SECONDS = 120.0


async def observe(call: Call, http: httpx.AsyncClient, stub: Stub) -> Facts:
    """Make one call and say all that was seen of it."""
    stub.requests.clear()
    headers = dict(call.headers) | ({"authorization": f"Bearer {call.bearer}"} if call.bearer else {})
    content: dict[str, Any] = {"content": call.body} if isinstance(call.body, bytes) else {}
    if not content and call.body is not None:
        content = {"json": call.body}
    response = await http.request(call.method, call.path, headers=headers, **content)
    return seen(response) | sent(stub)


async def observe_sdk(call: SdkCall, url: str, stub: Stub) -> Facts:
    """The same of a call with the official SDK."""
    stub.requests.clear()
    options: dict[str, Any] = {"api_key": KEY, "max_retries": 0, "timeout": 30, **call.client}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", **options) as client:
        try:
            answer = await attrgetter(call.function)(client)(**call.fields)
            several = [one async for one in answer] if isinstance(answer, openai.AsyncStream) else [answer]
            dumped = [one and one.model_dump(exclude_none=True) for one in several]
            told = by_name({"answer": dumped[0] if len(dumped) == 1 else dumped})
        except openai.APIError as error:
            told = {"raises": type(error).__name__, "status": getattr(error, "status_code", None)}
    return alike(flat(told)) | sent(stub)


class LitellmSdk:
    """`litellm.completion` and its kin, in a Python that has the SDK; one line in and one line out for each call."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, python: str) -> "LitellmSdk":
        """It imports the SDK while the caller goes on."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        script = str(Path(__file__).with_name("litellm_sdk.py"))
        return cls(await asyncio.create_subprocess_exec(python, script, stdin=PIPE, stdout=PIPE, env=kept))

    async def stop(self) -> None:
        self._process.kill()
        await self._process.communicate()

    async def observe(self, call: SdkCall, url: str, stub: Stub) -> Facts:
        """As observe_sdk."""
        stub.requests.clear()
        assert self._process.stdin
        assert self._process.stdout
        asked = {"function": call.function, "fields": {"api_base": url, "api_key": KEY, **call.fields}}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)
        return alike(flat(json.loads(line))) | sent(stub)


def config_in(folder: Path, port: int) -> Path:
    """The file for both gateways, with the stub's port in it."""
    file = folder / "config.yaml"
    file.write_text((GOLDEN / "config.yaml").read_text().replace("PORT", str(port)))
    return file


@asynccontextmanager
async def running_litellm(home: Path, config: Path) -> AsyncIterator[str]:
    """LiteLLM's proxy as it is shipped, without any network; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG")}
    switches = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "CRITICAL", "NO_DOCS": "True"}
    path = f"{home / 'bin'}:{os.environ.get('PATH', '')}"
    command = [str(home / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with (config.parent / "litellm.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--num_workers", "1", "--telemetry", "False"),
            env={**kept, **switches, **VARIABLES, "PATH": path},
            cwd=config.parent,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await _until_alive(url, process)
        yield url
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def _until_alive(url: str, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient(base_url=url) as http, asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            try:
                if (await http.get("/health/liveliness")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.2)
    raise AssertionError("LiteLLM's proxy did not start; its log lies beside its config.yaml")


Observed = dict[str, dict[str, Facts]]
"""By group and by name of the call."""


async def observe_all(url: str, stub: Stub, sdk: LitellmSdk | None) -> Observed:
    """Every call, one after another. Without the LiteLLM SDK its calls are left out."""
    observed: Observed = {}
    async with httpx.AsyncClient(base_url=url, timeout=START_SECONDS) as http:
        for group, calls in CALLS.items():
            observed[group] = {call.name: await observe(call, http, stub) for call in calls}
    observed["openai-sdk"] = {call.name: await observe_sdk(call, url, stub) for call in OPENAI_CALLS}
    if sdk is not None:
        observed["litellm-sdk"] = {call.name: await sdk.observe(call, url, stub) for call in LITELLM_CALLS}
    return observed
