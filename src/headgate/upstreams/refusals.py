"""What a provider's failed answer means: status and body become one of our errors, told apart by status first."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from headgate.core.errors import (
    UpstreamContentPolicy,
    UpstreamContextWindow,
    UpstreamError,
    UpstreamFault,
    UpstreamForbidden,
    UpstreamGarbled,
    UpstreamKeyRefused,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from headgate.telemetry.redact import redact

_LONGEST_MESSAGE = 2000
_BY_STATUS: dict[int, type[UpstreamError]] = {
    401: UpstreamKeyRefused,
    403: UpstreamForbidden,
    404: UpstreamNotFound,
    408: UpstreamTimeout,
    429: UpstreamRateLimited,
    502: UpstreamUnavailable,
    503: UpstreamUnavailable,
    504: UpstreamTimeout,
    529: UpstreamUnavailable,
}
_KEPT_STATUS = frozenset((400, 402, 405, 406, 409, 410, 413, 415, 422))
_MEANINGS: tuple[tuple[type[UpstreamError], re.Pattern[str]], ...] = (
    (
        UpstreamContextWindow,
        re.compile(
            r"context_length_exceeded|context_window_exceeded|exceed_context_size_error|string_above_max_length"
            r"|maximum context length|context (?:length|window|size)[^.]{0,60}exceed"
            r"|exceed\w*[^.]{0,60}context (?:length|window|size)|prompt is too long|input is too long"
            r"|input token count[^.]{0,60}exceeds",
            re.IGNORECASE,
        ),
    ),
    (
        UpstreamContentPolicy,
        re.compile(
            r"content_policy_violation|content_filter|ResponsibleAIPolicyViolation|content management policy"
            r"|rejected as a result of our safety system|violat\w+ (?:our |the )?(?:content|usage) polic",
            re.IGNORECASE,
        ),
    ),
)


def refusal(status: int, headers: Mapping[bytes, bytes], body: bytes) -> UpstreamError:
    """The error for an answer with a status of 300 or above."""
    if status < 400:
        return UpstreamGarbled(f"The provider answered with a redirect (status {status}), which is not followed.")
    told = _told(body)
    kind = _BY_STATUS.get(status) or (_rejection(told, body) if status < 500 else UpstreamFault)
    param = told.get("param")
    return kind(
        _message(status, told, body),
        param=param if isinstance(param, str) else None,
        retry_after=_retry_after(headers) if status in (429, 503, 529) else None,
        told=told,
        status=status if status in _KEPT_STATUS else None,
    )


def _rejection(told: Mapping[str, Any], body: bytes) -> type[UpstreamError]:
    """Which refusal of a request it is; providers differ in code and type, so the words count too."""
    message = told.get("message") or body[:_LONGEST_MESSAGE].decode("utf-8", "replace")
    words = f"{told.get('code')} {told.get('type')} {message}"
    return next((kind for kind, meaning in _MEANINGS if meaning.search(words)), UpstreamRejected)


def told_inside(answer: Mapping[str, Any], otherwise: type[UpstreamError]) -> UpstreamError:
    """The error for an error object inside an answer that began as a good one; `otherwise` when it names no status."""
    error = answer.get("error") or answer
    told = _redacted(error) if isinstance(error, dict) else {"message": redact(str(error))}
    code = str(told.get("code") or told.get("status"))
    status = int(code) if len(code) == 3 and code.isdecimal() else 0
    kind = _BY_STATUS.get(status) or _by_hundred(status, told) or otherwise
    message = str(told.get("message") or "The provider reported an error inside its answer.")
    return kind(message, told=told)


def _by_hundred(status: int, told: Mapping[str, Any]) -> type[UpstreamError] | None:
    if status // 100 == 4:
        return _rejection(told, b"")
    return UpstreamFault if status // 100 == 5 else None


def _told(body: bytes) -> dict[str, Any]:
    """The provider's error object, whatever envelope it came in; empty when there is none."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return {}
    error = parsed.get("error", parsed)
    if isinstance(error, str):
        return {"message": redact(error)}
    if not isinstance(error, dict):
        return {}
    if "message" not in error and isinstance(error.get("detail"), str):
        return {"message": redact(error["detail"])}
    return _redacted(error)


def _redacted(error: dict[str, Any]) -> dict[str, Any]:
    return {key: redact(value) if isinstance(value, str) else value for key, value in error.items()}


def _message(status: int, told: Mapping[str, Any], body: bytes) -> str:
    message = told.get("message")
    if isinstance(message, str) and message:
        return message[:_LONGEST_MESSAGE]
    text = re.sub(r"(?:<[^>]+>|\s)+", " ", body[:_LONGEST_MESSAGE].decode("utf-8", "replace")).strip()
    return f"The provider answered with status {status}." + (f" It said: {redact(text)[:200]}" if text else "")


def _retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after`; dates are left alone, providers do not send them."""
    for name, scale in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, b"")) * scale
        except ValueError:
            continue
        if 0 <= seconds <= 86_400:
            return seconds
    return None
