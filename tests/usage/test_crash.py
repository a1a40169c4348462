"""Workers killed at any moment: every entry they had told of is in the ledger once."""

import random
import subprocess
import sys
from pathlib import Path

from headgate.usage.journal import Journal, files
from headgate.usage.ledger import Ledger
from headgate.usage.store import AttemptStore
from tests.conftest import Amount
from tests.requirements import covers
from tests.usage.databases import ledger_database

pytestmark = covers("152")
WORKER = """
import os, sys
from pathlib import Path
from headgate.core.money import Price
from headgate.core.tokens import Tokens
from headgate.usage.journal import Journal
from headgate.usage.recorder import Recorder
from tests.usage.runs import attempt, price_of, run_of

recorder = Recorder(Journal(Path(sys.argv[1]), largest=20_000), price_of)
for number in range(1_000_000):
    run = run_of([attempt(1, chunks=1), attempt(2, tokens=Tokens(1, 1))], id=f"{sys.argv[2]}-{number}")
    recorder.record(run)
    os.write(1, b"%d\\n" % number)
"""
ROOT = Path(__file__).parents[2]


def killed_after(acknowledged: int, folder: Path, name: str) -> int:
    """Let a worker write and kill it; how many runs it had told of."""
    command = [sys.executable, "-c", WORKER, str(folder), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, bufsize=0) as worker:
        assert worker.stdout is not None
        told = b""
        while told.count(b"\n") < acknowledged and (piece := worker.stdout.read(65_536)):
            told += piece
        worker.kill()
        told += worker.stdout.read()
    return told.count(b"\n")


async def counted(store: AttemptStore, name: str) -> tuple[int, int]:
    """(runs, entries) of a worker in the ledger."""
    async with store._database.reading() as connection:
        query = "SELECT count(DISTINCT run), count(*) FROM attempts WHERE run LIKE ?"
        runs, entries = tuple((await connection.exec_driver_sql(query, (f"{name}-%",))).one())
    return runs, entries


async def test_what_a_killed_worker_told_is_in_the_ledger_exactly_once(tmp_path: Path, amount: Amount) -> None:
    folder = tmp_path / "journal"
    chance = random.Random(5)
    async with ledger_database(tmp_path) as (_, store):
        ledger = Ledger(folder, Journal(folder), store)
        for round_ in range(amount(4, 50)):
            name = f"w{round_}"
            told = killed_after(chance.randrange(1, 1500), folder, name)
            await ledger.drain()
            runs, entries = await counted(store, name)
            assert told <= runs <= told + 1
            assert 2 * told <= entries <= 2 * told + 2
            assert not files(folder)


async def test_a_drain_killed_between_commit_and_removal_counts_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    told = killed_after(20, folder, "w")
    kept = {path: path.read_bytes() for path in files(folder)}
    async with ledger_database(tmp_path) as (_, store):
        await Ledger(folder, Journal(folder), store).drain()
        before = await counted(store, "w")
        for path, content in kept.items():
            path.write_bytes(content)
    async with ledger_database(tmp_path) as (_, store):
        await Ledger(folder, Journal(folder), store).drain()
        assert await counted(store, "w") == before
    assert told <= before[0]
