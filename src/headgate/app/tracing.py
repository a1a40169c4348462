"""Traces, put together when a collector is configured: what samples, what observes, what sends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from headgate.api.gate import Gate
from headgate.config.tree import Settings
from headgate.core.errors import UpstreamTimeout
from headgate.core.version import __version__
from headgate.telemetry.redact import conceal
from headgate.telemetry.traces import Tracer
from headgate.telemetry.types import TracingSettings, sampler_of
from headgate.upstreams.http import Origin, Wire
from headgate.upstreams.types import TimeoutSettings

__all__ = ["traced"]
_MOST_KEPT = 256 << 10
"""Bytes of an answer that are kept for its trace."""
_LARGEST_REPLY = 1 << 20


@contextlib.asynccontextmanager
async def traced(settings: Settings, gate: Gate, wire: Wire) -> AsyncIterator[None]:
    """Traces of all that goes through the gate; nothing at all without a collector's address."""
    tracing = settings.tracing
    if not tracing.address:
        yield
        return
    for secret in tracing.headers.values():
        conceal(secret.get_secret_value())
    content_bytes = _MOST_KEPT if tracing.content == "full" else 0
    origin = Origin(tracing.address, wire, tracing.proxy)
    providers = {one.name: one.litellm_provider or one.provider for one in settings.upstreams}
    name = tracing.service_name
    resource = {"service.name": name, "service.version": __version__, "openinference.project.name": name}
    resource |= tracing.resource
    tracer = Tracer(_post_to(origin, tracing), gate.metrics, providers, resource, content_bytes=content_bytes)
    gate.samples = sampler_of(tracing)
    gate.deps.keeps_answers = content_bytes
    gate.deps.observers.several.append(tracer.observe)
    duty = asyncio.get_running_loop().create_task(tracer.keep_sending())
    try:
        yield
    finally:
        await tracer.close(duty)
        origin.close()


def _post_to(origin: Origin, tracing: TracingSettings) -> Callable[[bytes], Awaitable[int]]:
    headers = {
        "host": origin.authority,
        "user-agent": f"headgate/{__version__}",
        "content-type": "application/x-protobuf",
        **{name.lower(): value.get_secret_value() for name, value in tracing.headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {origin.path} HTTP/1.1\r\n{lines}".encode("latin-1")
    seconds = tracing.timeout
    timeouts = TimeoutSettings(connect=seconds, read=seconds, write=seconds, total=seconds)

    async def post(body: bytes) -> int:
        try:
            async with asyncio.timeout(seconds):
                response = await origin.send(head, body, timeouts)
                try:
                    await response.read(_LARGEST_REPLY)
                finally:
                    response.close()
                return response.status
        except TimeoutError:
            raise UpstreamTimeout(f"it did not answer within {seconds:g} seconds") from None

    return post
