"""The targets of the chaos proof: stubs that fail, stall, flap and recover at random, in a process of their own.

They must not share a loop with the load that is put on them. `python -m tests.soak.chaos_targets COUNT SEED` prints one
line of JSON with their `urls`, then one per change of mode: `at` (seconds, monotonic clock of the machine), `target`
and `mode`. A line comes before the change; a mode that has ended is only known to have by the next line. It ends
with its standard input.
"""

import asyncio
import json
import random
import resource
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Any

from tests.harness.stub import Answer, Recorded, Stub, usual

MODES = ("503", "500", "429", "401", "gone", "reset", "garbage", "hang", "cut", "slow", "well")
_ERROR = b'{"error":{"message":"chaos"}}'


class Target:
    """One stub and what it is like now."""

    def __init__(self, number: int) -> None:
        self.stub = Stub()
        self.stub.otherwise = self._answer
        self._number = number
        self._mode = "well"

    async def become(self, mode: str) -> None:
        if mode == self._mode:
            return
        self.stub.requests.clear()
        if self._mode == "gone":
            await self.stub.start()
        _say(at=monotonic(), target=self._number, mode=mode)
        self._mode = mode
        if mode == "gone":
            await self.stub.stop()

    def _answer(self, request: Recorded) -> Answer:
        match self._mode:
            case "503" | "500" | "401":
                return Answer(status=int(self._mode), body=_ERROR)
            case "429":
                return Answer(status=429, body=_ERROR, headers={"retry-after": random.choice(["1", "30"])})
            case "reset":
                return Answer(raw=b"", reset=True)
            case "garbage":
                return Answer(raw=b"garbage\r\n\r\n")
            case "hang":
                return Answer(raw=b"", hang=True)
            case "cut":
                return _with(usual(request), cut_after=300)
            case "slow":
                return _with(usual(request), delay=0.3)
        return usual(request)


def _with(answer: Answer, **more: Any) -> Answer:
    for name, value in more.items():
        setattr(answer, name, value)
    return answer


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def moods(numbers: random.Random, count: int) -> Iterator[tuple[int, str, float]]:
    """(target, mode, seconds until the next change). Now and then all of them fail."""
    bad = [mode for mode in MODES if mode != "well"]
    while True:
        yield numbers.randrange(count), numbers.choice(["well", *numbers.sample(bad, 2)]), numbers.expovariate(6)


async def disturb(count: int, seed: int) -> None:
    targets = [Target(number) for number in range(count)]
    for target in targets:
        await target.stub.start()
    _say(urls=[target.stub.url for target in targets])
    for number, mode, pause in moods(random.Random(seed), count):
        await targets[number].become(mode)
        await asyncio.sleep(pause)


async def main(count: int, seed: int) -> None:
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    disturbing = asyncio.get_running_loop().create_task(disturb(count, seed))
    await asyncio.to_thread(sys.stdin.read)
    disturbing.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
