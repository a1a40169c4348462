"""curl, as people paste it."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import settings_for
from tests.harness.gateway import KEY, Gateway
from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Stub, chunk, stream
from tests.requirements import covers

pytestmark = [covers("clients"), pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")]


def first_call(served: Process) -> str:
    """The command that `headgate serve` says to try."""
    return served.err.read_text().partition("Try it:\n")[2].split("\n\n")[0].strip()


async def shell(command: str) -> str:
    process = await asyncio.create_subprocess_exec("sh", "-c", command, stdout=PIPE, stderr=PIPE)
    out, err = await asyncio.wait_for(process.communicate(), BOUND)
    assert process.returncode == 0, err.decode()
    return out.decode()


def write_config(folder: Path, stub: Stub, **more: Any) -> str:
    (folder / "headgate.yaml").write_text(json.dumps(settings_for(stub, **more)))
    return str(folder / "headgate.yaml")


async def test_the_command_shown_at_start_works_when_pasted(stub: Stub, tmp_path: Path, processes: Processes) -> None:
    served = await asyncio.to_thread(processes.serve, "--config", write_config(tmp_path, stub))
    command = first_call(served)
    assert command.startswith("curl ")
    answer = json.loads(await shell(command))
    assert answer["choices"][0]["message"]["content"] == "Hello there."
    assert stub.last.json["messages"] == [{"role": "user", "content": "Say hello."}]


async def test_a_configured_key_is_not_shown_but_its_place_is(stub: Stub, tmp_path: Path, processes: Processes) -> None:
    secret = "sk-a-configured-master-key-000"
    config = write_config(tmp_path, stub)
    served = await asyncio.to_thread(lambda: processes.serve("--config", config, HEADGATE_MASTER_KEY=secret))
    command = first_call(served)
    assert secret not in served.err.read_text()
    assert json.loads(await shell(command))["error"]["code"] == "invalid_authorization"
    assert "choices" in json.loads(await shell(command.replace("YOUR_KEY", secret)))


async def test_a_model_with_a_quote_in_its_name_can_be_pasted_too(
    stub: Stub, tmp_path: Path, processes: Processes
) -> None:
    settings = settings_for(stub)
    settings["models"][0]["name"] = "it's small"
    (tmp_path / "headgate.yaml").write_text(json.dumps(settings))
    served = await asyncio.to_thread(processes.serve)
    assert json.loads(await shell(first_call(served)))["model"] == "it's small"


async def test_a_stream_shows_its_first_words_at_once(gateway: Gateway, stub: Stub) -> None:
    release = asyncio.Event()
    stub.answer(stream([chunk({"role": "assistant", "content": "first"}), chunk({}, "stop")], release=release))
    body = json.dumps({"model": "small", "stream": True, "messages": [{"role": "user", "content": "Hi"}]})
    headers = ["-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json"]
    command = ["curl", "-sN", f"{gateway.url}/v1/chat/completions", *headers, "-d", body]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout
    first = await asyncio.wait_for(process.stdout.readline(), BOUND)
    assert b"first" in first
    release.set()
    rest, _ = await asyncio.wait_for(process.communicate(), BOUND)
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_interrupting_curl_closes_the_providers_stream(gateway: Gateway, stub: Stub) -> None:
    stub.answer(stream([chunk({"role": "assistant", "content": "first"})], hang=True))
    body = json.dumps({"model": "small", "stream": True, "messages": [{"role": "user", "content": "Hi"}]})
    command = ["curl", "-sN", f"{gateway.url}/chat/completions", "-H", f"x-api-key: {KEY}", "-d", body]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout
    await asyncio.wait_for(process.stdout.readline(), BOUND)
    process.terminate()
    await process.communicate()
    await asyncio.wait_for(stub.last.left.wait(), 1)


async def test_the_front_door_answers_head_and_get(gateway: Gateway) -> None:
    head = await shell(f"curl -sI {gateway.url}/")
    assert head.startswith("HTTP/1.1 200")
    assert json.loads(await shell(f"curl -s {gateway.url}/"))["name"] == "headgate"


async def test_a_large_body_that_curl_announces_first_arrives(gateway: Gateway, stub: Stub, tmp_path: Path) -> None:
    content = "x" * 2_000_000
    body = {"model": "small", "messages": [{"role": "user", "content": content}]}
    (tmp_path / "body.json").write_text(json.dumps(body))
    told = await shell(
        f"curl -s {gateway.url}/v1/chat/completions -H 'Expect: 100-continue' "
        f"-H 'Authorization: Bearer {KEY}' --data-binary @{tmp_path}/body.json"
    )
    assert "choices" in json.loads(told)
    assert stub.last.json["messages"][0]["content"] == content
