"""What a stored turn costs the gateway's process beside the same call that is not stored."""

import asyncio
import json
import os
from pathlib import Path
from statistics import median

import httpx
import pytest

from tests.conftest import Amount, settings_for
from tests.harness.process import Processes
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

KEY = "sk-soak-master-key-001"
ROUNDS = 12
TIMES = 150
pytestmark = [covers("scale-state"), pytest.mark.timeout(300)]


def cpu(process: int) -> float:
    """Milliseconds of CPU that a process and its threads have used."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def added(plain: list[float], stored: list[float]) -> float:
    """Milliseconds more: the median of what each round has between them."""
    return median(more - usual for usual, more in zip(plain, stored, strict=True))


async def test_what_a_stored_turn_costs(stub: Stub, processes: Processes, tmp_path: Path, amount: Amount) -> None:
    config = tmp_path / "headgate.yaml"
    config.write_text(json.dumps(settings_for(stub)))
    serving = await asyncio.to_thread(processes.serve, "--config", str(config), HEADGATE_MASTER_KEY=KEY)
    headers = {"authorization": f"Bearer {KEY}"}
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    async with httpx.AsyncClient(base_url=serving.url, headers=headers, timeout=BOUND) as http:

        async def took(times: int, stream: bool, more: dict[str, str]) -> float:
            told, before = {**body, "stream": stream}, cpu(serving.popen.pid)
            for _ in range(times):
                answer = await http.post("/v1/chat/completions", json=told, headers=more)
                assert answer.status_code == 200, answer.text
            stub.requests.clear()
            return (cpu(serving.popen.pid) - before) / times

        async def went_on(times: int, stream: bool) -> float:
            """The mean of the second to the fourth turn of conversations."""
            spent = 0.0
            for _ in range(times // 3):
                first = await http.post("/v1/chat/completions", json=body, headers=new)
                here = {"x-conversation-id": first.headers["x-conversation-id"]}
                spent += await took(3, stream, here)
            return spent / (times // 3)

        new = {"x-conversation-id": ""}
        await took(50, False, new)
        for stream in (False, True):
            plain, first, further = [], [], []
            for _ in range(amount(2, ROUNDS)):  # in turn, for a machine that gets slower does so for all of them
                plain.append(await took(TIMES, stream, {}))
                first.append(await took(TIMES, stream, new))
                further.append(await went_on(TIMES, stream))
            usual = median(plain)
            print(
                f"\n{'streamed' if stream else 'whole'}: {usual:.2f} ms of CPU not stored;"
                f" {added(plain, first):.2f} more stored, {added(plain, further):.2f} more going on"
            )
            assert added(plain, first) < 10
