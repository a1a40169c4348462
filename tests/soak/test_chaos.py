"""Four targets that fail, stall, flap and recover at random under steady load: nobody is failed who could be served."""

import asyncio
import json
import random
import resource
import threading
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
import pytest_asyncio

from bench import cpu
from tests.conftest import Amount
from tests.harness.events import ends_well, last_error
from tests.harness.process import Processes
from tests.harness.stub import Answer, Recorded, Stub, usual
from tests.requirements import covers

KEY = "sk-soak-master-key-001"
PER_SECOND = 100
SLACK = 0.05
"""Seconds by which a target counts as having been in a mode before and after: requests were already on their way."""
pytestmark = [covers("164", "14"), pytest.mark.timeout(1200)]

ERROR = b'{"error":{"message":"chaos"}}'
CODES = {
    "503": {"upstream_unavailable"},
    "500": {"upstream_fault"},
    "429": {"upstream_rate_limited"},
    "401": {"upstream_key_refused"},
    "gone": {"upstream_unreachable", "upstream_broke_off", "upstream_timeout"},  # taken as the server closed, it hangs
    "reset": {"upstream_unreachable", "upstream_broke_off"},
    "garbage": {"upstream_garbled"},
    "hang": {"upstream_timeout"},
    "cut": {"upstream_broke_off", "upstream_garbled"},
    "slow": set[str](),
    "well": set[str](),
}
SERVING = frozenset(("well", "slow"))


@dataclass
class Target:
    """One stub and what it has been like: (since when, mode), newest last. It lives on a loop of its own."""

    stub: Stub
    loop: asyncio.AbstractEventLoop
    history: list[tuple[float, str]] = field(default_factory=lambda: [(0.0, "well")])

    @property
    def mode(self) -> str:
        return self.history[-1][1]

    async def become(self, mode: str) -> None:
        if mode == self.mode:
            return
        was, now = self.mode, monotonic()
        self.history.append((now, mode))
        if mode == "gone":
            await elsewhere(self.loop, self.stub.stop())
        elif was == "gone":
            await elsewhere(self.loop, self.stub.start())

    def modes(self, start: float, end: float) -> set[str]:
        """All modes at any time between."""
        spans = zip(self.history, [*self.history[1:], (float("inf"), "")], strict=True)
        return {mode for (since, mode), (until, _) in spans if since <= end + SLACK and until >= start - SLACK}

    def answer(self, request: Recorded) -> Answer:
        match self.mode:
            case "503" | "500" | "401":
                return Answer(status=int(self.mode), body=ERROR)
            case "429":
                return Answer(status=429, body=ERROR, headers={"retry-after": random.choice(["1", "30"])})
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


@dataclass
class Tally:
    """What became of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken_streams: int = 0
    unservable: int = 0
    attempts: int = 0
    slowest: float = 0.0
    stalls: list[tuple[float, float]] = field(default_factory=list)
    """(when, seconds): our own event loop, in which the targets live too, stood still."""


@dataclass
class Site:
    """The gateway as a caller sees it, and its log."""

    http: httpx.AsyncClient
    log: Path

    def told_of(self, response: httpx.Response) -> str:
        """What the log has on one request."""
        request_id = response.headers["x-request-id"]
        return "\n".join(line for line in self.log.read_text().splitlines() if request_id in line)


async def elsewhere(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


@pytest.fixture
def loop_of_targets() -> Iterator[asyncio.AbstractEventLoop]:
    """The standard library's loop in a thread: closing and reopening servers wears out the other one's listeners."""
    loop = asyncio.SelectorEventLoop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest_asyncio.fixture
async def targets(loop_of_targets: asyncio.AbstractEventLoop) -> AsyncIterator[list[Target]]:
    made = [Target(Stub(), loop_of_targets) for _ in range(4)]
    for target in made:
        target.stub.otherwise = target.answer
        await elsewhere(loop_of_targets, target.stub.start())
    yield made
    for target in made:
        await elsewhere(loop_of_targets, target.stub.stop())


def configuration(targets: list[Target]) -> str:
    names = [f"t{number}" for number in range(len(targets))]
    timeouts = {"connect": 2, "read": 2.0}
    listed = [{"upstream": name, "model": "stub-small"} for name in names]
    return json.dumps(
        {
            "upstreams": [
                {"name": name, "provider": "openai_compatible", "base_url": target.stub.url, "timeouts": timeouts}
                for name, target in zip(names, targets, strict=True)
            ],
            "models": [
                {"name": balance, "targets": listed, "balance": balance, "retries": 1}
                for balance in ("ordered", "weighted", "least_busy", "latency")
            ],
            "routing": {"cooldown": {"seconds": 1, "longest": 4}, "probes": {"every": 0.5}},
        }
    )


def moods(numbers: random.Random) -> Iterator[tuple[int, str, float]]:
    """(target, mode, seconds until the next change). Now and then all of them fail."""
    bad = [mode for mode in CODES if mode != "well"]
    while True:
        number = numbers.randrange(4)
        yield number, numbers.choice(["well", *numbers.sample(bad, 2)]), numbers.expovariate(6)


async def disturb(targets: list[Target], numbers: random.Random) -> None:
    for number, mode, pause in moods(numbers):
        await targets[number].become(mode)
        await asyncio.sleep(pause)


async def watch_ourselves(tally: Tally) -> None:
    while True:
        before = monotonic()
        await asyncio.sleep(0.05)
        late = monotonic() - before - 0.05
        if late > 0.25:
            tally.stalls.append((monotonic(), late))


async def one(site: Site, targets: list[Target], tally: Tally, numbers: random.Random) -> None:
    model = numbers.choice(["ordered", "weighted", "least_busy", "latency"])
    streamed = numbers.random() < 0.5
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": streamed}
    start = monotonic()
    response = await site.http.post("/v1/chat/completions", json=body)
    end = monotonic()
    tally.statuses[response.status_code] += 1
    tally.attempts += int(response.headers.get("x-headgate-attempts", "0"))
    tally.slowest = max(tally.slowest, end - start)
    if response.status_code != 200:
        could = [target for target in targets if target.modes(start, end) <= SERVING]
        assert not could, f"failed with {response.text} while a target was well: {site.told_of(response)}"
        tally.unservable += 1
    elif streamed and not ends_well(response.content):
        assert last_error(response.content)["code"] in {"upstream_broke_off", "upstream_garbled"}
        tally.broken_streams += 1
    elif not streamed:
        assert response.json()["choices"][0]["message"]["content"] == "Hello there."
    check_truth(site, response, targets, start, end, tally)


def check_truth(
    site: Site, response: httpx.Response, targets: list[Target], start: float, end: float, tally: Tally
) -> None:
    """Every failed attempt that is told names an error that its target did make at the time; the status is one."""
    failed = response.headers.get("x-headgate-failed", "")
    told = [entry.rpartition("=") for entry in failed.split(", ") if entry]
    for name, _, code in told:
        modes = targets[int(name[1])].modes(start, end)
        possible = set[str]().union(*(CODES[mode] for mode in modes))
        assert code in possible, f"{name} was {modes}, not {code}: {site.told_of(response)} {tally.stalls} {end}"
    if response.status_code != 200:
        assert response.status_code in (429, 502, 503, 504), response.text
        assert response.headers["x-headgate-error"] in {code for _, _, code in told} or len(told) == 0


async def test_nobody_is_failed_who_could_be_served(
    targets: list[Target], processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    (tmp_path / "headgate.yaml").write_text(configuration(targets))
    serving = await asyncio.to_thread(
        processes.serve, "--debug", "--config", str(tmp_path / "headgate.yaml"), HEADGATE_MASTER_KEY=KEY
    )
    numbers = random.Random(20)
    tally = Tally()
    limits = httpx.Limits(max_connections=400)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # all ends of all connections but two are ours
    seconds = amount(8, 600)
    async with (
        httpx.AsyncClient(
            base_url=serving.url, headers={"authorization": f"Bearer {KEY}"}, limits=limits, timeout=60
        ) as http,
        asyncio.TaskGroup() as group,
    ):
        site = Site(http, serving.out)
        disturbing = group.create_task(disturb(targets, numbers))
        watching = group.create_task(watch_ourselves(tally))
        began = monotonic()
        for number in range(seconds * PER_SECOND):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - monotonic()))
            group.create_task(one(site, targets, tally, numbers))
            if number % 1000 == 999:
                for target in targets:
                    target.stub.requests.clear()
        disturbing.cancel()
        watching.cancel()
    memory = cpu.usage(serving.popen.pid).rss_mb
    total = sum(tally.statuses.values())
    print(
        f"\n{total} requests in {monotonic() - began:.0f} s, {tally.attempts} attempts, {dict(tally.statuses)};"
        f" {tally.unservable} while no target was well, {tally.broken_streams} streams broke after their first byte;"
        f" slowest {tally.slowest:.1f} s; memory {memory:.0f} MB; we stood still {tally.stalls}"
    )
    assert total == seconds * PER_SECOND
    assert tally.statuses[200] > total / 2
    assert serving.popen.poll() is None
