"""An upstream that speaks OpenAI's API: builds the call, tells a stream from a whole answer, relays either."""

from time import perf_counter
from urllib.parse import quote

import orjson

from headgate.core import splice
from headgate.core.errors import StartupError, UpstreamError, UpstreamFault, UpstreamGarbled
from headgate.core.events import Whole
from headgate.core.ports import Call, Health, Stream
from headgate.core.request import ModelRequest
from headgate.core.run import Attempt, now
from headgate.core.surfaces import COMPACTION, COUNT_TOKENS, MESSAGES, RESPONSES, Surface
from headgate.core.tokens import reported
from headgate.core.version import __version__
from headgate.dialects.messages_signed import may_hold_unsigned
from headgate.upstreams import messages
from headgate.upstreams.frames import FrameRelay
from headgate.upstreams.http import Origin, Response, Wire
from headgate.upstreams.messages import MessagesRelay
from headgate.upstreams.refusals import refusal, told_inside
from headgate.upstreams.registry import Provider
from headgate.upstreams.responses_frames import ResponsesRelay
from headgate.upstreams.streams import EventStream, PieceStream, Relay
from headgate.upstreams.types import TimeoutSettings, UpstreamSettings

_CHECK_TIMEOUTS = TimeoutSettings(connect=2, read=3, write=3, total=4)
_LARGEST_REFUSAL = 1 << 20
_LARGEST_PARSED = 128 << 10
_MOST_HEADS = 1000
_IN_MESSAGES = frozenset((MESSAGES, COUNT_TOKENS))


class OpenAIUpstream:
    """One provider account. `base_url` is what stands before `/chat/completions`."""

    def __init__(self, settings: UpstreamSettings, provider: Provider, wire: Wire) -> None:
        self.name = settings.name
        self.speaks = _with_compaction(frozenset(settings.speaks) or _spoken(provider, settings.base_url))
        self._provider = provider
        self._timeouts = settings.timeouts
        self._origin = Origin(settings.base_url or provider.base_url or "", wire, settings.proxy)
        self._api_version = settings.api_version
        self._fixed = _fixed_headers(settings, provider, self._origin.authority)
        self._fixed_messages = _fixed_headers(settings, provider, self._origin.authority, in_messages=True)
        self._heads: dict[tuple[Surface, str], bytes] = {}

    async def open(self, call: Call, attempt: Attempt) -> Whole | Stream:
        request = call.request
        surface = request.surface
        asks_usage = request.stream and surface.reports_usage and self._provider.usage_in_streams
        content_type, body = request.body_for(call.model, ask_usage=asks_usage, changes=call.changes)
        head = b"%bcontent-type: %b\r\nx-request-id: %b\r\ntraceparent: %b\r\n" % (
            self._head_for(surface, call.model),
            content_type,
            call.run_id.encode(),
            call.traceparent.encode(),
        )
        if request.surface in _IN_MESSAGES:
            if self._provider.is_anthropic and may_hold_unsigned(body):
                body = messages.only_signed(body, attempt)
            head += messages.version_line(self._fixed_messages, call.headers)
        if call.headers:
            head += call.headers
        if call.tracestate:
            head += b"tracestate: %b\r\n" % call.tracestate.encode()
        response = await self._origin.send(head, body, self._timeouts)
        attempt.first_byte = now()
        try:
            answer = await _read(response, request, attempt)
        except BaseException:
            response.close()
            raise
        if type(answer) is Whole:
            response.close()
        return answer

    async def models(self) -> list[str]:
        if not self._provider.lists_models:
            return []
        response = await self._origin.send(self._asking_models, b"", _CHECK_TIMEOUTS)
        try:
            body = await response.read()
            if response.status >= 300:
                raise refusal(response.status, response.headers, body)
        finally:
            response.close()
        try:
            listed = orjson.loads(body)["data"]
            return [str(entry["id"]).removeprefix("models/") for entry in listed]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise UpstreamGarbled("The provider's list of models could not be read.") from None

    async def check(self) -> Health:
        """Any answer below 500 proves that the provider is there; what it says about the key is told as detail."""
        started = perf_counter()
        try:
            response = await self._origin.send(self._asking_models, b"", _CHECK_TIMEOUTS)
        except UpstreamError as error:
            return Health("down", None, error.code)
        response.close()
        latency = round((perf_counter() - started) * 1000, 1)
        if response.status in (401, 403):
            return Health("up", latency, "upstream_key_refused")
        return Health(
            "up" if response.status < 500 else "down", latency, "" if response.status < 500 else "upstream_fault"
        )

    async def close(self) -> None:
        self._origin.close()

    def _head_for(self, surface: Surface, model: str) -> bytes:
        """Request line and fixed headers. Azure's dated API names the model in the path."""
        key = (surface, model if self._api_version else "")
        head = self._heads.get(key)
        if head is None:
            path = surface.path
            if self._api_version:  # Responses are not of one deployment
                place = (
                    "/openai" if surface in (RESPONSES, COMPACTION) else f"/openai/deployments/{quote(model, safe='')}"
                )
                path = f"{place}{surface.path}"
            if len(self._heads) >= _MOST_HEADS:  # callers may invent deployments where all are offered
                self._heads.clear()
            head = self._heads[key] = self._request_line("POST", path, in_messages=surface in _IN_MESSAGES)
        return head

    def _request_line(self, method: str, path: str, *, in_messages: bool = False) -> bytes:
        version = f"?api-version={self._api_version}" if self._api_version else ""
        fixed = self._fixed_messages if in_messages else self._fixed
        return f"{method} {self._origin.path}{path}{version} HTTP/1.1\r\n".encode("latin-1") + fixed

    @property
    def _asking_models(self) -> bytes:
        """Request line and headers; Anthropic gives a page of twenty unless told otherwise."""
        if MESSAGES.dialect not in self.speaks or not self._provider.is_anthropic:
            return self._request_line("GET", "/models")
        head = self._request_line("GET", "/models?limit=1000", in_messages=True)
        return head + messages.version_line(self._fixed_messages, b"")


def _spoken(provider: Provider, base_url: str | None) -> frozenset[str]:
    """Behind another address stands another server, which may not take all that the provider's own does."""
    at_home = base_url is None or base_url.rstrip("/") == provider.base_url
    return provider.speaks | provider.speaks_at_home if at_home else provider.speaks


def _with_compaction(speaks: frozenset[str]) -> frozenset[str]:
    """Who takes Responses makes compactions of its own, which nobody else can read."""
    return speaks | {COMPACTION.dialect} if RESPONSES.dialect in speaks else speaks


def _fixed_headers(
    settings: UpstreamSettings, provider: Provider, authority: str, *, in_messages: bool = False
) -> bytes:
    headers = {"host": authority, "user-agent": f"headgate/{__version__}", "accept-encoding": "identity"}
    if settings.api_key:
        key = settings.api_key.get_secret_value()
        if in_messages and not provider.key_header:
            headers |= messages.key_headers(key, is_anthropic=provider.is_anthropic)
        else:
            headers[provider.key_header or "authorization"] = key if provider.key_header else f"Bearer {key}"
    headers |= {name.lower(): value for name, value in settings.headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if lines.count("\n") != len(headers):
        raise StartupError(f"A header or the key of upstream '{settings.name}' holds a line break.")
    return lines.encode("latin-1")


async def _read(response: Response, request: ModelRequest, attempt: Attempt) -> Whole | Stream:
    """Tell by status and content type what came, and whether it is what was asked for."""
    if response.status >= 300:
        raise await _refused(response)
    is_stream = response.content_type.startswith(b"text/event-stream")
    if request.surface.obeys_stream and is_stream is not request.stream:
        asked = "a stream" if request.stream else "JSON"
        raise UpstreamGarbled(f"The provider answered with {_kind(response)} where {asked} was asked.")
    if is_stream:
        return await EventStream(response, _relay_for(request, attempt)).begin()
    if response.content_type.startswith(b"application/json"):
        return Whole(_renamed(await response.read(), request, attempt))
    if not request.surface.may_be_binary:
        raise UpstreamGarbled(f"The provider answered with {_kind(response)} where JSON was asked.")
    return await PieceStream(response, attempt).begin()


def _relay_for(request: ModelRequest, attempt: Attempt) -> Relay:
    if request.surface is RESPONSES:
        return ResponsesRelay(request, attempt)
    if request.surface is MESSAGES:
        return MessagesRelay(request, attempt)
    return FrameRelay(request, attempt, hides_usage=not request.wants_usage)


async def _refused(response: Response) -> UpstreamError:
    """What a failed answer means. Its status counts also when its body is too large or breaks off."""
    try:
        body = await response.read(_LARGEST_REFUSAL)
    except UpstreamError:
        body = b""
    return refusal(response.status, response.headers, body)


def _renamed(body: bytes, request: ModelRequest, attempt: Attempt) -> bytes:
    """The answer with the caller's name for the model; notes the usage. Raises UpstreamGarbled for no JSON."""
    attempt.first_token = now()
    if len(body) > _LARGEST_PARSED:
        return _renamed_large(body, request, attempt)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if type(parsed) is not dict:
        if type(parsed) is not list:
            raise UpstreamGarbled("The provider's answer is not JSON.")
        return body
    error = parsed.get("error")
    if error and "choices" not in parsed and "data" not in parsed:
        raise told_inside(parsed, UpstreamFault)
    attempt.tokens = reported(parsed.get("usage"))
    named = parsed.get("model")
    if named is None or named == request.model:
        return body
    at = splice.locate(body, "model")
    if at is None:
        return body
    start, end = at
    return body[:start] + orjson.dumps(request.model) + body[end:]


def _renamed_large(body: bytes, request: ModelRequest, attempt: Attempt) -> bytes:
    """For large answers (embeddings, images): only the members that matter are parsed."""
    if not (body.lstrip()[:1] == b"{" and body.rstrip()[-1:] == b"}"):
        raise UpstreamGarbled("The provider's answer is not a JSON object.")
    try:
        found = {member.key: member for member in splice.members(body)}
        usage = found.get("usage")
        if usage:
            attempt.tokens = reported(orjson.loads(body[usage.start : usage.end]))
    except (ValueError, IndexError):
        raise UpstreamGarbled("The provider's answer is not JSON.") from None
    named = found.get("model")
    if named is None:
        return body
    return splice.apply(body, [(named.start, named.end, orjson.dumps(request.model))])


def _kind(response: Response) -> str:
    return response.content_type.partition(b";")[0].decode("latin-1") or "no content type"
