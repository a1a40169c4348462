"""The way of spans to the collector: nothing waits for it, nothing is lost unseen, and it is told once."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import pytest

from headgate.core.errors import UpstreamUnreachable
from headgate.core.ids import Trace, child_of
from headgate.core.run import Attempt, Run, now
from headgate.telemetry import traces
from headgate.telemetry.metrics import Metrics
from headgate.telemetry.traces import Tracer
from headgate.telemetry.types import Sampler, TracingSettings, sampler_of
from tests.harness.collector import spans_in
from tests.harness.stub import BOUND
from tests.requirements import covers

pytestmark = covers("135")
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOT_SAMPLED = SAMPLED[:-1] + "0"
Reply = int | Exception | asyncio.Event


def settled(number: int = 0, parent: str = SAMPLED) -> Run:
    """A run with one attempt, so that it has two spans."""
    run = Run(f"r{number}", child_of(parent), "chat", label="small", status=200)
    run.attempts.append(
        Attempt("stub", "stub-small", "stub/stub-small", "k", "small", now(), span=f"{number + 1:016x}")
    )
    run.ended = now()
    return run


class Target:
    """A collector that answers as scripted, then 200."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = deque(replies)
        self.bodies: list[bytes] = []

    async def __call__(self, body: bytes) -> int:
        self.bodies.append(body)
        reply = self.replies.popleft() if self.replies else 200
        if isinstance(reply, asyncio.Event):
            await reply.wait()
            return 200
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def ids(self) -> list[str]:
        return [str(span.attributes["headgate.request_id"]) for body in self.bodies for span in spans_in(body)][::2]


class Sending:
    """A tracer at work on a target."""

    def __init__(self, target: Target) -> None:
        self.metrics = Metrics()
        self.target = target
        self.tracer = Tracer(target, self.metrics, {"stub": "openai"}, {"service.name": "headgate"})
        self.duty = asyncio.get_running_loop().create_task(self.tracer.keep_sending())

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND):
            while not is_so():
                await asyncio.sleep(0.002)

    def count(self, result: str) -> int:
        return self.metrics.spans[(result,)]

    async def close(self) -> None:
        await self.tracer.close(self.duty)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_EVERY", 0.01)
    monkeypatch.setattr(traces, "_LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(traces, "_FAREWELL_SECONDS", 0.2)


async def test_what_was_observed_is_sent_in_batches_and_in_order() -> None:
    sending = Sending(Target())
    for number in range(200):
        sending.tracer.observe(settled(number))
    await sending.until(lambda: sending.count("sent") == 400)
    await sending.close()
    assert sending.target.ids == [f"r{number}" for number in range(200)]
    assert 1 < len(sending.target.bodies) < 10


@pytest.mark.parametrize("trouble", [UpstreamUnreachable("gone"), 503, 429])
async def test_while_the_collector_is_away_spans_wait_and_it_is_told_once(
    trouble: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    sending = Sending(Target(trouble, trouble, trouble))
    sending.tracer.observe(settled(1))
    sending.tracer.observe(settled(2))
    await sending.until(lambda: sending.count("sent") == 4)
    await sending.close()
    assert sending.target.ids[-2:] == ["r1", "r2"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "does not take spans" in told[0]
    assert "takes spans again" in told[1]
    assert sending.count("dropped") == sending.count("refused") == 0


async def test_what_the_collector_refuses_for_good_is_counted_and_not_sent_again() -> None:
    sending = Sending(Target(400))
    sending.tracer.observe(settled(1))
    await sending.until(lambda: sending.count("refused") == 2)
    sending.tracer.observe(settled(2))
    await sending.until(lambda: sending.count("sent") == 2)
    await sending.close()
    assert sending.target.ids == ["r1", "r2"]


async def test_when_the_queue_is_full_the_newest_are_dropped_and_it_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(traces, "MOST_WAITING", 10)
    caplog.set_level(logging.WARNING)
    stalled = asyncio.Event()
    sending = Sending(Target(stalled))
    sending.tracer.observe(settled(0))
    await sending.until(lambda: len(sending.target.bodies) == 1)
    for number in range(1, 30):
        sending.tracer.observe(settled(number))
    assert sending.count("dropped") == 2 * 24
    assert ["come faster" in record.getMessage() for record in caplog.records] == [True]
    stalled.set()
    await sending.until(lambda: sending.count("sent") == 12)
    await sending.close()
    assert sending.target.ids == [f"r{number}" for number in range(6)]


async def test_the_end_waits_for_the_collector_no_longer_than_its_bound(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    sending = Sending(Target(asyncio.Event()))
    sending.tracer.observe(settled(1))
    sending.tracer.observe(settled(2))
    began = now()
    await sending.close()
    assert now() - began < 1.0
    assert sending.count("dropped") == 4
    assert "4 spans were not sent" in caplog.text


async def test_the_end_sends_what_waits() -> None:
    sending = Sending(Target())
    sending.tracer.observe(settled(1))
    await sending.close()
    assert (sending.count("sent"), sending.duty.done()) == (2, True)


async def test_a_fault_of_ours_costs_its_batch_and_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> bytes:
        raise ValueError("a fault")

    sending = Sending(Target())
    with monkeypatch.context() as broken:
        broken.setattr(traces, "encoded", fails)
        sending.tracer.observe(settled(1))
        await sending.until(lambda: sending.count("dropped") == 2)
    sending.tracer.observe(settled(2))
    await sending.until(lambda: sending.count("sent") == 2)
    await sending.close()
    assert "spans could not be sent" in caplog.text


async def test_a_trace_that_is_not_kept_costs_nothing_and_leaves_nothing() -> None:
    sending = Sending(Target())
    sending.tracer.observe(settled(1, NOT_SAMPLED))
    await sending.close()
    assert sending.target.bodies == []


def kept(sampler: Sampler, ratio: float, parent: str | None) -> int:
    """How many of 1,000 traces are kept."""
    is_kept = sampler_of(TracingSettings(sampler=sampler, ratio=ratio))
    return sum(is_kept(child_of(parent)) for _ in range(1000))


@pytest.mark.parametrize(
    ("sampler", "as_root", "under_a_kept_one", "under_another"),
    [
        ("always_on", 1000, 1000, 1000),
        ("always_off", 0, 0, 0),
        ("parentbased_always_on", 1000, 1000, 0),
        ("parentbased_always_off", 0, 1000, 0),
    ],
)
def test_samplers_do_what_their_names_say(
    sampler: Sampler, as_root: int, under_a_kept_one: int, under_another: int
) -> None:
    assert kept(sampler, 1.0, None) == as_root
    assert kept(sampler, 1.0, SAMPLED) == under_a_kept_one
    assert kept(sampler, 1.0, NOT_SAMPLED) == under_another


def test_a_ratio_keeps_that_part_and_the_same_traces_everywhere() -> None:
    assert 150 < kept("traceidratio", 0.25, None) < 350
    assert kept("parentbased_traceidratio", 0.25, SAMPLED) == 1000
    assert (kept("traceidratio", 0.0, None), kept("traceidratio", 1.0, None)) == (0, 1000)
    low, high = Trace("a" * 16 + "1" * 16, "b" * 16, "00"), Trace("a" * 16 + "f" * 16, "b" * 16, "00")
    is_kept = sampler_of(TracingSettings(sampler="traceidratio", ratio=0.5))
    assert (is_kept(low), is_kept(high)) == (True, False)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("http://a:4318/", "http://a:4318/v1/traces"),
        ("http://a:6006/v1/traces", "http://a:6006/v1/traces"),
        ("https://a/otlp", "https://a/otlp/v1/traces"),
        (None, ""),
    ],
)
def test_the_endpoint_is_completed(given: str | None, address: str) -> None:
    assert TracingSettings(endpoint=given).address == address
    assert TracingSettings(endpoint=given, enabled=False).address == ""


@pytest.mark.parametrize("value", ["a\r\nb: c", "é", "a\x00"])
def test_a_header_that_no_header_may_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="the header 'x'"):
        TracingSettings.model_validate({"headers": {"x": value}})


@pytest.mark.parametrize("flags", ["00", "01", "02", "03", "ff", "fe"])
def test_the_flag_of_a_trace_is_set_and_cleared_alone(flags: str) -> None:
    trace = Trace("a" * 32, "b" * 16, flags)
    assert trace.sampled(True).is_sampled
    assert not trace.sampled(False).is_sampled
    assert int(trace.sampled(True).flags, 16) | 1 == int(flags, 16) | 1
    assert (trace.child().parent, trace.child().flags) == (trace.span_id, flags)
