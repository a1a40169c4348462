"""A settled run as a tree of spans: the request, and below it each call of an upstream. Knows no exporter.

Attributes follow two conventions at once: OpenTelemetry's for generative AI (`gen_ai.*`) and OpenInference's (`llm.*`),
which Phoenix shows. What neither has a name for is `headgate.*`. Nothing here holds text of a prompt or an answer.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from headgate.core.errors import HeadgateError
from headgate.core.run import Attempt, Run
from headgate.core.surfaces import SURFACES
from headgate.core.tokens import Tokens

INTERNAL, SERVER, CLIENT = 0, 1, 2
"""Kinds of spans, numbered as in OpenTelemetry's API."""
_PATHS = {surface.name: f"/v1{surface.path}" for surface in SURFACES}
_KINDS = {"embeddings": "EMBEDDING", "rerank": "RERANKER"}
_OPERATIONS = {"completions": "text_completion"}
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "openai_compatible": "openai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Names of providers that the conventions have another name for."""
_PARAMETERS = {
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "top_k": ("gen_ai.request.top_k", float),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "n": ("gen_ai.request.choice.count", int),
}
"""The attribute of a parameter and its type."""
_NANO = 1e9
_MOST_SHARED = 2048


class Content(NamedTuple):
    """What was asked and answered, to be made readable later. `answer` is the beginning of it, as it came."""

    route: str
    fields: Mapping[str, Any]
    answer: bytes
    size: int
    """Bytes that this holds, about."""
    is_cut: bool = False
    """There was more of the answer."""


class Shared:
    """Attributes that many spans have in common. There is one object of the same ones, so that what was made of them
    can be remembered by it.
    """

    __slots__ = ("attributes",)

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.attributes = attributes


class Span(NamedTuple):
    """One span. Times are nanoseconds since the epoch, `first_token` 0 if none came; `error` is empty if none was.

    `parent` is a span id, empty for a root; `is_remote` says that it is not of this process. `attributes` are those of
    its own, beside the `shared` ones; their values can be hashed.
    """

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent: str
    is_remote: bool
    state: str
    started: int
    ended: int
    attributes: dict[str, Any]
    error: str = ""
    first_token: int = 0
    content: Content | None = None
    shared: tuple[Shared, ...] = ()


def spans_of(run: Run, epoch: float, providers: Mapping[str, str], *, content_bytes: int = 0) -> list[Span]:
    """The request's span, then one per attempt; none of what calls no model.

    `epoch` is what has to be added to a time of the run to have seconds since the epoch; `providers` are the kinds of
    the upstreams by name; `content_bytes` is how much of each answer was kept, 0 where content is not told at all.
    """
    path, attempts = _PATHS.get(run.route), run.attempts
    if path is None and not attempts:
        return []
    who, (trace_id, span_id, _, parent, state) = run.who, run.trace
    whose = _whose("mirror" if run.mirror_of else run.component, who.tenant, who.key_id)
    common = _common(run)
    content = _content(run, content_bytes) if content_bytes else None
    told = run.error
    root = (
        f"{run.route} {run.label}" if path is None else f"POST {path}",
        INTERNAL if path is None else SERVER,
        trace_id,
        span_id,
        parent,
        path is not None,
        state,
        int((run.started + epoch) * _NANO),
        int((run.ended + epoch) * _NANO),
        _of_request(run, common),
        "" if told is None else _told(told),
        0,
        content,
        (whose, _request(path, run.model or "", run.stream, run.outcome, len(attempts), run.status)),
    )
    spans = [Span._make(root)]
    for number, attempt in enumerate(attempts, 1):
        is_last = number == len(attempts)
        error = attempt.error or (told if is_last else None)
        attributes = _of_call(run, attempt, common)
        of_part = _whose(attempt.component, who.tenant, who.key_id) if attempt.component else whose
        if error is not None:
            attributes["error.type"] = error.code
        provider = providers.get(attempt.upstream, attempt.upstream)
        name, call = _call(run.route, provider, attempt.model, attempt.target, attempt.model_name)
        below = (
            name,
            CLIENT,
            trace_id,
            attempt.span,
            span_id,
            False,
            state,
            int((attempt.started + epoch) * _NANO),
            int(((attempt.ended or run.ended) + epoch) * _NANO),
            attributes,
            "" if error is None else _told(error),
            int((attempt.first_token + epoch) * _NANO) if attempt.first_token else 0,
            content if is_last else None,
            (of_part, call, _turn(number, "first" if number == 1 else _reason(attempts[number - 2], attempt))),
        )
        spans.append(Span._make(below))
    return spans


def _told(error: HeadgateError) -> str:
    """Its code, and what it means in general: a message may quote the request."""
    return f"{error.code}: {error.title}"


@lru_cache(_MOST_SHARED)
def _whose(component: str, tenant: str, key_id: str) -> Shared:
    metadata = {"component": component, "tenant": tenant, "key_id": key_id}
    return Shared(
        {
            "headgate.component": component,
            "headgate.tenant": tenant,
            "headgate.key_id": key_id,
            "metadata": orjson.dumps(metadata).decode(),
        }
    )


@lru_cache(_MOST_SHARED)
def _request(path: str | None, model: str, stream: bool, outcome: str, attempts: int, status: int) -> Shared:
    found: dict[str, Any] = {
        "openinference.span.kind": "CHAIN",
        "headgate.model": model,
        "headgate.stream": stream,
        "headgate.outcome": outcome,
        "headgate.attempts": attempts,
    }
    if path is not None:
        found["http.request.method"] = "POST"
        found["http.route"] = path
        found["http.response.status_code"] = status
    return Shared(found)


@lru_cache(_MOST_SHARED)
def _call(route: str, provider: str, model: str, target: str, model_name: str) -> tuple[str, Shared]:
    """The name of a call's span, and what it says of where the call went."""
    kind = _KINDS.get(route, "LLM")
    operation = _OPERATIONS.get(route, route) if route in _PATHS else "chat"
    return f"{operation} {model}", Shared(
        {
            "openinference.span.kind": kind,
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
            "gen_ai.request.model": model,
            "embedding.model_name" if kind == "EMBEDDING" else "llm.model_name": model,
            "llm.provider": provider,
            "headgate.target": target,
            "headgate.model": model_name,
        }
    )


@lru_cache(_MOST_SHARED)
def _turn(number: int, reason: str) -> Shared:
    return Shared({"headgate.attempt": number, "headgate.reason": reason})


def _common(run: Run) -> dict[str, Any]:
    """What every span of this one request says, besides whose it is."""
    common: dict[str, Any] = {"headgate.request_id": run.id}
    who, wishes = run.who, run.wishes
    if who.user:
        common["user.id"] = who.user
    if wishes.session:
        common["session.id"] = common["gen_ai.conversation.id"] = wishes.session
    if wishes.tags or who.tags:
        common["tag.tags"] = tuple(sorted({*wishes.tags, *who.tags}))
    if run.parent or run.mirror_of:
        common["headgate.parent_request_id"] = run.parent or run.mirror_of
    return common


def _of_request(run: Run, common: Mapping[str, Any]) -> dict[str, Any]:
    found = {**common}
    if run.error is not None:
        found["error.type"] = run.error.code
    if run.strategy is not None:
        found["headgate.strategy"], found["headgate.strategy_source"] = run.strategy[:2]
    if run.passages:
        found["headgate.passages"] = tuple(one.id for one in run.passages)
    if run.passed_over:
        found["headgate.passed_over"] = tuple(f"{name}={why}" for name, why in run.passed_over.items())
    cost = run.cost
    if cost is not None:
        found["headgate.cost_nano_usd"] = cost
    return found


def _of_call(run: Run, attempt: Attempt, common: Mapping[str, Any]) -> dict[str, Any]:
    found = {**common}
    if run.fields is not None and not attempt.component:
        _add_parameters(found, run.fields, run.stream)
    used, cost = attempt.used, attempt.cost
    if used is not None:
        _add_tokens(found, used)
        found["headgate.usage"] = attempt.measure
    if cost is not None:
        found["headgate.cost_nano_usd"] = cost
        found["llm.cost.total"] = cost / _NANO
    if attempt.first_token:
        found["gen_ai.response.time_to_first_chunk"] = attempt.first_token - attempt.started
    if attempt.chunks:
        found["headgate.chunks"] = attempt.chunks
    if attempt.dropped:
        found["headgate.dropped"] = attempt.dropped
    if attempt.applied:
        found["headgate.applied"] = attempt.applied
    return found


def _reason(before: Attempt, attempt: Attempt) -> str:
    """Why a further call was made: turn (the one before was answered), retry (the same target), next_target, or
    fallback (another model).
    """
    if before.error is None:
        return "turn"
    if attempt.model_name != before.model_name:
        return "fallback"
    return "retry" if attempt.target == before.target else "next_target"


def _add_parameters(found: dict[str, Any], fields: Mapping[str, Any], stream: bool) -> None:
    """Numbers only: other fields may hold text of the caller's."""
    given = {}
    for name, value in fields.items():
        if name in _PARAMETERS and type(value) in (int, float):
            given[name] = value
            attribute, kind = _PARAMETERS[name]
            found[attribute] = kind(value)
    if stream:
        given["stream"] = found["gen_ai.request.stream"] = True
    if given:
        found["llm.invocation_parameters"] = orjson.dumps(given).decode()


def _add_tokens(found: dict[str, Any], tokens: Tokens) -> None:
    prompt, completion, *kinds = tokens
    found["gen_ai.usage.input_tokens"] = found["llm.token_count.prompt"] = prompt
    found["gen_ai.usage.output_tokens"] = found["llm.token_count.completion"] = completion
    found["llm.token_count.total"] = prompt + completion
    if any(kinds):
        _add_kinds(found, tokens)


def _add_kinds(found: dict[str, Any], tokens: Tokens) -> None:
    if tokens.cached:
        found["gen_ai.usage.cache_read.input_tokens"] = tokens.cached
        found["llm.token_count.prompt_details.cache_read"] = tokens.cached
    if tokens.cache_write:
        found["gen_ai.usage.cache_creation.input_tokens"] = tokens.cache_write
        found["llm.token_count.prompt_details.cache_write"] = tokens.cache_write
    if tokens.reasoning:
        found["gen_ai.usage.reasoning.output_tokens"] = tokens.reasoning
        found["llm.token_count.completion_details.reasoning"] = tokens.reasoning
    if tokens.prompt_audio:
        found["llm.token_count.prompt_details.audio"] = tokens.prompt_audio
    if tokens.completion_audio:
        found["llm.token_count.completion_details.audio"] = tokens.completion_audio


def _content(run: Run, most: int) -> Content | None:
    if run.fields is None:
        return None
    last: Attempt | None = run.attempts[-1] if run.attempts else None
    answer = bytes(last.answer) if last is not None and last.answer else b""
    return Content(run.route, run.fields, answer, run.bytes_in + len(answer), len(answer) >= most)
