"""`headgate data`, and turns of one conversation, against a gateway of several workers."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from tests.harness.process import Process, Processes
from tests.harness.stub import BOUND, Stub, chat, stream, stream_pieces
from tests.requirements import covers

ANN = "ann/4711"


@pytest_asyncio.fixture
async def gateway(stub: Stub, processes: Processes, tmp_path: Path) -> AsyncIterator[Process]:
    (tmp_path / "headgate.yaml").write_text(
        f"upstreams: [{{name: stub, provider: openai_compatible, base_url: '{stub.url}', api_key: sk-up-1234567}}]\n"
        "models: [{name: small, targets: [{upstream: stub, model: stub-small}], retries: 0}]\n"
        "conversations: {second_turn: interrupt}\n"
    )
    yield await asyncio.to_thread(processes.serve, "--workers", "2")


async def say(gateway: Process, text: str, conversation: str = "", **fields: Any) -> httpx.Response:
    """On a connection of its own, which any worker may take."""
    headers = {"authorization": f"Bearer {gateway.key}", "x-user-id": ANN, "connection": "close"}
    body = {"model": "small", "message": text, "conversation_id": conversation, **fields}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=BOUND) as http:
        return await http.post("/c1/chat", json=body)


@covers("172", "admin-cli")
async def test_a_users_data_are_written_to_a_file_and_erased(
    gateway: Process, stub: Stub, processes: Processes, tmp_path: Path
) -> None:
    async def command(*args: str) -> tuple[int, str]:
        given = {"HEADGATE_URL": gateway.url, "HEADGATE_KEY": gateway.key}
        ended = await asyncio.to_thread(processes.run, "data", *args, **given)
        return ended.returncode, ended.stdout

    stub.answer(chat("Hello."))
    await say(gateway, "Remember me")
    file = tmp_path / "ann.jsonl"
    assert await command("export", "default", "--user", ANN, "-o", str(file)) == (0, "")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert (lines[0]["user"], lines[-1]["type"]) == (ANN, "end")
    assert "Remember me" in file.read_text()
    code, told = await command("export", "default", "--user", ANN)
    assert (code, json.loads(told.splitlines()[-1])["type"]) == (0, "end")
    code, told = await command("delete", "default", "--user", ANN, "--yes", "--json")
    assert (code, json.loads(told)["counts"]["conversations"]) == (0, 1)
    _, told = await command("export", "default", "--user", ANN)
    assert "Remember me" not in told
    code, told = await command("delete", "default", "--user", ANN)
    assert code != 0  # nobody said yes
    code, _ = await command("delete", "default", "--yes")
    assert code != 0


@covers("79")
async def test_a_turn_interrupts_the_one_that_another_worker_makes(gateway: Process, stub: Stub) -> None:
    stub.answer(chat("Hello."))
    conversation = (await say(gateway, "Hi")).headers["x-conversation-id"]
    for number in range(4):  # each on a new connection, so that other workers are met
        seen = len(stub.calls)
        stub.answer(stream(stream_pieces(["a", "b"]), release=asyncio.Event()))
        first = asyncio.create_task(say(gateway, f"Long {number}", conversation, stream=True))
        await stub.wait_for_calls(seen + 1)
        stub.answer(chat("At once."))
        second = await say(gateway, f"Now {number}", conversation)
        assert second.status_code == 200, second.text
        assert "run_cancelled" in (await first).text
