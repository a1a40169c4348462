"""The chain: each row is signed together with the hash of the one before it. Pure: knows no clock and no database.

HMAC-SHA-256 over canonical JSON, with a key made from the pepper: who can write the database and has no pepper cannot
make a row that fits.
"""

import hmac
from collections.abc import Iterable

import orjson

from headgate.audit.types import Head, Row, Verdict

START = Head(0, "")
_PURPOSE = b"headgate audit log 1"


class Chain:
    """Signs rows and checks them."""

    def __init__(self, pepper: bytes) -> None:
        self._key = hmac.digest(pepper, _PURPOSE, "sha256")

    def sign(self, data: bytes) -> str:
        return hmac.digest(self._key, data, "sha256").hex()

    def signed(self, row: Row) -> Row:
        """The row with its hash."""
        return row._replace(hash=self.hash_of(row))

    def hash_of(self, row: Row) -> str:
        return self.sign(orjson.dumps(row[:-1]))

    def check(self, rows: Iterable[Row], last: Head) -> tuple[Head, Verdict | None]:
        """Go on from `last` over the next rows in their order. The new last row, and what is wrong with the first that
        does not fit.
        """
        for row in rows:
            if row.hash != self.hash_of(row):
                return last, self._fault("altered", row.seq, last, "its content does not go with its hash")
            if row.seq != last.seq + 1:
                kind = "missing" if row.seq > last.seq + 1 else "inserted"
                return last, self._fault(kind, last.seq + 1, last, f"row {row.seq} follows row {last.seq}")
            if row.previous != last.hash:
                return last, self._fault("reordered", row.seq, last, "it does not follow the row before it")
            last = Head(row.seq, row.hash)
        return last, None

    def _fault(self, kind: str, seq: int, last: Head, why: str) -> Verdict:
        return Verdict(last.seq, last.hash, kind, seq, f"Row {seq} is {kind}: {why}.")
