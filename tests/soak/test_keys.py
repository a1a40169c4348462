"""Very many keys: a gateway that has them starts in a moment, stays small, and reads each of them once."""

import asyncio
import os
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event

from headgate.db.engine import default_url, open_database
from headgate.identity.compose import identity_of
from headgate.identity.keys import KeyRing
from headgate.identity.signal import Signal
from tests.conftest import Amount
from tests.harness.admin import bearer
from tests.harness.process import Processes, workers_of
from tests.identity.test_many import fill
from tests.requirements import covers

pytestmark = [covers("key-table"), pytest.mark.timeout(300)]
START_SECONDS, MEGABYTES = 2.0, 200.0
MASTER = "sk-soak-master-key-001"
LAST = "sk-number-{}"


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


async def test_a_start_reads_each_key_once_and_a_change_reads_one(tmp_path: Path, amount: Amount) -> None:
    """Work is counted, not timed: statements and rows, of so many keys."""
    many = amount(5_000, 100_000)
    await fill(tmp_path, many)
    database = open_database(default_url(tmp_path))
    statements: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    ring, signal = KeyRing(b"pepper"), Signal(tmp_path / "signal")
    ring.add(MASTER, is_admin=True)
    identity = await identity_of(database, ring, signal)
    selects = [one for one in statements if one.lstrip().startswith("SELECT")]
    assert len(selects) <= 5 + many / 1000, "statements grow with the number of keys no faster than pages of them"
    assert len(ring._holders) == many + 1
    statements.clear()
    await identity.keys.block(f"key_{7:012x}{7:012x}", ring.recognise(MASTER.encode()))
    assert len(statements) < 20
    assert len(ring._holders) == many
    await database.close()
    signal.close()


def cpu_seconds(pid: int) -> float:
    """Used by a process so far; unlike its age, it does not tell how busy the machine is."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_server_with_all_of_them_starts_in_time_and_stays_small(
    processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    many = amount(5_000, 100_000)
    asyncio.run(fill(tmp_path / "data", many))
    (tmp_path / "data" / "pepper").write_text("pepper\n")
    (tmp_path / "headgate.yaml").write_text('{"upstreams": [{"name": "m", "provider": "mock"}]}')
    began = time.perf_counter()
    serving = processes.serve("--config", str(tmp_path / "headgate.yaml"), HEADGATE_MASTER_KEY=MASTER)
    took = time.perf_counter() - began
    assert not workers_of(serving)
    worked, grown = cpu_seconds(serving.popen.pid), megabytes(serving.popen.pid)
    answer = httpx.get(f"{serving.url}/v1/models", headers=bearer(LAST.format(many - 1)))
    assert answer.status_code == 200
    print(f"\n{many} keys: ready after {took:.2f} s, of which {worked:.2f} s of work; {grown:.0f} MB")
    assert grown < MEGABYTES
    assert worked < START_SECONDS
