"""The gateway stands still for a while, as on a machine that is suspended: that is not the silence of a provider."""

import asyncio
import signal
from pathlib import Path

import httpx

from tests.conftest import settings_for
from tests.harness.process import Processes
from tests.harness.stub import Stub, chat
from tests.requirements import covers

KEY = "sk-stalls-master-key-01"


@covers("13", "faults")
async def test_an_answer_that_came_while_the_gateway_stood_still_is_no_timeout(
    stub: Stub, processes: Processes, tmp_path: Path
) -> None:
    settings = settings_for(stub)
    settings["upstreams"][0]["timeouts"] = {"read": 1.0}
    (tmp_path / "headgate.yaml").write_text(str(settings).replace("'", '"'))
    serving = await asyncio.to_thread(
        processes.serve, "--config", str(tmp_path / "headgate.yaml"), HEADGATE_MASTER_KEY=KEY
    )
    answer = chat()
    answer.delay = 0.3
    stub.answer(answer)
    async with httpx.AsyncClient(base_url=serving.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20) as http:
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
        call = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await stub.wait_for_calls(1)
        serving.signal(signal.SIGSTOP)
        await asyncio.sleep(1.6)
        serving.signal(signal.SIGCONT)
        assert (await call).status_code == 200
