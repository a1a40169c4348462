"""A process that asks a shared table for leave, as one worker of several does."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from headgate.core.bounds import Bound, Budget, Rate, Want
from headgate.core.errors import LimitReached
from headgate.limits.counters import TableCounters
from headgate.limits.limiter import Limiter
from headgate.limits.shared import SharedTable

CALLS = (Bound("key:k", Rate(requests_per_minute=100)), Bound("tenant:t", Rate(requests_per_minute=100_000)))
MONEY = (Bound("key:k", Rate(streams=100), (Budget(1000),)),)
COUNTED = (Bound("key:k", Rate(requests_per_minute=10**9)), Bound("tenant:t", Rate(tokens_per_minute=10**9)))
BOUNDS = {"calls": CALLS, "money": MONEY, "counted": COUNTED}
COSTS_100 = Want(tokens=10, nano_usd=100, is_stream=True)


async def hammer(limiter: Limiter, bounds: tuple[Bound, ...], times: int) -> int:
    """How many of so many calls got in; none of them ends."""
    count = 0
    for _ in range(times):
        try:
            await limiter.admit(bounds, COSTS_100)
        except LimitReached:
            continue
        count += 1
    return count


async def churn(limiter: Limiter) -> None:
    """Take and give back until killed."""
    while True:
        limiter.settle(await limiter.admit(MONEY, COSTS_100._replace(nano_usd=1)), 10, 0)


async def main(table: SharedTable, what: str, times: int, tell: Callable[[object], None]) -> None:
    limiter = Limiter(TableCounters(table))
    tell("ready")
    await asyncio.to_thread(sys.stdin.readline)
    if what == "churn":
        tell("churning")
        await churn(limiter)
    tell(await hammer(limiter, BOUNDS[what], times))
    signal.pause()


def start() -> None:
    path, what, times = sys.argv[1:]

    def tell(word: object) -> None:
        sys.stdout.write(f"{word}\n")
        sys.stdout.flush()

    asyncio.run(main(SharedTable(Path(path), subjects=1000, processes=4), what, int(times), tell))


if __name__ == "__main__":
    start()
