"""The audit log: acts are put down in the transaction that does them, read, and checked. Knows no HTTP and no SQL."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import time
from typing import TYPE_CHECKING, Any

import orjson

from headgate.audit.chain import START, Chain
from headgate.audit.head import HeadFile
from headgate.audit.types import AuditQuery, Head, Row, Verdict
from headgate.core.audit import ERASED, ORIGIN, Act
from headgate.core.errors import HeadgateError
from headgate.telemetry.redact import redact

if TYPE_CHECKING:  # the routes know the log, and start without the database's libraries
    from headgate.audit.store import AuditStore

log = logging.getLogger(__name__)
_PAGE = 1000
_LONGEST = 512
_LONGEST_VALUES = 65_536
_REFUSALS_PER_MINUTE = 120
_SECRETS = frozenset(("key", "secret", "password", "token", "authorization", "api_key", "credential", "credentials"))


class AuditLog:
    """What was done, by whom, when and from where. An act whose row cannot be written does not happen."""

    def __init__(self, store: "AuditStore", chain: Chain, head: HeadFile, clock: Callable[[], float] = time) -> None:
        self._store = store
        self._chain = chain
        self._head = head
        self._clock = clock
        self._refusals = 0
        self._left_out = 0
        self._minute = 0

    async def note(self, transaction: Any, act: Act) -> Head:
        """Put an act down within the transaction that does it; call `committed` with the result after that."""
        last = await self._store.hold(transaction)
        row = self._chain.signed(self._row(act, last))
        await self._store.add(transaction, row)
        return Head(row.seq, row.hash)

    async def committed(self, head: Head) -> None:
        """Let the file outside the database follow. It is behind if this fails, which the next act makes good."""
        try:
            await self._follow(head)
        except (OSError, ValueError, HeadgateError) as error:
            log.error("the head of the audit log cannot be written: %s", error)

    async def record(self, act: Act) -> None:
        """Put down an act that is no change of the database, before it happens. Raises DatabaseUnavailable."""
        async with self._store.database.writing() as connection:
            head = await self.note(connection, act)
        await self.committed(head)

    async def refused(self, act: Act) -> None:
        """Put down that somebody was not allowed to; never raises. Past 120 a minute they are only counted."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._refusals = minute, 0
        if self._refusals >= _REFUSALS_PER_MINUTE:
            self._left_out += 1
            return
        self._refusals += 1
        if self._left_out:
            act = Act(act.action, act.kind, act.object_id, act.tenant, None, {"left_out": self._left_out}, act.error)
            self._left_out = 0
        try:
            await self.record(act)
        except HeadgateError as error:
            log.error("a refusal is missing in the audit log: %s", error.message)

    async def read(self, query: AuditQuery, limit: int) -> list[Row]:
        """One more than the limit if there are more."""
        return await self._store.chosen(query, limit + 1)

    async def verify(self) -> Verdict:
        """Read the whole chain. Names the first row that was altered, removed, put in, or cut off the end."""
        try:
            signed = self._head.read()  # before the rows: those that come meanwhile are behind it
        except ValueError as error:
            return Verdict(0, "", "unsigned", None, str(error))
        kept = await self._store.last()
        last, at_signed = START, START.hash if signed is not None and not signed.seq else None
        while rows := await self._store.chosen(AuditQuery(after=last.seq, oldest_first=True), _PAGE):
            if signed is not None and rows[0].seq <= signed.seq <= rows[-1].seq:
                at_signed = next((row.hash for row in rows if row.seq == signed.seq), None)
            last, wrong = self._chain.check(rows, last)
            if wrong is not None:
                return wrong
        if signed is not None and at_signed != signed.hash and await self._was_rewritten(signed):
            at_signed = signed.hash
        return self._against(last, signed, kept, at_signed)

    async def erased(self, transaction: Any, change: Callable[[Row], Row]) -> tuple[int, Head]:
        """Exchange rows for others, and sign all that come after anew. How many differ, and the last row before.

        Whoever does it has to note an act with that last row as `before`: by it the file outside the database is
        known to be of the log as it was, and so is anybody's copy of a hash.
        """
        last = await self._store.hold(transaction)
        await self._follow(last)
        changed, at, head = 0, 0, START
        while rows := await self._store.since(transaction, at, _PAGE):
            at, made = rows[-1].seq, []
            for row in rows:
                new = change(row)
                changed += new != row
                if new != row or row.previous != head.hash:
                    new = self._chain.signed(new._replace(previous=head.hash))
                    made.append(new)
                head = Head(new.seq, new.hash)
            await self._store.exchange(transaction, made)
        await self._store.move_head(transaction, head)
        return changed, last

    async def _was_rewritten(self, seen: Head) -> bool:
        """Whether a signed row tells that data were erased when this was the last one."""
        query = AuditQuery(action=ERASED, after=seen.seq, oldest_first=True)
        for row in await self._store.chosen(query, _PAGE):
            before = orjson.loads(row.before or b"null")
            if row.hash == self._chain.hash_of(row) and before == {"seq": seen.seq, "hash": seen.hash}:
                return True
        return False

    def _against(self, last: Head, signed: Head | None, kept: Head, at_signed: str | None) -> Verdict:
        """The chain is sound in itself; is it all of it?"""
        if signed is None and last.seq:
            message = "The file audit.head is gone from the data directory; it is written again with the next act."
            return Verdict(last.seq, last.hash, "unsigned", None, message)
        known = max(kept.seq, signed.seq if signed is not None else 0)
        if known > last.seq:
            message = f"Rows from {last.seq + 1} to {known} are missing at the end."
            return Verdict(last.seq, last.hash, "cut", last.seq + 1, message)
        if signed is not None and at_signed != signed.hash:
            message = f"Row {signed.seq} is not the one that the file audit.head was written for."
            return Verdict(last.seq, last.hash, "altered", signed.seq, message)
        return Verdict(last.seq, last.hash)

    async def _follow(self, head: Head) -> None:
        """Only to a row that comes after the one in the file: what was cut off or exchanged stays noticed."""
        while True:
            seen = await asyncio.to_thread(self._step, head, None)
            if seen is None:
                return
            if await self._store.hash_at(seen.seq) != seen.hash and not await self._was_rewritten(seen):
                raise ValueError(f"row {seen.seq} is not the one it was; run `headgate audit verify`")
            if await asyncio.to_thread(self._step, head, seen) is None:
                return

    def _step(self, head: Head, sound: Head | None) -> Head | None:
        """Write, if what is in the file is known to come before; else what is there, to be looked up."""
        with self._head.held():
            there = self._head.read()
            if there is not None and there.seq >= head.seq:
                return None
            if there is not None and there != sound:
                return there
            self._head.write(head)
            return None

    def _row(self, act: Act, last: Head) -> Row:
        origin = ORIGIN.get()
        return Row(
            last.seq + 1,
            int(self._clock() * 1000),
            origin.who.key_id,
            origin.who.tenant,
            _text(origin.who.user),
            _text(origin.address),
            _text(origin.request_id),
            act.action,
            act.kind,
            _text(act.object_id),
            _text(act.tenant),
            _values(act.before),
            _values(act.after),
            "done" if not act.error else "refused" if act.action.endswith(".refused") else "failed",
            act.error,
            last.hash,
            "",
        )


def _text(given: str) -> str:
    """No database takes zero bytes, and nobody gets to write a book."""
    return redact(given.replace("\0", "?"))[:_LONGEST]


def _values(values: Mapping[str, Any] | None) -> str:
    if values is None:
        return ""
    text = orjson.dumps(_without_secrets(values), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    if len(text) > _LONGEST_VALUES:
        text = orjson.dumps({"left_out": f"{len(text)} characters"}).decode()
    return text.replace("\\u0000", "?")


def _without_secrets(value: Any) -> Any:
    """What looks like a secret is not kept, nor what is called one."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            redact(str(name)): "[redacted]"
            if str(name).lower() in _SECRETS and isinstance(one, str)
            else _without_secrets(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(one) for one in value]
    return value
