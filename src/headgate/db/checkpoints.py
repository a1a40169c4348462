"""SQLite's write-ahead log is copied into the file of the database now and then, beside those who write.

Left to SQLite, the commit that makes the log long enough does it, and whoever waits for that one waits for all.
"""

import asyncio
from collections.abc import Callable

from headgate.db.threads import Workers

_EVERY = 0.5
PAGES = 16_000
"""A log as long as this, 64 MB, is copied by whoever makes it so long, and everybody waits: a bound for the file."""


class Checkpoints:
    """`copy` is called in a thread of its own, some time after something was written."""

    def __init__(self, copy: Callable[[], None]) -> None:
        self._copy = copy
        self._worker = Workers("headgate-copies")
        self._timer: asyncio.TimerHandle | None = None
        self._copying: asyncio.Future[None] | None = None

    def written(self) -> None:
        """Something was committed."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self._begin)

    def close(self) -> None:
        """Copy nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def wait(self) -> None:
        """Until what was begun is done."""
        await self._worker.close()

    def _begin(self) -> None:
        self._timer = None
        if self._copying is None or self._copying.done():
            self._copying = self._worker.do(self._copy)
            self._copying.add_done_callback(_pass_over)
        else:
            self.written()


def _pass_over(copying: "asyncio.Future[None]") -> None:
    """What could not be copied now is copied next time; whoever writes is told of the fault that lies behind it."""
    if not copying.cancelled():
        copying.exception()
