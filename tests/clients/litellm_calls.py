"""The calls that go to both proxies: what LiteLLM's documents show with curl, and what its clients send."""

from dataclasses import dataclass, field
from typing import Any

KEY = "sk-side-by-side-master-0001"
HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
OF_LITELLM = {"cache": {"no-cache": True}, "guardrails": [], "litellm_metadata": {"a": "b"}, "no-log": True}
STATUSES = (400, 401, 403, 404, 422, 429, 500, 503, 504)


@dataclass(frozen=True)
class Call:
    """One request over plain HTTP. `bearer`: the key, None to send none."""

    name: str
    body: Any = None
    path: str = "/v1/chat/completions"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    bearer: str | None = KEY


@dataclass(frozen=True)
class SdkCall:
    """One call with an SDK: the function by its dotted name, its arguments, and what the client is made with."""

    name: str
    function: str
    fields: dict[str, Any]
    client: dict[str, Any] = field(default_factory=dict)


def chat(name: str, model: str = "plain", *, path: str = "/v1/chat/completions", **more: Any) -> Call:
    """A chat; `headers` and `bearer` are the call's, all else goes into its body."""
    headers, bearer = more.pop("headers", {}), more.pop("bearer", Call.bearer)
    return Call(name, {"model": model, "messages": HI, **more}, path, headers=headers, bearer=bearer)


def get(name: str, path: str, *, bearer: str | None = Call.bearer) -> Call:
    return Call(name, None, path, "GET", bearer=bearer)


CHATS = (
    chat("chat"),
    chat("chat-without-v1", path="/chat/completions"),
    chat("chat-azure-path", path="/openai/deployments/plain/chat/completions"),
    chat("chat-engines-path", path="/engines/plain/chat/completions"),
    chat("chat-api-key-header", headers={"x-litellm-api-key": Call.bearer or ""}, bearer=None),
    chat("chat-x-api-key-header", headers={"x-api-key": Call.bearer or ""}, bearer=None),
    chat("chat-azure-key-header", headers={"api-key": Call.bearer or ""}, bearer=None),
    chat("chat-user", user="user-1"),
    chat("chat-fields", temperature=0.5, top_p=0.5, seed=7, n=1, stop=["x"], max_tokens=9, presence_penalty=0.5),
    chat("chat-json-mode", response_format={"type": "json_object"}),
    chat("chat-unknown-field", top_k=4, of_ours={"a": [1]}),
    chat("chat-metadata", metadata={"team": "blue"}),
    Call("chat-litellm-fields", {**OF_LITELLM, "model": "plain", "messages": HI}),
    chat("chat-null-fields", temperature=None, stop=None),
    chat("chat-tools", tools=[TOOL], tool_choice="auto"),
    chat("chat-session", headers={"x-litellm-session-id": "s-1"}, litellm_session_id="s-1", litellm_trace_id="t-1"),
    chat("chat-defaults", "priced", seed=7, max_tokens=5),
    chat("chat-own-temperature", "priced", temperature=1),
    chat("chat-unsupported", "reasoner", temperature=0.5, max_tokens=5, reasoning_effort="low"),
    chat("chat-mock", "told"),
    chat("chat-wildcard", "any/good"),
    chat("chat-wildcard-deep", "any/maker/model-1"),
    chat("chat-wildcard-sdk-name", "sdk-names/openai/gpt-4o"),
    chat("chat-alias", "other-name"),
    chat("chat-alias-hidden", "hidden-name"),
    chat("chat-alias-shown", "shown-name"),
    chat("chat-weighted", "weighted"),
)
STREAMS = (
    chat("stream", stream=True),
    chat("stream-without-v1", path="/chat/completions", stream=True),
    chat("stream-usage", stream=True, stream_options={"include_usage": True}),
    chat("stream-tools", stream=True, tools=[TOOL]),
    chat("stream-mock", "told", stream=True),
    chat("stream-alias", "other-name", stream=True),
    chat("stream-wildcard", "any/good", stream=True),
    chat("stream-fallback", "backed-up-stream", stream=True),
    chat("stream-cut", "cut", stream=True, num_retries=0, disable_fallbacks=True),
    chat("stream-refused", "fails-400", stream=True),
    chat("stream-down", "stream-503", stream=True),
)
OTHERS = (
    Call("embeddings", {"model": "embed", "input": ["Hi"]}, "/v1/embeddings"),
    Call("embeddings-without-v1", {"model": "embed", "input": "Hi", "user": "u"}, "/embeddings"),
    Call("embeddings-base64", {"model": "embed", "input": "Hi", "encoding_format": "base64"}, "/v1/embeddings"),
    Call("embeddings-down", {"model": "embed-503", "input": "Hi"}, "/v1/embeddings"),
    Call("embeddings-no-input", {"model": "embed"}, "/v1/embeddings"),
)
MISTAKES = (
    chat("no-key", bearer=None),
    chat("wrong-key", bearer="sk-some-other-key-00001"),
    chat("odd-key", bearer="not-a-key-of-ours"),
    chat("unknown-model", "nothing-like-it"),
    Call("no-model", {"messages": HI}),
    Call("no-messages", {"model": "plain"}),
    Call("empty-messages", {"model": "plain", "messages": []}),
    Call("null-messages", {"model": "plain", "messages": None}),
    Call("text-messages", {"model": "plain", "messages": "Hi"}),
    Call("broken-json", b'{"model": "plain", "messages": ['),
    Call("empty-body", b""),
    Call("list-body", b"[]"),
    get("wrong-method", "/v1/chat/completions"),
    get("unknown-route", "/v1/nothing"),
    get("list-no-key", "/v1/models", bearer=None),
    get("list-wrong-key", "/v1/models", bearer="sk-some-other-key-00001"),
)
FAILURES = (
    *(chat(f"fails-{status}", f"fails-{status}") for status in STATUSES),
    *(chat(f"fails-{status}-once", f"once-{status}", num_retries=0) for status in (429, 500, 503)),
    chat("fails-gone", "gone"),
    chat("fails-flaky", "flaky"),
    chat("fails-flaky-once", "flaky-once", num_retries=0),
    chat("fails-in-time", "impatient"),
    chat("fails-too-long", "short-alone"),
    chat("fails-filtered", "strict-alone"),
)
ROUTING = (
    chat("order", "ordered"),
    *(
        chat(f"half-{what}{again}", f"half-{what}")
        for what in (401, 404, 429, 503, "in-time")
        for again in ("", "-again")
    ),
    chat("fallback", "backed-up"),
    chat("fallback-twice", "backed-up-twice"),
    chat("fallback-by-alias", "backed-up-by-alias"),
    chat("fallback-of-refused", "refusing"),
    chat("fallback-of-locked", "locked"),
    chat("fallback-disabled", "backed-up-not", disable_fallbacks=True),
    chat("fallback-of-caller", "callers", fallbacks=["plain"]),
    chat("fallback-of-caller-unknown", "callers-2", fallbacks=["nothing-like-it"]),
    chat("fallback-no-retries", "backed-up-once", num_retries=0),
    chat("context-window", "short"),
    chat("content-policy", "strict"),
    chat("retries-in-header", "retries-1", headers={"x-litellm-num-retries": "2"}),
    chat("no-retries-in-header", "retries-2", headers={"x-litellm-num-retries": "0"}),
    chat("retries-in-body", "retries-3", num_retries=2),
    chat("timeout-in-header", "patient", headers={"x-litellm-timeout": "0.2"}),
    chat("timeout-in-body", "patient", timeout=0.2),
    chat("stream-timeout-in-header", "patient", stream=True, headers={"x-litellm-stream-timeout": "0.2"}),
    chat("timeout-enough", "patient", headers={"x-litellm-timeout": "9"}),
    chat("odd-timeout", headers={"x-litellm-timeout": "soon"}),
    chat("odd-retries", headers={"x-litellm-num-retries": "many"}),
    chat("tags-in-header", "tagged", headers={"x-litellm-tags": "paid"}),
    chat("tags-in-header-two", "tagged", headers={"x-litellm-tags": "paid, other"}),
    chat("tags-in-metadata", "tagged", metadata={"tags": ["free"]}),
    chat("tags-in-body", "tagged", tags=["free"]),
    chat("tags-unknown", "tagged", headers={"x-litellm-tags": "other"}),
    chat("tags-none", "tagged"),
    chat("tags-none-half-tagged", "half-tagged"),
    chat("tags-none-default", "tagged-default"),
    chat("tags-unknown-default", "tagged-default", headers={"x-litellm-tags": "other"}),
    chat("tags-for-untagged", headers={"x-litellm-tags": "paid"}),
)
LISTS = (
    get("models", "/v1/models"),
    get("models-without-v1", "/models"),
    get("model", "/v1/models/plain"),
    get("model-unknown", "/v1/models/nothing-like-it"),
    get("model-info", "/model/info"),
    get("model-info-v1", "/v1/model/info"),
    get("model-info-one", "/model/info?litellm_model_id=plain-1"),
    get("model-info-unknown", "/model/info?litellm_model_id=nothing"),
    get("model-info-no-key", "/model/info", bearer=None),
    get("groups", "/model_group/info"),
    get("group", "/model_group/info?model_group=plain"),
    get("alive", "/health/liveliness", bearer=None),
    get("alive-2", "/health/liveness", bearer=None),
    get("ready", "/health/readiness", bearer=None),
)
CALLS = {
    "chats": CHATS,
    "streams": STREAMS,
    "others": OTHERS,
    "mistakes": MISTAKES,
    "failures": FAILURES,
    "routing": ROUTING,
    "lists": LISTS,
}


def _openai(name: str, model: str = "plain", function: str = "chat.completions.create", **fields: Any) -> SdkCall:
    client = fields.pop("client", {})
    return SdkCall(f"openai-{name}", function, {"model": model, "messages": HI, **fields}, client)


def _litellm(name: str, model: str = "plain", **fields: Any) -> SdkCall:
    return SdkCall(f"litellm-{name}", "completion", {"model": f"litellm_proxy/{model}", "messages": HI, **fields})


SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}}}
OPENAI_CALLS = (
    _openai("chat", user="user-1", seed=7),
    _openai("chat-extra-body", extra_body={"num_retries": 0, "metadata": {"tags": []}}),
    _openai("chat-tools", tools=[TOOL]),
    _openai("chat-schema", response_format=SCHEMA),
    _openai("stream", stream=True),
    _openai("stream-usage", stream=True, stream_options={"include_usage": True}),
    _openai("stream-tools", stream=True, tools=[TOOL]),
    _openai("stream-cut", "cut", stream=True, extra_body={"num_retries": 0}),
    _openai("stream-down", "stream-503", stream=True),
    SdkCall("openai-embeddings", "embeddings.create", {"model": "embed", "input": ["Hi"]}),
    SdkCall("openai-models", "models.list", {}),
    SdkCall("openai-model", "models.retrieve", {"model": "plain"}),
    _openai("unknown-model", "nothing-like-it"),
    _openai("wrong-key", client={"api_key": "sk-some-other-key-00001"}),
    _openai("in-time", "impatient"),
    _openai("fallback", "backed-up-openai"),
    _openai("too-long", "short-alone"),
    *(_openai(f"fails-{status}", f"fails-{status}", extra_body={"num_retries": 0}) for status in STATUSES),
)
LITELLM_CALLS = (
    _litellm("chat", user="user-1", seed=7),
    _litellm("chat-metadata", "tagged-default", metadata={"tags": ["paid"]}),
    _litellm("chat-extra-body", "tagged", extra_body={"metadata": {"tags": ["paid"]}}),
    _litellm("chat-tools", tools=[TOOL]),
    _litellm("stream", stream=True),
    _litellm("stream-usage", stream=True, stream_options={"include_usage": True}),
    _litellm("alias", "other-name"),
    _litellm("wildcard", "any/good"),
    _litellm("fallback", "backed-up-litellm"),
    SdkCall("litellm-embeddings", "embedding", {"model": "litellm_proxy/embed", "input": ["Hi"]}),
    _litellm("unknown-model", "nothing-like-it"),
    _litellm("wrong-key", api_key="sk-some-other-key-00001"),
    _litellm("in-time", "impatient"),
    _litellm("too-long", "short-alone"),
    _litellm("filtered", "strict-alone"),
    *(_litellm(f"fails-{status}", f"fails-{status}", extra_body={"num_retries": 0}) for status in STATUSES),
)
