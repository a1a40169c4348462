"""What a provider's failed answer means, by status first, and that no key of anyone is repeated."""

import json
from typing import Any

import pytest

from headgate.api.errors import envelope
from headgate.core.errors import UpstreamBroke, UpstreamError, UpstreamRejected
from headgate.upstreams.refusals import refusal, told_inside
from tests.conftest import settings_for
from tests.harness.gateway import running_gateway
from tests.harness.stub import Answer, Stub, stream
from tests.requirements import covers

pytestmark = covers("18")

BY_STATUS = {
    400: ("upstream_rejected", 400, False),
    401: ("upstream_key_refused", 502, False),
    402: ("upstream_rejected", 402, False),
    403: ("upstream_forbidden", 502, False),
    404: ("upstream_not_found", 404, False),
    405: ("upstream_rejected", 405, False),
    408: ("upstream_timeout", 504, True),
    409: ("upstream_rejected", 409, False),
    413: ("upstream_rejected", 413, False),
    418: ("upstream_rejected", 400, False),
    422: ("upstream_rejected", 422, False),
    429: ("upstream_rate_limited", 429, True),
    451: ("upstream_rejected", 400, False),
    500: ("upstream_fault", 502, True),
    501: ("upstream_fault", 502, True),
    502: ("upstream_unavailable", 503, True),
    503: ("upstream_unavailable", 503, True),
    504: ("upstream_timeout", 504, True),
    520: ("upstream_fault", 502, True),
    529: ("upstream_unavailable", 503, True),
}
ENVELOPES: list[tuple[Any, str]] = [
    ({"error": {"message": "why"}}, "why"),
    ({"error": "why"}, "why"),
    ({"message": "why"}, "why"),
    ({"detail": "why"}, "why"),
    ([{"error": {"message": "why", "code": 400, "status": "INVALID_ARGUMENT"}}], "why"),
    ({"type": "error", "error": {"type": "invalid_request_error", "message": "why"}}, "why"),
    ({"error": {"message": ""}}, "The provider answered with status 400."),
    ({"error": None}, "The provider answered with status 400."),
    ({"error": {"message": {"deep": "why"}}}, "The provider answered with status 400."),
    ([], "The provider answered with status 400."),
    (5, "The provider answered with status 400."),
]


@pytest.mark.parametrize("status", BY_STATUS)
def test_a_status_means(status: int) -> None:
    error = refusal(status, {}, b"{}")
    assert (error.code, error.status, error.retryable) == BY_STATUS[status]


@pytest.mark.parametrize(("body", "message"), ENVELOPES)
def test_the_reason_is_found_in_any_envelope(body: Any, message: str) -> None:
    assert refusal(400, {}, json.dumps(body).encode()).message.startswith(message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The provider answered with status 502."),
        (b"<html><body><h1>502 Bad\n Gateway</h1></body></html>", "It said: 502 Bad Gateway"),
        (b"plain text", "It said: plain text"),
        (b"\xff\xfe\x00", "The provider answered with status 502."),
        (b"[" * 100_000, "The provider answered with status 502."),
    ],
)
def test_a_body_that_is_no_json_is_told_in_short(body: bytes, message: str) -> None:
    error = refusal(502, {}, body)
    assert message in error.message
    assert len(error.message) < 300


def test_a_long_reason_is_cut() -> None:
    assert len(refusal(400, {}, json.dumps({"error": {"message": "x" * 10_000}}).encode()).message) == 2000


@pytest.mark.parametrize(
    ("chunk", "code"),
    [
        ({"error": {"message": "no", "code": 429}}, "upstream_rate_limited"),
        ({"error": {"message": "no", "code": "503"}}, "upstream_unavailable"),
        ({"error": {"message": "no", "status": 400}}, "upstream_rejected"),
        ({"error": {"message": "no", "code": "context_length_exceeded"}}, "upstream_broke_off"),
        ({"error": "no"}, "upstream_broke_off"),
        ({"error": ["no"]}, "upstream_broke_off"),
        ({"error": {}}, "upstream_broke_off"),
        ({"error": {"message": None, "code": "²"}}, "upstream_broke_off"),
        ({"error": {"message": None, "code": "4" * 5000}}, "upstream_broke_off"),
    ],
)
def test_an_error_inside_a_stream_means(chunk: dict[str, Any], code: str) -> None:
    error = told_inside(chunk, UpstreamBroke)
    assert error.code == code
    assert error.message


def shown(error: UpstreamError) -> str:
    return json.dumps(envelope(error, "req_1")) + str(error.told)


@covers("redaction")
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Incorrect API key provided: sk-secret-0123456789abc."}},
        {"error": {"message": "no", "param": "sk-secret-0123456789abc", "code": "Bearer secret-0123456789abc"}},
        {"error": "the key sk-secret-0123456789abc"},
        {"detail": "the key sk-secret-0123456789abc"},
        {"error": {"message": "no", "type": "sk-secret-0123456789abc"}},
    ],
)
def test_a_key_in_the_providers_words_is_taken_out(body: Any) -> None:
    text = json.dumps(body).encode()
    errors = [refusal(400, {}, text), refusal(401, {}, text), refusal(500, {}, b"<p>" + text)]
    if "error" in body:
        errors.append(told_inside(body, UpstreamBroke))
    assert not any("secret-0123456789abc" in shown(error) for error in errors)


@covers("redaction")
@pytest.mark.parametrize("key", ["0123456789abcdef0123456789abcdef", "sk-upstream-secret-1", "plain_secret_of_a_host"])
@pytest.mark.parametrize("form", ["status", "html", "event"])
async def test_the_gateways_own_key_is_never_repeated_whatever_it_looks_like(stub: Stub, key: str, form: str) -> None:
    """Some providers repeat the key they refuse, and not every key can be told by its looks."""
    body = json.dumps(
        {"error": {"message": f"The key {key} is not valid", "code": f"bad-{key}", "param": key}}
    ).encode()
    answers = {
        "status": Answer(status=400, body=body),
        "html": Answer(status=502, body=f"<h1>bad key {key}</h1>".encode(), content_type="text/html"),
        "event": stream([b"data: " + body + b"\n\n"]),
    }
    stub.answer(answers[form])
    settings = settings_for(stub)
    settings["upstreams"][0]["api_key"] = key
    async with running_gateway(settings) as gateway:
        response = await gateway.chat(stream=form == "event")
        lines = await gateway.wait_for_lines(1)
    assert response.status_code >= 400
    assert key not in response.text + str(lines) + str(response.headers)


def test_only_a_refusal_keeps_the_providers_type_and_code() -> None:
    told = json.dumps({"error": {"message": "m", "type": "theirs", "code": "theirs_too"}}).encode()
    kept = envelope(refusal(400, {}, told), "r")["error"]
    assert (kept["type"], kept["code"]) == ("theirs", "theirs_too")
    ours = envelope(refusal(500, {}, told), "r")["error"]
    assert (ours["type"], ours["code"]) == ("upstream_error", "upstream_fault")
    assert isinstance(refusal(400, {}, told), UpstreamRejected)
