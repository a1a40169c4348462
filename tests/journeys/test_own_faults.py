"""A fault of the gateway's own leaves nothing reserved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from headgate.core.run import Run
from tests.harness.gateway import running_gateway
from tests.harness.stub import Stub
from tests.journeys.test_money import ask, new_key, settings
from tests.requirements import covers

pytestmark = covers("153")


def broken(_: Run) -> NoReturn:
    raise RuntimeError("a fault of ours")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_what_was_reserved_is_given_back_when_the_ledger_breaks(
    stub: Stub, tmp_path: Path, streamed: bool
) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        caller = await new_key(gateway, budgets=[{"usd": "0.00015", "period": "day"}])
        record: Callable[[Run], Any] | None = gateway.gate.deps.record
        async with caller:
            gateway.gate.deps.record = broken
            for _ in range(3):
                await ask(caller, stream=streamed)
            gateway.gate.deps.record = record
            assert (await ask(caller, stream=streamed)).status_code == 200
