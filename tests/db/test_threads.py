"""Threads that work for an event loop: each result comes to whoever asked for it, and nothing is left over."""

import asyncio
import threading
from pathlib import Path

import uvloop

from headgate.db.threads import Workers
from tests.harness.stub import BOUND
from tests.requirements import covers

pytestmark = covers("database")


def pipes() -> int:
    found = (one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink())
    return sum(one.name.startswith("pipe:") for one in found)


async def test_results_and_errors_come_to_whoever_asked() -> None:
    workers = Workers("test", 3)

    def halved(number: int) -> int:
        if number % 2:
            raise ValueError(str(number))
        return number // 2

    found = await asyncio.gather(
        *(workers.do(lambda number=number: halved(number)) for number in range(500)),  # type: ignore[misc]
        return_exceptions=True,
    )
    assert [one if isinstance(one, int) else str(one) for one in found] == [
        str(number) if number % 2 else number // 2 for number in range(500)
    ]
    await workers.close()


async def test_what_is_cancelled_before_its_turn_is_not_begun() -> None:
    workers, begun, go, made = Workers("test"), threading.Event(), threading.Event(), list[int]()
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: faults.append(told))

    def wait() -> bool:
        begun.set()
        return go.wait(BOUND)

    first = workers.do(wait)
    second, third = workers.do(lambda: made.append(2)), workers.do(lambda: made.append(3))
    await asyncio.to_thread(begun.wait, BOUND)
    first.cancel()  # nobody waits for what is under way
    second.cancel()
    go.set()
    await third
    assert (made, faults) == ([3], [])
    await workers.close()


async def test_closing_waits_for_what_was_begun_and_leaves_nothing_open() -> None:
    before, workers, go = pipes(), Workers("test", 2), threading.Event()
    asked = [workers.do(lambda: go.wait(BOUND)) for _ in range(4)]
    closing = asyncio.create_task(workers.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    assert await asyncio.wait_for(asyncio.gather(*asked), BOUND) == [True] * 4
    assert pipes() == before
    assert not any(thread.name.startswith("test-") for thread in threading.enumerate())


def test_the_same_threads_serve_one_loop_after_another() -> None:
    workers, before = Workers("test"), pipes()

    async def asked(last: bool) -> int:
        found = await workers.do(lambda: 1)
        if last:
            await workers.close()
        return found

    for last in (False, True):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(asked(last)) == 1
    assert pipes() == before
