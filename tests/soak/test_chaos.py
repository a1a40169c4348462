"""Four targets that fail, stall, flap and recover at random under steady load: nobody is failed who could be served."""

import asyncio
import json
import random
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx
import pytest
import pytest_asyncio

from bench import cpu
from tests.conftest import Amount
from tests.harness.events import ends_well, last_error
from tests.harness.process import Processes
from tests.requirements import covers

KEY = "sk-soak-master-key-001"
PER_SECOND = 100
COUNT = 4
HEARSAY = 0.5
"""Seconds after which a change at the targets is surely known here."""
SLACK = 0.05
"""Seconds by which a target counts as having been in a mode before and after: requests were already on their way."""
pytestmark = [covers("164", "14"), pytest.mark.timeout(1200)]

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
class Targets:
    """What the targets have been like, as their own process tells it."""

    urls: list[str]
    histories: list[list[tuple[float, str]]]
    """Per target (since when, mode), newest last."""

    def modes(self, target: int, start: float, end: float) -> set[str]:
        """All modes at any time between."""
        history = self.histories[target]
        spans = zip(history, [*history[1:], (float("inf"), "")], strict=True)
        return {mode for (since, mode), (until, _) in spans if since <= end + SLACK and until >= start - SLACK}


@dataclass
class Tally:
    """What became of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken_streams: int = 0
    unservable: int = 0
    attempts: int = 0
    slowest: float = 0.0
    stalls: list[tuple[float, float]] = field(default_factory=list)
    """(when, seconds): our own event loop stood still, and with it the caller."""


@dataclass
class Site:
    """The gateway as a caller sees it, and its log."""

    http: httpx.AsyncClient
    log: Path

    def told_of(self, response: httpx.Response) -> str:
        """What the log has on one request."""
        request_id = response.headers["x-request-id"]
        return "\n".join(line for line in self.log.read_text().splitlines() if request_id in line)


@pytest_asyncio.fixture
async def targets() -> AsyncIterator[Targets]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.soak.chaos_targets", str(COUNT), "20", stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    made = Targets(json.loads(await process.stdout.readline())["urls"], [[(0.0, "well")] for _ in range(COUNT)])
    listening = asyncio.get_running_loop().create_task(_listen(process.stdout, made))
    yield made
    process.stdin.close()
    await process.wait()
    await listening


async def _listen(lines: asyncio.StreamReader, targets: Targets) -> None:
    async for line in lines:
        told = json.loads(line)
        targets.histories[told["target"]].append((told["at"], told["mode"]))


def configuration(targets: Targets) -> str:
    names = [f"t{number}" for number in range(COUNT)]
    timeouts = {"connect": 2, "read": 2.0}
    listed = [{"upstream": name, "model": "stub-small"} for name in names]
    return json.dumps(
        {
            "upstreams": [
                {"name": name, "provider": "openai_compatible", "base_url": url, "timeouts": timeouts}
                for name, url in zip(names, targets.urls, strict=True)
            ],
            "models": [
                {"name": balance, "targets": listed, "balance": balance, "retries": 1}
                for balance in ("ordered", "weighted", "least_busy", "latency")
            ],
            "routing": {"cooldown": {"seconds": 1, "longest": 4}, "probes": {"every": 0.5}},
        }
    )


async def watch_ourselves(tally: Tally) -> None:
    while True:
        before = monotonic()
        await asyncio.sleep(0.05)
        late = monotonic() - before - 0.05
        if late > 0.25:
            tally.stalls.append((monotonic(), late))


async def one(site: Site, targets: Targets, tally: Tally, numbers: random.Random) -> None:
    model = numbers.choice(["ordered", "weighted", "least_busy", "latency"])
    streamed = numbers.random() < 0.5
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": streamed}
    start = monotonic()
    response = await site.http.post("/v1/chat/completions", json=body)
    end = monotonic()
    await asyncio.sleep(HEARSAY)
    tally.statuses[response.status_code] += 1
    tally.attempts += int(response.headers.get("x-headgate-attempts", "0"))
    tally.slowest = max(tally.slowest, end - start)
    if response.status_code != 200:
        could = [target for target in range(COUNT) if targets.modes(target, start, end) <= SERVING]
        assert not could, f"failed with {response.text} while a target was well: {site.told_of(response)}"
        tally.unservable += 1
    elif streamed and not ends_well(response.content):
        assert last_error(response.content)["code"] in {"upstream_broke_off", "upstream_garbled"}
        tally.broken_streams += 1
    elif not streamed:
        assert response.json()["choices"][0]["message"]["content"] == "Hello there."
    check_truth(site, response, targets, start, end, tally)


def check_truth(site: Site, response: httpx.Response, targets: Targets, start: float, end: float, tally: Tally) -> None:
    """Every failed attempt that is told names an error that its target did make at the time; the status is one."""
    failed = response.headers.get("x-headgate-failed", "")
    told = [entry.rpartition("=") for entry in failed.split(", ") if entry]
    for name, _, code in told:
        modes = targets.modes(int(name[1]), start, end)
        possible = set[str]().union(*(CODES[mode] for mode in modes))
        assert code in possible, f"{name} was {modes}, not {code}: {site.told_of(response)} {tally.stalls} {end}"
    if response.status_code != 200:
        assert response.status_code in (429, 502, 503, 504), response.text
        assert response.headers["x-headgate-error"] in {code for _, _, code in told} or len(told) == 0


async def test_nobody_is_failed_who_could_be_served(
    targets: Targets, processes: Processes, tmp_path: Path, amount: Amount
) -> None:
    (tmp_path / "headgate.yaml").write_text(configuration(targets))
    serving = await asyncio.to_thread(
        processes.serve, "--debug", "--config", str(tmp_path / "headgate.yaml"), HEADGATE_MASTER_KEY=KEY
    )
    numbers = random.Random(20)
    tally = Tally()
    limits = httpx.Limits(max_connections=400)
    seconds = amount(8, 600)
    async with (
        httpx.AsyncClient(
            base_url=serving.url, headers={"authorization": f"Bearer {KEY}"}, limits=limits, timeout=60
        ) as http,
        asyncio.TaskGroup() as group,
    ):
        site = Site(http, serving.out)
        watching = group.create_task(watch_ourselves(tally))
        began = monotonic()
        for number in range(seconds * PER_SECOND):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - monotonic()))
            group.create_task(one(site, targets, tally, numbers))
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
