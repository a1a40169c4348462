"""Spans on their way to the collector: queued when a run is settled, posted in batches, dropped rather than waited for.

Knows neither how they are written (see otlp) nor how they are posted.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from headgate.core.errors import HeadgateError
from headgate.core.run import Run, now
from headgate.telemetry.metrics import Metrics
from headgate.telemetry.otlp import encoded
from headgate.telemetry.spans import Span, spans_of

log = logging.getLogger(__name__)
Post = Callable[[bytes], Awaitable[int]]
"""Posts a body and gives the answer's status; raises HeadgateError when there was none."""
MOST_WAITING = 16_384
"""Spans; some seconds of the most that one process can make, at 2 kB each."""
MOST_CONTENT = 64 << 20
"""Bytes of prompts and answers that wait with them."""
_BATCH = 256
"""Few enough that writing them, which takes a millisecond, holds up nobody else."""
_BATCH_WITH_CONTENT = 64
"""Few enough for collectors that take no large bodies."""
_EVERY = 1.0
_LONGEST_PAUSE = 15.0
_FAREWELL_SECONDS = 3.0
_TRY_AGAIN = frozenset((408, 429, 502, 503, 504))
"""What a collector says that may take the same batch later; any other refusal is for good."""


class Tracer:
    """An observer of runs, and the duty that sends their spans.

    `providers` are the kinds of the upstreams by name, `resource` the attributes of this gateway. `content_bytes`: how
    much of each answer its attempt keeps, 0 where prompts and answers are not told.
    """

    def __init__(
        self,
        post: Post,
        metrics: Metrics,
        providers: Mapping[str, str],
        resource: Mapping[str, str],
        *,
        content_bytes: int = 0,
    ) -> None:
        self._post = post
        self._counts = metrics.spans
        self._providers = providers
        self._resource = resource
        self._content_bytes = content_bytes
        self._batch = _BATCH_WITH_CONTENT if content_bytes else _BATCH
        self._waiting: list[Span] = []
        self._content = 0
        self._pause = 0.0
        self._is_full = self._ending = False
        self._wake = asyncio.Event()

    def observe(self, run: Run) -> None:
        """Queue the spans of a settled run, if its trace is kept and there is room."""
        if not run.trace.is_sampled:
            return
        spans = spans_of(run, time.time() - now(), self._providers, content_bytes=self._content_bytes)
        waiting = self._waiting
        if len(waiting) + len(spans) > MOST_WAITING or self._content > MOST_CONTENT:
            self._counts["dropped",] += len(spans)
            if not self._is_full:
                self._is_full = True
                log.warning("spans come faster than the trace collector takes them: they are dropped and counted")
            return
        waiting += spans
        if self._content_bytes:
            self._content += _size(spans)
        if len(waiting) >= self._batch and not self._pause:
            self._wake.set()

    async def keep_sending(self) -> None:
        """Send about once a second, or as soon as there is a batch; after a failure, later. Ends with `finish`."""
        is_last = False
        while not is_last:
            is_last = self._ending
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0 if is_last else self._pause or _EVERY):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._send_all()
            except Exception:
                log.exception("spans could not be sent")

    def finish(self) -> None:
        """Let `keep_sending` come to its end, once what waits was sent."""
        self._ending = True
        self._wake.set()

    async def close(self, duty: "asyncio.Task[None]") -> None:
        """Send what waits, for three seconds at most; what is left is counted and told."""
        self.finish()
        await asyncio.wait([duty], timeout=_FAREWELL_SECONDS)
        duty.cancel()
        await asyncio.wait([duty])
        if self._waiting:
            self._counts["dropped",] += len(self._waiting)
            log.warning("%d spans were not sent before the end", len(self._waiting))
            self._waiting.clear()

    async def _send_all(self) -> None:
        """Batch after batch; ends when none is left or one could not be sent."""
        while self._waiting:
            spans = self._waiting[: self._batch]
            del self._waiting[: self._batch]
            is_sent = False
            try:
                is_sent = await self._send(spans)
            except Exception:  # a fault of ours would come again with the same spans
                self._counts["dropped",] += len(spans)
                is_sent = True
                raise
            finally:
                if not is_sent:
                    self._waiting[:0] = spans
                elif self._content_bytes:
                    self._content -= _size(spans)
            if not is_sent:
                return
        self._is_full = False

    async def _send(self, spans: list[Span]) -> bool:
        """Whether these spans are done with: taken, or refused for good."""
        body = await self._written(spans)
        try:
            status = await self._post(body)
        except HeadgateError as error:
            self._failed(error.message)
            return False
        if status in _TRY_AGAIN:
            self._failed(f"it answered {status}")
            return False
        if status >= 300:
            self._counts["refused",] += len(spans)
            self._failed(f"it answered {status}")
            return True
        self._counts["sent",] += len(spans)
        if self._pause:
            self._pause = 0.0
            log.warning("the trace collector takes spans again")
        return True

    async def _written(self, spans: list[Span]) -> bytes:
        """Texts can be long: reading them is left to a thread, so that nobody waits for it."""
        if self._content_bytes:
            return await asyncio.to_thread(encoded, spans, self._resource)
        return encoded(spans, self._resource)

    def _failed(self, why: str) -> None:
        if not self._pause:
            log.warning("the trace collector does not take spans, and will be tried again: %s", why)
        self._pause = min(2 * self._pause or _EVERY, _LONGEST_PAUSE)


def _size(spans: list[Span]) -> int:
    return sum(span.content.size for span in spans if span.content is not None)
