"""The official Node SDK, unchanged but for its base URL and key."""

import asyncio
import base64
import hashlib
import json
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.answers import AUDIO, CALL, CITY, VECTOR, provider
from tests.harness.gateway import KEY, Gateway
from tests.harness.stub import BOUND, Answer, Stub, chunk, stream
from tests.requirements import covers

NODE, NPM = shutil.which("node"), shutil.which("npm")
HERE = Path(__file__).parent / "node"
CACHE = Path(__file__).parents[2] / ".cache" / "node"
INSTALL_SECONDS = 120
pytestmark = [
    covers("clients"),
    pytest.mark.skipif(not (NODE and NPM), reason="needs node and npm"),
    pytest.mark.timeout(INSTALL_SECONDS + 60),
]


@pytest.fixture(scope="module")
def script() -> Path:
    """The script beside the packages that the lock file names; they are installed once and then kept."""
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / hashlib.sha256(lock).hexdigest()[:16]
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        command = [str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)
        (folder / "complete").touch()
    return Path(shutil.copy(HERE / "client.mjs", folder))


@asynccontextmanager
async def running(script: Path, gateway: Gateway, case: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [str(NODE), str(script), case, f"{gateway.url}/v1", KEY]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(script: Path, gateway: Gateway, case: str) -> Any:
    """What one case of the script saw."""
    async with running(script, gateway, case) as process:
        out, err = await asyncio.wait_for(process.communicate(), BOUND * 2)
        assert process.returncode == 0, err.decode()
        return json.loads(out)


@pytest.fixture(autouse=True)
def answering(stub: Stub) -> None:
    stub.otherwise = provider


async def test_a_chat_is_answered_and_has_the_logs_request_id(script: Path, gateway: Gateway) -> None:
    seen = await run(script, gateway, "chat")
    line = (await gateway.wait_for_lines(1))[0]
    assert seen == {"text": "Hello there.", "model": "small", "id": line["request_id"]}


async def test_a_stream_is_assembled_with_its_usage(script: Path, gateway: Gateway) -> None:
    assert await run(script, gateway, "stream") == {"text": "Hello there.", "usage": 10, "lastChoices": []}


async def test_tool_calls_are_assembled_from_answer_and_stream(script: Path, gateway: Gateway) -> None:
    arguments = CALL["function"]["arguments"]
    assert await run(script, gateway, "tools") == [arguments, arguments]


async def test_structured_output_is_parsed(script: Path, gateway: Gateway, stub: Stub) -> None:
    assert await run(script, gateway, "structured") == json.loads(CITY)
    assert stub.last.json["response_format"]["type"] == "json_schema"


async def test_embeddings_are_decoded_from_base64_and_floats(script: Path, gateway: Gateway, stub: Stub) -> None:
    assert await run(script, gateway, "embeddings") == [[list(VECTOR), list(VECTOR)], [list(VECTOR)]]
    assert [call.json["encoding_format"] for call in stub.calls] == ["base64", "float"]


async def test_models_are_listed_and_found(script: Path, gateway: Gateway) -> None:
    assert await run(script, gateway, "models") == {"names": ["small"], "one": "small"}


async def test_speech_comes_as_the_very_bytes(script: Path, gateway: Gateway) -> None:
    assert base64.b64decode(await run(script, gateway, "speech")) == AUDIO


async def test_mistakes_of_the_caller_raise_the_sdks_own_errors(script: Path, gateway: Gateway) -> None:
    seen = await run(script, gateway, "mistakes")
    assert [(one["kind"], one["code"], one["param"]) for one in seen] == [
        ("AuthenticationError", "invalid_authorization", None),
        ("NotFoundError", "model_not_found", "model"),
        ("BadRequestError", "invalid_field", "temperature"),
    ]
    assert all(one["hasRequestId"] for one in seen)


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [(429, "RateLimitError", 429), (500, "InternalServerError", 502), (503, "InternalServerError", 503)],
)
async def test_failures_of_the_provider_raise_the_sdks_own_errors(
    script: Path, gateway: Gateway, stub: Stub, status: int, kind: str, expected: int
) -> None:
    stub.answer(Answer(status, b'{"error":{"message":"No."}}', headers={"retry-after": "7"}))
    seen = await run(script, gateway, "failure")
    assert (seen["kind"], seen["status"]) == (kind, expected)
    assert seen["retryAfter"] == (None if status == 500 else "7")


async def test_an_error_in_the_middle_of_a_stream_is_raised(script: Path, gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([chunk({"role": "assistant", "content": "a"})], framing="close"))
    seen = await run(script, gateway, "broken")
    assert (seen["kind"], seen["code"]) == ("APIError", "upstream_broke_off")


async def test_aborting_a_stream_closes_the_providers(script: Path, gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([chunk({"role": "assistant", "content": "a"})], hang=True))
    async with running(script, gateway, "abort") as process:
        assert process.stdout
        assert json.loads(await asyncio.wait_for(process.stdout.readline(), BOUND)) == {"aborted": True}
        await asyncio.wait_for(stub.last.left.wait(), 1)
        assert process.returncode is None, "the process ended, so it was not the abort that closed the stream"


def test_the_lock_file_names_hashes_and_no_addresses() -> None:
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    locked = [package for path, package in packages.items() if path]
    assert locked
    assert all("integrity" in package and "resolved" not in package for package in locked)
