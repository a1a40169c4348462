"""Who makes the answer to a key, and who gets the one that was made. Knows neither HTTP nor models."""

import asyncio
import hmac
import logging
from hashlib import blake2b
from typing import NamedTuple

from headgate.core.errors import AnswerNotKept, IdempotencyKeyReused
from headgate.core.principal import Principal
from headgate.core.wishes import Wishes
from headgate.idempotency.folder import Folder, Spooled
from headgate.idempotency.recording import Recording
from headgate.idempotency.sweep import sweep
from headgate.idempotency.types import Answer, Head, IdempotencySettings

log = logging.getLogger(__name__)
_SWEEP_SECONDS = 60.0
_EAGER = 32
"""What was written since the last sweep is swept once it is one part in so many of the room."""
_PAUSE = 0.002


class Claim(NamedTuple):
    """`making` is set for the one caller who has to make the answer; all others get what is there, or comes."""

    answer: Answer
    making: Recording | None = None


class Keeper:
    """One worker's view of the answers that all workers of a machine keep in one folder."""

    def __init__(self, folder: Folder, secret: bytes, settings: IdempotencySettings) -> None:
        self._folder = folder
        self._secret = hmac.digest(secret, b"idempotency", "sha256")
        self._settings = settings
        self._largest = min(settings.max_answer_bytes, settings.max_bytes)
        self._written = 0
        self._full = asyncio.Event()
        self.recordings: dict[str, Recording] = {}
        """Answers that are being made in this process, by name."""

    def name_of(self, who: Principal, route: str, key: str) -> str:
        """What an answer is kept under: nobody finds another caller's, and the name tells nothing of the key."""
        scope = "\0".join((who.key_id, who.tenant, who.user, route, key))
        return blake2b(scope.encode(), key=self._secret, digest_size=20).hexdigest()

    def hash_of(self, body: bytes, wishes: Wishes) -> str:
        """A hash of all that was asked."""
        hashed = blake2b(body, key=self._secret, digest_size=20)
        told = (wishes.timeout, wishes.retries, sorted(wishes.tags), wishes.session, wishes.fallbacks)
        hashed.update(repr(told).encode())
        return hashed.hexdigest()

    async def claim(self, name: str, head: Head) -> Claim:
        """The answer that is kept or being made; else a recording to make it in.

        Raises IdempotencyKeyReused if something else was asked under the same name, or AnswerNotKept.
        """
        while True:
            recording = self.recordings.get(name)
            if recording is not None:
                _check(recording.head, head, lost=recording.is_too_large)
                return Claim(recording)
            if (claim := self._look_up(name, head)) is not None:
                return claim
            await asyncio.sleep(_PAUSE)  # another process holds the file for a moment

    def _look_up(self, name: str, head: Head) -> Claim | None:
        try:
            found = self._folder.open(name)
        except OSError as error:
            log.error("an answer that may be kept cannot be read: %s", error)
            return self._begin(name, Recording(self._folder, name, head, self._largest))  # without a file
        if found is None:
            return self._make(name, head, replaces=False)
        claim = None
        try:
            claim = self._judge(found, name, head)
            return claim
        finally:
            if claim is None or claim.answer is not found:
                found.close()

    def _judge(self, found: Spooled, name: str, head: Head) -> Claim | None:
        if not self._is_current(found):
            if found.take():
                found.look()  # it may have come to its end a moment ago
                return None if self._is_current(found) else self._make(name, head, replaces=True)
            if found.ended is not None or found.is_damaged:
                return None
        _check(found.head, head, lost=found.ended is not None and found.ended.ending == "too_large")
        return Claim(found)

    def _is_current(self, found: Spooled) -> bool:
        return found.is_usable and found.age() <= self._settings.keep_seconds

    def _make(self, name: str, head: Head, *, replaces: bool) -> Claim | None:
        recording = Recording(self._folder, name, head, self._largest)
        return self._begin(name, recording) if recording.open(replaces=replaces) else None

    def _begin(self, name: str, recording: Recording) -> Claim:
        recording.when_ended = lambda ended: self._ended(name, ended)
        self.recordings[name] = recording
        return Claim(recording, recording)

    def _ended(self, name: str, recording: Recording) -> None:
        self.recordings.pop(name, None)
        self._written += recording.size
        if self._written > self._settings.max_bytes // _EAGER:
            self._full.set()

    async def keep_sweeping(self) -> None:
        """Make room when it may be needed, and once a minute, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_SWEEP_SECONDS):
                    await self._full.wait()
            except TimeoutError:
                pass
            await self.sweep()

    async def sweep(self) -> None:
        """Make room now, unless another process does."""
        self._full.clear()
        self._written = 0
        settings = self._settings
        try:
            swept = await asyncio.to_thread(sweep, self._folder.path, settings.keep_seconds, settings.max_bytes)
        except OSError as error:
            log.warning("kept answers cannot be swept: %s", error)
            return
        if swept is not None and swept.displaced:
            log.warning(
                "idempotency.max_bytes is reached: %d answers were let go before their time; "
                "a repeat of such a call is a new call",
                swept.displaced,
            )


def _check(known: Head, asked: Head, *, lost: bool) -> None:
    if known.asked != asked.asked:
        raise IdempotencyKeyReused(
            f"The header Idempotency-Key carries a key that was used for another request ({known.run}): the body, "
            "or a header that changes the routing, differs.",
            param="idempotency-key",
        )
    if lost:
        raise AnswerNotKept(
            f"The request of this Idempotency-Key was answered ({known.run}), but its answer was larger than "
            "`idempotency.max_answer_bytes` and was not kept.",
            param="idempotency-key",
        )
