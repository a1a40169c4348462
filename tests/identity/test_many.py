"""A table of 100,000 keys is learned in a moment and takes little memory."""

import json
import subprocess
import sys
from pathlib import Path

from sqlalchemy import insert

from headgate.db.engine import default_url, open_database
from headgate.db.migrate import migrate
from headgate.identity.store import changes
from headgate.identity.store import keys as key_table
from tests.requirements import covers

pytestmark = covers("key-table")

MANY = 100_000
_SECONDS, _MEGABYTES = 1.5, 120.0
PROGRAM = r"""
import asyncio, json, re, sys, time
from pathlib import Path
from headgate.db.engine import default_url, open_database
from headgate.identity.compose import identity_of
from headgate.identity.keys import KeyRing
from headgate.identity.signal import Signal

def megabytes(name):
    return int(re.search(name + r":\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

async def main():
    folder = Path(sys.argv[1])
    database = open_database(default_url(folder))
    ring = KeyRing(b"pepper")
    async with database.reading():
        pass
    before, began = megabytes("VmRSS"), time.perf_counter()
    await identity_of(database, ring, Signal(folder / "signal"))
    took = time.perf_counter() - began
    who = ring.recognise(b"sk-number-777")
    print(json.dumps([who.key_id, who.bounds[0].rate.requests_per_minute, took, megabytes("VmHWM") - before]))
    await database.close()

asyncio.run(main())
"""


async def fill(folder: Path, many: int = MANY) -> None:
    """As creating them one by one would leave it, but for the time that takes."""
    import hmac

    database = open_database(default_url(folder))
    await migrate(database)
    rows = [
        {
            "id": f"key_{number:012x}{number:012x}",
            "tenant": "default",
            "user_id": f"user-{number % 1000}",
            "alias": f"alias-{number}",
            "digest": hmac.digest(b"pepper", f"sk-number-{number}".encode(), "sha256"),
            "previous": None,
            "previous_until": 0.0,
            "rights": json.dumps({"rate": [number % 50 + 1, 0, 0], "allow": ["gpt-*"]}),
            "metadata": {"number": number},
            "expires_at": 4e9 + number,
            "blocked": False,
            "revoked_at": 0.0,
            "erased": False,
            "created_by": "key_0",
            "created_at": 1.0,
            "updated_at": 1.0,
            "rotated_at": 0.0,
            "revision": number + 1,
        }
        for number in range(many)
    ]
    async with database.writing() as connection:
        await connection.execute(insert(key_table), rows)
        await connection.execute(changes.update().values(revision=many))
    await database.close()


async def test_a_hundred_thousand_keys_are_learned_in_a_moment(tmp_path: Path) -> None:
    await fill(tmp_path)
    said = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=50, check=True
    ).stdout
    key_id, rate, took, grown = json.loads(said)
    assert (key_id, rate) == (f"key_{777:012x}{777:012x}", 777 % 50 + 1)
    assert took < _SECONDS * 3, f"{took:.2f} s"  # a machine may do other things as well
    assert grown < _MEGABYTES, f"{grown:.0f} MB"
