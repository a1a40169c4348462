"""The one tree of errors: what went wrong, in words a caller can act on. Knows no wire form.

    HeadgateError
    ├── RequestError                 the caller can mend it (4xx)
    │   ├── Unauthenticated          missing or wrong key
    │   ├── Forbidden                a good key, but not for this
    │   ├── Conflict                 it does not go with what is there
    │   ├── NotFound                 no such route, model or object
    │   ├── Unreadable               bytes that are not a request: HTTP, JSON, form, size
    │   ├── Invalid                  a request with a wrong field or header
    │   └── LimitReached             more than the caller is allowed per minute, at once or for the money
    ├── UpstreamError                a provider failed, refused or broke off
    │   ├── UpstreamRejected         it read the request and said no; another try would not help
    │   └── UpstreamFailed           it did not answer well; another try may help
    ├── Unavailable                  this gateway cannot serve now (draining, full)
    └── InternalError                a fault of ours

Every leaf has a stable `code`; codes are never reused. Errors are raised anywhere and rendered only at the edges.
"""

from collections.abc import Mapping
from typing import ClassVar

from headgate.core.bounds import Refusal, Standing


class HeadgateError(Exception):
    """An error with a stable code. `param` names the field at fault, `retry_after` is in seconds."""

    code: ClassVar[str] = ""
    status: int = 500
    type: ClassVar[str] = "internal_error"
    title: ClassVar[str] = ""
    remedy: ClassVar[str] = ""
    typical_param: ClassVar[str | None] = None
    should_retry: ClassVar[bool | None] = None
    """False: clients that repeat failed calls by themselves are told not to."""

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class RequestError(HeadgateError):
    status = 400
    type = "invalid_request_error"


class Unauthenticated(RequestError):
    status = 401
    type = "authentication_error"


class MissingAuthorization(Unauthenticated):
    code = "missing_authorization"
    title = "No key was sent"
    remedy = "Send the key as `Authorization: Bearer KEY`, `x-api-key: KEY` or `api-key: KEY`."


class InvalidAuthorization(Unauthenticated):
    code = "invalid_authorization"
    title = "The key is not known here"
    remedy = "Check the key. The master key lies in the data directory, in the file `master.key`."


class KeyExpired(Unauthenticated):
    code = "key_expired"
    title = "The key has expired"
    remedy = "Use another key, or have this one's `expires_at` moved."


class KeyBlocked(Unauthenticated):
    code = "key_blocked"
    title = "The key, its user or its tenant is blocked"
    remedy = "Ask whoever gave out the key; `POST /admin/keys/{id}/unblock` opens it again."


class Forbidden(RequestError):
    status = 403
    type = "permission_error"


class ScopeMissing(Forbidden):
    code = "forbidden"
    title = "The key lacks the scope that this needs"
    remedy = "Use a key with the scope named in the message, or the master key."


class ModelForbidden(Forbidden):
    code = "model_forbidden"
    title = "The key, or its tenant, may not use this model"
    remedy = "Pick a name from `GET /v1/models`, which lists what this key may use."
    typical_param = "model"


class ModelUnpriced(Forbidden):
    code = "model_unpriced"
    title = "What the model costs is not known, and such calls are refused here"
    remedy = "Give the model a `price`, or turn `usage.refuse_unpriced` off."
    typical_param = "model"


class UserForbidden(Forbidden):
    code = "user_forbidden"
    title = "The key belongs to another user than the one named"
    remedy = "Leave the header `X-User-Id` out, name the key's own user, or use a key that belongs to no user."
    typical_param = "x-user-id"


class Conflict(RequestError):
    status = 409
    type = "conflict"


class AlreadyExists(Conflict):
    code = "already_exists"
    title = "There is one of this name already"
    remedy = "Choose another name, or change the one that is there."
    typical_param = "alias"


class NotChangeable(Conflict):
    code = "not_changeable"
    title = "The object is in a state in which this cannot be done"
    remedy = "The message says why: it stands in the configuration file, is revoked, or is still in use."


class RunCancelled(Conflict):
    code = "run_cancelled"
    should_retry = False
    title = "The run was cancelled while it was running"
    remedy = "Somebody stopped it with `POST /v1/runs/{id}/cancel`; send the request again if it is still wanted."


class RunNotRunning(Conflict):
    code = "run_not_running"
    should_retry = False
    title = "The run has ended already"
    remedy = "Nothing is left to cancel; `GET /v1/runs/{id}` shows how it ended."


class IdempotencyKeyReused(Conflict):
    code = "idempotency_key_reused"
    should_retry = False
    title = "The `Idempotency-Key` was used for another request"
    remedy = "Send a new key with a new request; repeat a request with the same bytes and headers."
    typical_param = "idempotency-key"


class AnswerNotKept(Conflict):
    code = "answer_not_kept"
    should_retry = False
    title = "The request was answered before, but its answer was too large to be kept"
    remedy = "Send a new `Idempotency-Key` to have it answered anew, or raise `idempotency.max_answer_bytes`."
    typical_param = "idempotency-key"


class NotFound(RequestError):
    status = 404
    type = "not_found"


class RouteNotFound(NotFound):
    code = "route_not_found"
    title = "No such route"
    remedy = "Check the path; `GET /` lists where things are."


class MethodNotAllowed(NotFound):
    code = "method_not_allowed"
    status = 405
    title = "The route exists, but not for this method"
    remedy = "Use one of the methods named in the `allow` header."


class ModelNotFound(NotFound):
    code = "model_not_found"
    title = "No model of this name is offered"
    remedy = "Pick a name from `GET /v1/models`."
    typical_param = "model"


class KeyNotFound(NotFound):
    code = "key_not_found"
    title = "No such key"
    remedy = "List them with `GET /admin/keys`."


class TenantNotFound(NotFound):
    code = "tenant_not_found"
    title = "No such tenant"
    remedy = "List them with `GET /admin/tenants`."


class RunNotFound(NotFound):
    code = "run_not_found"
    title = "No such run, or it is somebody else's"
    remedy = "List them with `GET /v1/runs`. Requests that were refused before any upstream was called are not kept."


class UserNotFound(NotFound):
    code = "user_not_found"
    title = "There is no such user among those the key may see"
    remedy = "Look the id up in `GET /user/list`."


class Unreadable(RequestError):
    pass


class InvalidHttp(Unreadable):
    code = "invalid_http"
    title = "The bytes are not an HTTP/1.1 request"
    remedy = "Send a well-formed HTTP/1.1 request."


class HeadersTooLarge(Unreadable):
    code = "headers_too_large"
    status = 431
    title = "The request line and headers exceed the limit"
    remedy = "Send fewer or shorter headers, or raise `server.limits.headers`."


class BodyTooLarge(Unreadable):
    code = "body_too_large"
    status = 413
    title = "The request body exceeds the limit"
    remedy = "Send a smaller body, or raise `server.limits.body`."


class BodyTimeout(Unreadable):
    code = "body_timeout"
    status = 408
    title = "The request body did not arrive in time"
    remedy = "Send the body without long pauses, or raise `server.limits.body_seconds`."


class UnsupportedEncoding(Unreadable):
    code = "unsupported_encoding"
    status = 415
    title = "The request body is compressed or of a type this route does not read"
    remedy = "Send plain JSON (`content-type: application/json`); routes for files take `multipart/form-data`."


class InvalidJson(Unreadable):
    code = "invalid_json"
    title = "The body is not a JSON object"
    remedy = "Send one JSON object (RFC 8259) in UTF-8 without a byte order mark."


class JsonTooDeep(Unreadable):
    code = "json_too_deep"
    title = "The JSON is nested deeper than 1,024 levels"
    remedy = "Flatten the body."


class JsonTooComplex(Unreadable):
    code = "json_too_complex"
    status = 413
    title = "The JSON holds more than 500,000 arrays and objects"
    remedy = "Send less at once; reading it would hold up everybody else."


class InvalidForm(Unreadable):
    code = "invalid_form"
    title = "The body is not a readable multipart form"
    remedy = "Send `multipart/form-data` with a boundary and a `model` field before the file."


class Invalid(RequestError):
    pass


class MissingField(Invalid):
    code = "missing_field"
    title = "A required field is missing"
    remedy = "Add the field named in `param`."
    typical_param = "messages"


class InvalidField(Invalid):
    code = "invalid_field"
    title = "A field has the wrong type or value"
    remedy = "Mend the field named in `param`."
    typical_param = "temperature"


class NotForAgents(Invalid):
    code = "not_for_agents"
    title = "An agent cannot be called this way"
    remedy = "Agents answer chat completions; name a model for anything else."
    typical_param = "model"


class DuplicateField(Invalid):
    code = "duplicate_field"
    title = "A field occurs twice in the JSON object"
    remedy = "Send the field named in `param` once; readers disagree on which of two counts."
    typical_param = "model"


class ImageUrlNotSupported(Invalid):
    code = "image_url_not_supported"
    title = "The model does not take images"
    remedy = "Send text only, or pick a model whose constraints accept `image_url` parts."
    typical_param = "messages[0].content[1]"


class InvalidHeader(Invalid):
    code = "invalid_header"
    title = "A header has a value that cannot be used"
    remedy = "Mend the header named in `param`."
    typical_param = "x-headgate-timeout"


class UserRequired(Invalid):
    code = "user_required"
    title = "Calls have to say for which end user they are"
    remedy = "Send the header `X-User-Id` with 1 to 256 printable characters, or use a key that belongs to a user."
    typical_param = "x-user-id"


class TenantConfigKeyUnknown(Invalid):
    code = "tenant_config_key_unknown"
    title = "There is no tenant setting of this name"
    remedy = "Use one of the names in the message; `GET /v1/tenant/config` lists them."
    typical_param = "reasoning_effort"


class TenantConfigKeyReadonly(Invalid):
    code = "tenant_config_key_readonly"
    title = "The tenant setting cannot be changed at run time"
    remedy = "Have the operator set it where the message says; `GET /v1/tenant/config` shows what is writable."
    typical_param = "markup"


class TenantConfigLoosens(Invalid):
    code = "tenant_config_loosens"
    title = "The tenant setting may be made stricter at run time, not looser"
    remedy = "Stay within what the message names, or have the operator change it in the configuration."
    typical_param = "requests_per_minute"


class NoTargetForTags(Invalid):
    code = "no_target_for_tags"
    title = "No target of the model carries one of the request's tags"
    remedy = "Send other tags, or none; or give a target these `tags`."
    typical_param = "x-headgate-tags"


class LimitReached(RequestError):
    """`standing`: what is left of the limits per minute. `refusal`: which limit it was."""

    status = 429
    type = "rate_limit_exceeded"
    standing: Standing | None = None
    refusal: Refusal | None = None


class RateLimited(LimitReached):
    code = "rate_limit_exceeded"
    title = "More requests, tokens or streams than are allowed"
    remedy = "Wait for `retry-after`, or ask the operator to raise the limit that the message names."


class BudgetExceeded(LimitReached):
    code = "budget_exceeded"
    type = "budget_exceeded"
    should_retry = False
    title = "The budget does not cover this request"
    remedy = "Ask the operator to raise the budget that the message names, or wait for its next period."


class UpstreamError(HeadgateError):
    """`told` is the provider's own error object, already redacted.

    `retryable`: the same target may do better on another try. `elsewhere`: another target may. `counts`: it speaks
    against the target's health.
    """

    type = "upstream_error"
    status = 502
    retryable: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    counts: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        told: Mapping[str, object] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after=retry_after)
        self.told = told
        if status is not None:
            self.status = status


class UpstreamRejected(UpstreamError):
    code = "upstream_rejected"
    status = 400
    type = "invalid_request_error"
    title = "The provider refused the request"
    remedy = "Read the provider's message; the request itself has to change."


class UpstreamContextWindow(UpstreamRejected):
    code = "upstream_context_window"
    elsewhere = True
    title = "The prompt is longer than the model's context window"
    remedy = "Send less, or set `context_window_fallbacks` for the model."


class UpstreamContentPolicy(UpstreamRejected):
    code = "upstream_content_policy"
    title = "The provider's content policy refused the request"
    remedy = "Change the request, or set `content_policy_fallbacks` for the model."


class UpstreamNotFound(UpstreamRejected):
    code = "upstream_not_found"
    status = 404
    elsewhere = True
    title = "The provider does not know this model or route"
    remedy = "Check the target's model id, or whether this provider has this kind of API."


class UpstreamKeyRefused(UpstreamError):
    code = "upstream_key_refused"
    elsewhere = True
    counts = True
    title = "The provider refused the gateway's own key"
    remedy = "The operator has to set a valid key for this upstream."


class UpstreamForbidden(UpstreamError):
    code = "upstream_forbidden"
    elsewhere = True
    title = "The provider does not allow the gateway's account this call"
    remedy = "The operator has to give the account access to the model, or the model another target."


class UpstreamFailed(UpstreamError):
    retryable = True
    elsewhere = True
    counts = True


class UpstreamRateLimited(UpstreamFailed):
    code = "upstream_rate_limited"
    status = 429
    type = "rate_limit_exceeded"
    title = "The provider limits the rate"
    remedy = "Wait for `retry-after`, or give the model another target."


class UpstreamUnreachable(UpstreamFailed):
    code = "upstream_unreachable"
    title = "No connection to the provider"
    remedy = "Check the upstream's address and that it runs; `GET /readyz` shows each upstream."


class UpstreamTimeout(UpstreamFailed):
    code = "upstream_timeout"
    status = 504
    title = "The provider did not answer in time"
    remedy = "Try again, or raise the upstream's `timeouts`."


class UpstreamUnavailable(UpstreamFailed):
    code = "upstream_unavailable"
    status = 503
    title = "The provider says it is overloaded or down"
    remedy = "Try again later, or give the model another target."


class UpstreamFault(UpstreamFailed):
    code = "upstream_fault"
    title = "The provider answered with an internal error"
    remedy = "Try again, or give the model another target."


class UpstreamGarbled(UpstreamFailed):
    code = "upstream_garbled"
    title = "The provider's answer could not be read"
    remedy = "Check that the base URL belongs to an OpenAI-compatible API."


class UpstreamBroke(UpstreamFailed):
    code = "upstream_broke_off"
    title = "The provider broke off in the middle of its answer"
    remedy = "Try again; what had arrived before was passed on."


class ModelLoading(UpstreamFailed):
    code = "model_loading"
    status = 503
    type = "unavailable"
    title = "The local model is still loading"
    remedy = "Wait for `retry-after`; `GET /readyz` shows when it is ready."


class ModelCrashed(UpstreamFailed):
    code = "local_model_failed"
    status = 503
    type = "unavailable"
    title = "The local model's process ended"
    remedy = "It is started again by itself; the log says why it ended."


class Unavailable(HeadgateError):
    status = 503
    type = "unavailable"


class Draining(Unavailable):
    code = "draining"
    title = "This process is shutting down"
    remedy = "Try again; another process will answer."


class ToolLoopLimit(HeadgateError):
    code = "tool_loop_limit"
    status = 508
    type = "agent_error"
    title = "The agent met a bound of its tool loop, and its model would not answer without tools"
    remedy = "Raise the agent's `bounds`, or mend its prompt: the message names the bound."
    should_retry = False


class Overloaded(Unavailable):
    code = "overloaded"
    title = "Too many requests are in flight"
    remedy = "Try again after `retry-after`, or raise `server.limits.in_flight`."


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    title = "The database cannot be read or written now"
    remedy = "Try again after `retry-after`; the log and `GET /readyz` say what is wrong with it."


class LedgerUnavailable(Unavailable):
    code = "ledger_unavailable"
    title = "What the call costs could not be written now, and such calls are refused here"
    remedy = "Try again after `retry-after`; `GET /readyz` says what is wrong. See the setting `usage.if_unwritable`."


class TargetsBusy(Unavailable):
    code = "targets_busy"
    status = 429
    type = "rate_limit_exceeded"
    title = "Every target of the model is at its configured limits"
    remedy = "Wait for `retry-after`, raise the targets' `limits`, or add a target."


class LimitsUnavailable(Unavailable):
    code = "limits_unavailable"
    title = "What was used so far cannot be looked up"
    remedy = "Try again; the operator has to see that the shared counters can be reached and have room."


class InternalError(HeadgateError):
    code = "internal_error"
    title = "A fault of the gateway itself"
    remedy = "Report it with the request id; the log holds the traceback."


class StartupError(HeadgateError):
    """The gateway cannot start as configured. Shown by the command line, never sent to a caller."""
