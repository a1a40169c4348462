"""A settled run as a tree of spans: the request, and below it each call of an upstream. Knows no exporter.

Attributes follow two conventions at once: OpenTelemetry's for generative AI (`gen_ai.*`) and OpenInference's (`llm.*`),
which Phoenix shows. What neither has a name for is `headgate.*`. Nothing here holds text of a prompt or an answer.
"""

from collections.abc import Mapping
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
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "n": "choice.count",
}
_NANO = 1e9


class Content(NamedTuple):
    """What was asked and answered, to be made readable later. `answer` is the beginning of it, as it came."""

    route: str
    fields: Mapping[str, Any]
    answer: bytes
    size: int
    """Bytes that this holds, about."""
    is_cut: bool = False
    """There was more of the answer."""


class Span(NamedTuple):
    """One span. Times are nanoseconds since the epoch, `first_token` 0 if none came; `error` is a code, empty if none.

    `parent` is a span id, empty for a root; `is_remote` says that it is not of this process.
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
    told: str = ""
    first_token: int = 0
    content: Content | None = None


def spans_of(run: Run, epoch: float, providers: Mapping[str, str], *, content_bytes: int = 0) -> list[Span]:
    """The request's span, then one per attempt; none of what calls no model.

    `epoch` is what has to be added to a time of the run to have seconds since the epoch; `providers` are the kinds of
    the upstreams by name; `content_bytes` is how much of each answer was kept, 0 where content is not told at all.
    """
    if run.route not in _PATHS and not run.attempts:
        return []
    common = _common(run)
    trace = run.trace
    content = _content(run, content_bytes) if content_bytes else None
    root = Span(
        f"POST {_PATHS[run.route]}" if run.route in _PATHS else f"{run.route} {run.label}",
        SERVER if run.route in _PATHS else INTERNAL,
        trace.trace_id,
        trace.span_id,
        trace.parent,
        run.route in _PATHS,
        trace.state,
        _at(run.started, epoch),
        _at(run.ended, epoch),
        _of_request(run, common),
        *_failure(run.error),
        content=content,
    )
    last = len(run.attempts) - 1
    return [
        root,
        *(
            _call(run, number, epoch, _of_call(run, number, common, providers), content if number == last else None)
            for number in range(len(run.attempts))
        ),
    ]


def _call(run: Run, number: int, epoch: float, attributes: dict[str, Any], content: Content | None) -> Span:
    attempt, trace = run.attempts[number], run.trace
    error = attempt.error or (run.error if number == len(run.attempts) - 1 else None)
    return Span(
        f"{attributes['gen_ai.operation.name']} {attempt.model}",
        CLIENT,
        trace.trace_id,
        attempt.span,
        trace.span_id,
        False,
        trace.state,
        _at(attempt.started, epoch),
        _at(attempt.ended or run.ended, epoch),
        attributes,
        *_failure(error),
        _at(attempt.first_token, epoch) if attempt.first_token else 0,
        content,
    )


def _at(moment: float, epoch: float) -> int:
    return int((moment + epoch) * _NANO)


def _failure(error: HeadgateError | None) -> tuple[str, str]:
    """(code, what it means in general): a message may quote the request."""
    return (error.code, error.title) if error is not None else ("", "")


def _common(run: Run) -> dict[str, Any]:
    """What every span of a request says: whose it is and what it belongs to."""
    who = run.who
    component = "mirror" if run.mirror_of else run.component
    metadata = {"component": component, "tenant": who.tenant, "key_id": who.key_id}
    common: dict[str, Any] = {
        "headgate.component": component,
        "headgate.request_id": run.id,
        "headgate.tenant": who.tenant,
        "headgate.key_id": who.key_id,
        "metadata": orjson.dumps(metadata).decode(),
    }
    if who.user:
        common["user.id"] = who.user
    if run.wishes.session:
        common["session.id"] = common["gen_ai.conversation.id"] = run.wishes.session
    if run.wishes.tags or who.tags:
        common["tag.tags"] = sorted({*run.wishes.tags, *who.tags})
    if run.parent or run.mirror_of:
        common["headgate.parent_request_id"] = run.parent or run.mirror_of
    return common


def _of_request(run: Run, common: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        **common,
        "openinference.span.kind": "CHAIN",
        "headgate.model": run.model or "",
        "headgate.stream": run.stream,
        "headgate.outcome": run.outcome,
        "headgate.attempts": len(run.attempts),
    }
    if run.route in _PATHS:
        found["http.request.method"] = "POST"
        found["http.route"] = _PATHS[run.route]
        found["http.response.status_code"] = run.status
    if run.error is not None:
        found["error.type"] = run.error.code
    if run.strategy is not None:
        found["headgate.strategy"], found["headgate.strategy_source"] = run.strategy[:2]
    if run.passed_over:
        found["headgate.passed_over"] = [f"{name}={why}" for name, why in run.passed_over.items()]
    cost = run.cost
    if cost is not None:
        found["headgate.cost_nano_usd"] = cost
    return found


def _of_call(run: Run, number: int, common: Mapping[str, Any], providers: Mapping[str, str]) -> dict[str, Any]:
    attempt = run.attempts[number]
    kind = _KINDS.get(run.route, "LLM")
    provider = providers.get(attempt.upstream, attempt.upstream)
    found = {
        **common,
        "openinference.span.kind": kind,
        "gen_ai.operation.name": _OPERATIONS.get(run.route, run.route) if run.route in _PATHS else "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": attempt.model,
        "embedding.model_name" if kind == "EMBEDDING" else "llm.model_name": attempt.model,
        "llm.provider": provider,
        "headgate.target": attempt.target,
        "headgate.model": attempt.model_name,
        "headgate.attempt": number + 1,
        "headgate.reason": _reason(run, number),
    }
    if attempt.component:
        found["headgate.component"] = attempt.component
        found["metadata"] = orjson.dumps({**orjson.loads(common["metadata"]), "component": attempt.component}).decode()
    elif run.fields is not None:
        _add_parameters(found, run)
    if attempt.used is not None:
        _add_tokens(found, attempt.used)
        found["headgate.usage"] = attempt.measure
    if attempt.cost is not None:
        found["headgate.cost_nano_usd"] = attempt.cost
        found["llm.cost.total"] = attempt.cost / _NANO
    if attempt.first_token:
        found["gen_ai.response.time_to_first_chunk"] = attempt.first_token - attempt.started
    if attempt.chunks:
        found["headgate.chunks"] = attempt.chunks
    if attempt.dropped:
        found["headgate.dropped"] = list(attempt.dropped)
    if attempt.applied:
        found["headgate.applied"] = list(attempt.applied)
    error = attempt.error or (run.error if number == len(run.attempts) - 1 else None)
    if error is not None:
        found["error.type"] = error.code
    return found


def _reason(run: Run, number: int) -> str:
    """Why this call was made: first, turn (the one before was answered), retry (the same target), next_target, or
    fallback (another model).
    """
    if not number:
        return "first"
    attempt, before = run.attempts[number], run.attempts[number - 1]
    if before.error is None:
        return "turn"
    if attempt.model_name != before.model_name:
        return "fallback"
    return "retry" if attempt.target == before.target else "next_target"


def _add_parameters(found: dict[str, Any], run: Run) -> None:
    """Numbers only: other fields may hold text of the caller's."""
    fields = run.fields or {}
    given = {}
    for name in _PARAMETERS.keys() & fields.keys():
        value = fields[name]
        if type(value) in (int, float):
            given[name] = value
            found[f"gen_ai.request.{_PARAMETERS[name]}"] = value
    if run.stream:
        given["stream"] = found["gen_ai.request.stream"] = True
    if given:
        found["llm.invocation_parameters"] = orjson.dumps(given).decode()


def _add_tokens(found: dict[str, Any], tokens: Tokens) -> None:
    found["gen_ai.usage.input_tokens"] = found["llm.token_count.prompt"] = tokens.prompt
    found["gen_ai.usage.output_tokens"] = found["llm.token_count.completion"] = tokens.completion
    found["llm.token_count.total"] = tokens.prompt + tokens.completion
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
