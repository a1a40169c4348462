"""Nothing of an orchestration goes on once whoever reads its events stops reading, wherever that happens."""

import asyncio

import pytest

from headgate.core.chat import Step
from headgate.core.ids import child_of, new_run_id
from headgate.core.request import json_request
from headgate.core.run import Run
from headgate.core.surfaces import CHAT
from headgate.pipeline.run import execute
from tests.harness.gateway import running_gateway
from tests.harness.orchestra import QUESTION, node, part_of, plan, playing, settings
from tests.harness.stub import BOUND, Answer, Stub
from tests.requirements import covers

pytestmark = covers("12", "51")
HANGING = Answer(hang=True, framing="chunked", pieces=[b" "])


@pytest.mark.parametrize("reads", [1, 2, 4, 5])
async def test_closing_the_events_ends_every_node_at_once(stub: Stub, reads: int) -> None:
    """After the plan, after one node or all of them began, and after one failed."""
    stub.otherwise = playing(
        planner=plan(node("slow"), node("slower"), node("bad")),
        slow=HANGING,
        slower=HANGING,
        bad=Answer(status=500, body=b"{}"),
    )
    async with running_gateway(settings(stub)) as gateway:
        run = Run(new_run_id(), child_of(None), CHAT.name, model="small")
        run.mode = "orchestration"
        request = json_request(CHAT, {"model": "small", "messages": QUESTION})
        before = asyncio.all_tasks()
        events = execute(request, run, gateway.gate.deps)
        async with asyncio.timeout(BOUND):
            for _ in range(reads):
                assert isinstance(await anext(events), Step)
            await events.aclose()
        assert not {one for one in asyncio.all_tasks() - before if "_carry_out" in repr(one)}
        assert run.is_settled
        assert run.outcome == "disconnected"
        lines = len(gateway.lines)
        async with asyncio.timeout(BOUND):
            for one in stub.calls:
                if part_of(one) in ("slow", "slower"):
                    await one.left.wait()
        assert len(gateway.lines) == lines
