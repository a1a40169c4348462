"""Providers that do not speak OpenAI's API, through the LiteLLM SDK.

The SDK is imported on the first call, in a thread, for it takes seconds and hundreds of megabytes.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import orjson

from headgate.core import sse, surfaces
from headgate.core.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFault,
    UpstreamNotFound,
    UpstreamTimeout,
)
from headgate.core.events import Whole
from headgate.core.ports import Call, Health, Stream
from headgate.core.request import ModelRequest
from headgate.core.run import Attempt, now
from headgate.core.surfaces import Surface
from headgate.core.tokens import reported
from headgate.telemetry.redact import redact
from headgate.upstreams.frames import FrameRelay
from headgate.upstreams.refusals import refusal
from headgate.upstreams.types import UpstreamSettings

_FUNCTIONS: dict[Surface, str] = {
    surfaces.CHAT: "acompletion",
    surfaces.COMPLETIONS: "atext_completion",
    surfaces.EMBEDDINGS: "aembedding",
    surfaces.MODERATIONS: "amoderation",
    surfaces.RERANK: "arerank",
    surfaces.IMAGES: "aimage_generation",
}


class LiteLLMUpstream:
    """One account at a provider that the SDK knows as `litellm_provider`."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.name = settings.name
        self._prefix = f"{settings.litellm_provider}/" if settings.litellm_provider else ""
        self._timeouts = settings.timeouts
        self._options: dict[str, Any] = {"timeout": settings.timeouts.read, "num_retries": 0}
        if settings.api_key:
            self._options["api_key"] = settings.api_key.get_secret_value()
        if settings.base_url:
            self._options["api_base"] = settings.base_url
        if settings.api_version:
            self._options["api_version"] = settings.api_version
        self._sdk: Any = None

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        request = call.request
        function = await self._function(request.surface)
        fields = {**request.fields, **self._options, "model": self._prefix + call.model}
        fields["extra_headers"] = {**fields.get("extra_headers", {}), "traceparent": call.traceparent}
        if request.stream:
            fields["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
        try:
            async with asyncio.timeout(self._timeouts.total):
                answer = await function(**fields)
        except TimeoutError:
            raise UpstreamTimeout("The provider did not answer in time.") from None
        except Exception as fault:
            raise _refused(fault) from fault
        attempt.first_byte = now()
        if request.stream:
            relay = FrameRelay(request, attempt, hides_usage=not request.wants_usage)
            return await SdkStream(aiter(answer), relay).begin()
        return _whole(answer, request, attempt)

    async def _function(self, surface: Surface) -> Callable[..., Any]:
        name = _FUNCTIONS.get(surface)
        if name is None:
            raise UpstreamNotFound(f"Providers through the LiteLLM SDK have no {surface.name} here.")
        if self._sdk is None:
            try:
                self._sdk = await asyncio.to_thread(importlib.import_module, "litellm")
            except ImportError:
                raise UpstreamFault("The extra `litellm` is not installed: pip install 'headgate[litellm]'") from None
            self._sdk.telemetry = False
            self._sdk.suppress_debug_info = True
        function: Callable[..., Any] = getattr(self._sdk, name)
        return function

    async def models(self) -> list[str]:
        return []

    async def check(self) -> Health:
        return Health("up" if self._sdk else "unknown", None, "" if self._sdk else "the SDK loads on the first call")

    async def close(self) -> None:
        """The SDK keeps its own connections."""


class SdkStream:
    """The SDK's stream of objects as the server-sent events that the provider would have sent."""

    content_type = b"text/event-stream; charset=utf-8"
    events = True

    def __init__(self, chunks: AsyncIterator[Any], relay: FrameRelay) -> None:
        self._chunks = chunks
        self._relay = relay
        self._first = b""
        self._ended = False

    async def begin(self) -> Self:
        self._first = await self.next()
        if not self._first:
            raise UpstreamBroke("The provider's stream ended before its first event.")
        return self

    async def next(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        while not self._ended:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self._ended = True
                return self._relay.end()
            except Exception as fault:
                raise _refused(fault) from fault
            if frames := self._relay.feed(sse.event(orjson.dumps(chunk.model_dump(exclude_none=True)))):
                return frames
        return b""

    def close(self) -> None:
        self._ended = True


def _whole(answer: Any, request: ModelRequest, attempt: Attempt) -> Whole:
    fields = answer.model_dump() if hasattr(answer, "model_dump") else dict(answer)
    attempt.first_token = now()
    attempt.tokens = reported(fields.get("usage"))
    if "model" in fields:
        fields["model"] = request.model
    return Whole(orjson.dumps(fields, default=str))


def _refused(fault: Exception) -> UpstreamError:
    status = getattr(fault, "status_code", None)
    message = redact(str(getattr(fault, "message", "") or fault))
    if not isinstance(status, int) or status < 400:
        return UpstreamFault(f"The LiteLLM SDK failed: {message}")
    return refusal(status, {}, orjson.dumps({"error": {"message": message, "code": getattr(fault, "code", None)}}))
