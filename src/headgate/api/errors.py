"""Errors on the wire: the one place that turns an error into status, headers and body, and lists them all."""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from headgate.api.limits import Headers, standing_headers
from headgate.core import sse
from headgate.core.catalogue import catalogue
from headgate.core.errors import HeadgateError, LimitReached, UpstreamRejected
from headgate.core.run import Run
from headgate.core.state_errors import ConversationArchived
from headgate.core.version import __version__
from headgate.dialects.table import CALLERS

_LITELLM_TYPES = {
    "missing_authorization": "auth_error",
    "invalid_authorization": "token_not_found_in_db",
    "key_not_found": "token_not_found_in_db",
    "key_expired": "expired_key",
    "key_blocked": "auth_error",
    "forbidden": "auth_error",
    "model_forbidden": "key_model_access_denied",
    "budget_exceeded": "budget_exceeded",
    "rate_limit_exceeded": "throttling_error",
    "database_unavailable": "no_db_connection",
    "user_not_found": "not_found_error",
    "tenant_not_found": "not_found_error",
}
"""What LiteLLM's clients know our errors by."""
_BUSY, _OVERLOADED = 503, 529
"""Anthropic's clients know it by a status of its own."""


def envelope(error: HeadgateError, request_id: str, *, litellm: bool = False) -> dict[str, Any]:
    """OpenAI's error object. A refusal keeps the provider's own `type` and `code`, for clients switch on them.

    With `litellm`, the type is the one that LiteLLM has for it.
    """
    told = error.told if isinstance(error, UpstreamRejected) else None
    own = told or {}
    kind = _LITELLM_TYPES.get(error.code, error.type) if litellm else error.type
    return {
        "error": {
            "message": error.message,
            "type": own["type"] if isinstance(own.get("type"), str) else kind,
            "param": error.param,
            "code": own["code"] if isinstance(own.get("code"), str) else error.code,
            "request_id": request_id,
        }
    }


def error_response(
    error: HeadgateError, request_id: str, *, litellm: bool = False, dialect: str = ""
) -> tuple[int, Headers, bytes]:
    """(status, headers, body). `x-headgate-error` carries the code of the catalogue, whatever the body says."""
    told: Mapping[str, Any] = envelope(error, request_id, litellm=litellm)
    if dialect:
        told = CALLERS[dialect].refused(error.status, told["error"])
    status = _OVERLOADED if dialect == "messages" and error.status == _BUSY else error.status
    body = orjson.dumps(told)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
        (b"x-headgate-error", error.code.encode()),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    if isinstance(error, ConversationArchived) and error.location:
        headers.append((b"location", error.location.encode()))
    if error.should_retry is False:
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, LimitReached) and error.standing is not None:
        headers += standing_headers(error.standing, dialect)
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if dialect == "messages":
        headers.append((b"request-id", request_id.encode()))
    return status, headers, body


def locate(error: HeadgateError, path: str) -> None:
    """Tell where an archived segment of a conversation goes on: the same path with the conversation's id."""
    if isinstance(error, ConversationArchived) and error.member in path:
        error.location = quote(path.replace(error.member, error.successor))


def broken_off(error: HeadgateError, run: Run, *, litellm: bool = False) -> bytes:
    """An error in the middle of a run's stream: its last events. No end marker follows them."""
    told = envelope(error, run.id, litellm=litellm)
    if run.breaks_off is not None:
        return run.breaks_off(error.status, told["error"])
    return CALLERS[run.dialect].broken(error.status, told["error"]) if run.dialect else sse.event(orjson.dumps(told))


def listing() -> dict[str, Any]:
    """All errors with a code, as `GET /errors` gives them."""
    entries = [
        {
            "code": kind.code,
            "type": kind.type,
            "http_status": kind.status,
            "title": kind.title,
            "description": (kind.__doc__ or kind.title).strip(),
            "remediation": kind.remedy,
            "typical_param": kind.typical_param,
        }
        for kind in catalogue()
    ]
    return {"version": __version__, "count": len(entries), "entries": entries}
