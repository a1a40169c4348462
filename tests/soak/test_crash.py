"""Workers killed under load: others take over, and the dead are replaced."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.conftest import Amount, settings_for
from tests.harness.process import Processes, workers_of
from tests.harness.stub import BOUND, Stub
from tests.requirements import covers

KEY = "sk-soak-master-key-001"
pytestmark = [covers("workers"), pytest.mark.timeout(600)]


async def test_killed_workers_are_replaced_while_others_serve(
    stub: Stub, processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    (tmp_path / "headgate.yaml").write_text(str(settings_for(stub)).replace("'", '"'))
    serving = await asyncio.to_thread(
        processes.serve, "--config", str(tmp_path / "headgate.yaml"), "--workers", "2", HEADGATE_MASTER_KEY=KEY
    )
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    answered = broken = 0
    transport = httpx.AsyncHTTPTransport(retries=0)
    async with httpx.AsyncClient(
        base_url=serving.url, headers={"authorization": f"Bearer {KEY}"}, timeout=BOUND, transport=transport
    ) as http:
        for _ in range(amount(1, 20)):
            before = workers_of(serving)
            assert len(before) == 2
            killed = min(before)
            os.kill(killed, signal.SIGKILL)
            async with asyncio.timeout(BOUND):
                while len(workers_of(serving) - {killed}) < 2:
                    try:
                        response = await http.post("/v1/chat/completions", json=body)
                        assert response.status_code == 200
                        answered += 1
                    except httpx.TransportError:
                        broken += 1  # was on the killed worker's connection
            for _ in range(10):
                assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
    print(f"\n{answered} answered while workers were replaced, {broken} broken with a killed worker")
    assert broken <= amount(1, 20) * 2
    serving.signal(signal.SIGTERM)
    assert await asyncio.to_thread(serving.wait) == 0
