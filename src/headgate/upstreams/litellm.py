"""Providers that do not speak OpenAI's API, through the LiteLLM SDK.

The SDK is imported on the first call, in a thread, for it takes seconds and hundreds of megabytes. Its functions take
options and a call's fields side by side, keys and addresses included; so only fields that are known pass.
"""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Self

import orjson

from headgate.core import sse, surfaces
from headgate.core.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFault,
    UpstreamNotFound,
    UpstreamRejected,
    UpstreamTimeout,
)
from headgate.core.events import Room, Sink, Whole
from headgate.core.ports import Call, Health, Stream
from headgate.core.request import Changes, ModelRequest
from headgate.core.run import Attempt, now
from headgate.core.surfaces import Surface
from headgate.core.tokens import reported
from headgate.telemetry.redact import redact
from headgate.upstreams.frames import FrameRelay
from headgate.upstreams.refusals import refusal
from headgate.upstreams.types import UpstreamSettings

_CLOSE_SECONDS = 2.0
_FUNCTIONS: dict[Surface, str] = {
    surfaces.CHAT: "acompletion",
    surfaces.COMPLETIONS: "atext_completion",
    surfaces.EMBEDDINGS: "aembedding",
    surfaces.MODERATIONS: "amoderation",
    surfaces.RERANK: "arerank",
    surfaces.IMAGES: "aimage_generation",
}


_PASSED = frozenset(
    """
    messages temperature top_p top_k n stream stream_options stop max_tokens max_completion_tokens presence_penalty
    frequency_penalty logit_bias user seed tools tool_choice parallel_tool_calls functions function_call
    response_format logprobs top_logprobs modalities audio prediction reasoning_effort thinking verbosity service_tier
    web_search_options safety_identifier prompt_cache_key prompt suffix echo best_of input dimensions encoding_format
    input_type query documents top_n rank_fields return_documents max_tokens_per_doc size quality style background
    output_format output_compression moderation
    """.split()  # noqa: SIM905 - sixty quoted names would read worse
)
_LEFT_OUT = frozenset(("model", "metadata", "store"))
"""Without meaning to the provider; the SDK would take `metadata` for its own."""


class LiteLLMUpstream:
    """One account at a provider that the SDK knows as `litellm_provider`."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.name = settings.name
        self.speaks = frozenset((surfaces.CHAT.dialect,))
        self._prefix = f"{settings.litellm_provider}/" if settings.litellm_provider else ""
        self._timeouts = settings.timeouts
        self._headers = settings.headers
        own = {"timeout": settings.timeouts.read, "num_retries": 0, "max_retries": 0}
        self._options: dict[str, Any] = {**settings.options, **own}
        if settings.api_key:
            self._options["api_key"] = settings.api_key.get_secret_value()
        if settings.base_url:
            self._options["api_base"] = settings.base_url
        if settings.api_version:
            self._options["api_version"] = settings.api_version
        self._sdk: Any = None
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        request = call.request
        function = await self._function(request.surface)
        fields = {**_passed(request.fields, call.changes), **self._options, "model": self._prefix + call.model}
        fields["extra_headers"] = {**self._headers, "x-request-id": call.run_id, "traceparent": call.traceparent}
        if call.tracestate:
            fields["extra_headers"]["tracestate"] = call.tracestate
        if request.surface is surfaces.CHAT:
            fields["_skip_mcp_handler"] = True  # else every call with tools needs the package `mcp`
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
            stream = SdkStream(aiter(answer), relay, self._closing)
            try:
                return await stream.begin()
            except BaseException:
                stream.close()
                raise
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
        """The SDK keeps its own connections; streams that were left are still to be cut."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_SECONDS)


class SdkStream:
    """The SDK's stream of objects as the server-sent events that the provider would have sent."""

    content_type = b"text/event-stream; charset=utf-8"
    events = True

    def __init__(self, chunks: AsyncIterator[Any], relay: FrameRelay, closing: set[asyncio.Task[None]]) -> None:
        self.before_end: Callable[[], None] | None = None
        self._chunks = chunks
        self._relay = relay
        self._closing = closing
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
                rest = self._relay.end()
                if self.before_end is not None:
                    self.before_end()
                return rest
            except Exception as fault:
                raise _refused(fault) from fault
            if frames := self._relay.feed(_events(chunk)):
                return frames
        return b""

    async def pour(self, sink: Sink, room: Room) -> None:
        """Push nothing: the SDK's objects have to be pulled."""

    def close(self) -> None:
        """Cut the provider's stream unless it ended; that takes a task of its own, kept until it is done."""
        if self._ended:
            return
        self._ended = True
        task = asyncio.get_running_loop().create_task(_cut(self._chunks))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _cut(chunks: Any) -> None:
    with contextlib.suppress(Exception):
        await chunks.aclose()


def _passed(given: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """The fields as changed. Only fields that a caller sent have to be known; the others are the operator's."""
    fields = {name: value for name, value in given.items() if name not in _LEFT_OUT and name not in changes.drop}
    for name in fields:
        if name not in _PASSED:
            message = f"The field '{name}' is not passed on to providers that are called through the LiteLLM SDK."
            raise UpstreamRejected(message, param=name)
    return fields | {name: value for name, value in changes.put.items() if name not in _LEFT_OUT}


def _events(chunk: Any) -> bytes:
    """A chunk as OpenAI sends it: the usage in an event of its own, which has no choices."""
    fields = chunk.model_dump(exclude_none=True)
    usage = fields.pop("usage", None)
    choices = [{"finish_reason": None, **choice} for choice in fields.get("choices", ())]
    events = []
    if not usage or any(choice.get("delta") or choice["finish_reason"] or choice.get("text") for choice in choices):
        events.append({**fields, "choices": choices})
    if usage:
        events.append({**fields, "choices": [], "usage": usage})
    return b"".join(sse.event(orjson.dumps(one, default=str)) for one in events)


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
    told = {"message": message, "code": getattr(fault, "code", None), "param": getattr(fault, "param", None)}
    sent = getattr(fault, "litellm_response_headers", None) or {}
    headers = {str(name).lower().encode(): str(value).encode() for name, value in sent.items()}
    return refusal(status, headers, orjson.dumps({"error": told}, default=str))
