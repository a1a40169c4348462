"""Errors on the wire: the one place that turns an error into status, headers and body, and lists them all."""

import math
from typing import Any

import orjson

from headgate.api.limits import Headers, standing_headers
from headgate.core import sse
from headgate.core.errors import HeadgateError, LimitReached, UpstreamRejected, catalogue
from headgate.core.version import __version__


def envelope(error: HeadgateError, request_id: str) -> dict[str, Any]:
    """OpenAI's error object. A refusal keeps the provider's own `type` and `code`, for clients switch on them."""
    told = error.told if isinstance(error, UpstreamRejected) else None
    own = told or {}
    return {
        "error": {
            "message": error.message,
            "type": own["type"] if isinstance(own.get("type"), str) else error.type,
            "param": error.param,
            "code": own["code"] if isinstance(own.get("code"), str) else error.code,
            "request_id": request_id,
        }
    }


def error_response(error: HeadgateError, request_id: str) -> tuple[int, Headers, bytes]:
    """(status, headers, body). `x-headgate-error` carries the code of the catalogue, whatever the body says."""
    body = orjson.dumps(envelope(error, request_id))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
        (b"x-headgate-error", error.code.encode()),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    if error.should_retry is False:
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, LimitReached) and error.standing is not None:
        headers += standing_headers(error.standing)
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return error.status, headers, body


def error_event(error: HeadgateError, request_id: str) -> bytes:
    """An error in the middle of a chat stream: one event with the envelope; no end marker follows it."""
    return sse.event(orjson.dumps(envelope(error, request_id)))


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
