"""A trace collector: takes spans over OTLP/HTTP and reads them with the official definitions."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.harness.stub import BOUND, Answer, Stub

TAKEN = Answer(body=b"", content_type="application/x-protobuf")


@dataclass(frozen=True)
class SeenSpan:
    """A span as a collector shows it. Times are seconds since the epoch; ids are hexadecimal, `parent` may be empty."""

    name: str
    trace: str
    id: str
    parent: str
    kind: str
    failed: bool
    told: str
    started: float
    ended: float
    attributes: dict[str, Any]
    events: tuple[str, ...] = ()
    state: str = ""
    resource: str = ""


class Collector:
    """A stub that takes what is posted to it; `stub.answer(...)` makes it do otherwise."""

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        stub.otherwise = lambda _: TAKEN

    @property
    def url(self) -> str:
        return self.stub.url.removesuffix("/v1")

    @property
    def spans(self) -> list[SeenSpan]:
        """All that came in requests, taken or not, in the order in which it came."""
        return [span for request in self.stub.calls for span in spans_in(request.body)]

    async def wait_for(self, count: int) -> list[SeenSpan]:
        """The spans, once there are so many; bounded."""
        async with asyncio.timeout(BOUND):
            while len(self.spans) < count:
                await asyncio.sleep(0.01)
        return self.spans


@asynccontextmanager
async def running_collector() -> AsyncIterator[Collector]:
    async with Stub() as stub:
        yield Collector(stub)


def spans_in(body: bytes) -> Iterable[SeenSpan]:
    """The spans of one export request."""
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {pair.key: _plain(pair.value) for pair in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _seen(span, str(resource["service.name"]))


def _seen(span: Span, service: str) -> SeenSpan:
    attributes = {pair.key: _plain(pair.value) for pair in span.attributes}
    return SeenSpan(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        attributes["openinference.span.kind"],
        span.status.code == Status.STATUS_CODE_ERROR,
        span.status.message,
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
        attributes,
        tuple(event.name for event in span.events),
        span.trace_state,
        service,
    )


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None
    return [_plain(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def roots(spans: Iterable[SeenSpan]) -> list[SeenSpan]:
    """The spans that stand for requests."""
    return [span for span in spans if span.kind == "CHAIN"]


def calls_below(root: SeenSpan, spans: Iterable[SeenSpan]) -> list[SeenSpan]:
    """The calls of one request, in the order in which they were made."""
    found = [span for span in spans if span.parent == root.id and span.trace == root.trace]
    return sorted(found, key=lambda span: int(span.attributes["headgate.attempt"]))
