"""One envelope for every error, and a catalogue of all codes."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from headgate.api.errors import broken_off, error_response, listing
from headgate.core import errors
from headgate.core.catalogue import catalogue
from headgate.core.errors import HeadgateError, UpstreamRejected
from headgate.core.ids import child_of
from headgate.core.run import Run
from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub
from tests.requirements import covers

CODES = list(catalogue())
ENVELOPE_KEYS = {"message", "type", "param", "code", "request_id"}
UPSTREAM = [
    (Answer(status=400), "upstream_rejected", 400),
    (Answer(status=422), "upstream_rejected", 422),
    (Answer(status=402), "upstream_rejected", 402),
    (Answer(status=401), "upstream_key_refused", 502),
    (Answer(status=403), "upstream_forbidden", 502),
    (Answer(status=404), "upstream_not_found", 404),
    (Answer(status=408), "upstream_timeout", 504),
    (Answer(status=429), "upstream_rate_limited", 429),
    (Answer(status=500), "upstream_fault", 502),
    (Answer(status=503), "upstream_unavailable", 503),
    (Answer(status=529), "upstream_unavailable", 503),
    (Answer(body=b"<html>"), "upstream_garbled", 502),
    (Answer(body=b'{"id":1', framing="length"), "upstream_garbled", 502),
    (Answer(pieces=[b'{"id":', b'"x"}'], cut_after=3), "upstream_broke_off", 502),
    (Answer(status=301, headers={"location": "http://x/"}), "upstream_garbled", 502),
]
Call = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}


def posting(path: str, **options: Any) -> Call:
    return lambda http: http.post(path, **options)


OWN: list[tuple[Call, str, int]] = [
    (lambda http: http.get("/nope"), "route_not_found", 404),
    (lambda http: http.get("/v1/embeddings"), "method_not_allowed", 405),
    (lambda http: http.get("/v1/models/nope"), "model_not_found", 404),
    (posting("/v1/chat/completions", json={**CHAT, "model": "nope"}), "model_not_found", 404),
    (posting("/v1/chat/completions", json=CHAT, headers={"authorization": ""}), "missing_authorization", 401),
    (posting("/v1/chat/completions", json=CHAT, headers={"authorization": "Bearer x"}), "invalid_authorization", 401),
    (posting("/v1/chat/completions", content=b"{"), "invalid_json", 400),
    (posting("/v1/chat/completions", content=b"[" * 2000), "json_too_deep", 400),
    (posting("/v1/chat/completions", content=b'{"model":"a","model":"b"}'), "duplicate_field", 400),
    (posting("/v1/chat/completions", json={"model": "small"}), "missing_field", 400),
    (posting("/v1/chat/completions", json={**CHAT, "n": "x"}), "invalid_field", 400),
    (posting("/v1/chat/completions", content=b"x" * 5000), "body_too_large", 413),
    (posting("/v1/chat/completions", content=b"x", headers={"content-encoding": "gzip"}), "unsupported_encoding", 415),
    (posting("/v1/audio/transcriptions", json={}), "unsupported_encoding", 415),
    (
        posting("/v1/audio/transcriptions", content=b"x", headers={"content-type": "multipart/form-data; boundary=b"}),
        "invalid_form",
        400,
    ),
]


def check_envelope(response: httpx.Response, code: str, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-headgate-error"] == code
    assert set(response.json()) == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == ENVELOPE_KEYS
    assert error["message"]
    assert error["code"] == code
    assert error["request_id"] == response.headers["x-request-id"]
    return error


@covers("18", "19")
@pytest.mark.parametrize(("call", "code", "status"), OWN, ids=[code for _, code, _ in OWN])
async def test_an_error_of_ours_is_an_envelope_in_the_catalogue(stub: Stub, call: Call, code: str, status: int) -> None:
    async with running_gateway(settings_for(stub, server={"limits": {"body": 4096}})) as gateway:
        response = await call(gateway.http)
        error = check_envelope(response, code, status)
        listed = {entry["code"]: entry for entry in (await gateway.http.get("/errors")).json()["entries"]}
    assert listed[code]["http_status"] == status
    assert listed[code]["type"] == error["type"]
    assert not stub.calls


@covers("18", "19")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answer", "code", "status"), UPSTREAM, ids=[f"{code}-{status}" for _, code, status in UPSTREAM]
)
async def test_an_error_of_the_upstream_is_an_envelope_too(
    gateway: Gateway, stub: Stub, answer: Answer, code: str, status: int, stream: bool
) -> None:
    if stream and code == "upstream_broke_off":
        code = "upstream_garbled"  # JSON where a stream was asked, seen before it breaks
    stub.answer(answer)
    check_envelope(await gateway.chat(stream=stream), code, status)
    assert (await gateway.chat()).status_code == 200


@covers("18")
async def test_the_reason_a_provider_gives_is_passed_on(gateway: Gateway, stub: Stub) -> None:
    told = {"message": "context too long", "type": "their_type", "param": "messages", "code": "context_length_exceeded"}
    stub.answer(Answer(status=400, body=json.dumps({"error": told}).encode()))
    response = await gateway.chat()
    assert response.json()["error"] == {**told, "request_id": response.headers["x-request-id"]}
    assert response.headers["x-headgate-error"] == "upstream_context_window"


@covers("18")
@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"retry-after": "7"}, "7"),
        ({"retry-after": "0.2"}, "1"),
        ({"retry-after-ms": "1500"}, "2"),
        ({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, None),
        ({}, None),
    ],
)
async def test_a_providers_wait_is_passed_on_when_it_is_a_number(
    gateway: Gateway, stub: Stub, headers: dict[str, str], shown: str | None
) -> None:
    stub.answer(Answer(status=429, headers=headers))
    assert (await gateway.chat()).headers.get("retry-after") == shown


@covers("19")
def test_every_code_is_unique_and_says_what_it_is_and_what_to_do() -> None:
    codes = [kind.code for kind in CODES]
    assert len(set(codes)) == len(codes)
    assert len(codes) >= 30
    for kind in CODES:
        assert kind.title, kind
        assert kind.remedy, kind
        assert 400 <= kind.status < 600 or kind.status == 308
        assert kind.type


@covers("19")
def test_no_leaf_of_the_tree_is_without_a_code() -> None:
    def leaves(kind: type[HeadgateError]) -> list[type[HeadgateError]]:
        below = kind.__subclasses__()
        return [leaf for one in below for leaf in leaves(one)] if below else [kind]

    codeless = {leaf.__name__ for leaf in leaves(HeadgateError) if leaf.__module__ == errors.__name__ and not leaf.code}
    assert codeless <= {"StartupError"}


@covers("19")
async def test_the_catalogue_is_what_the_tree_holds(gateway: Gateway) -> None:
    answer = (await gateway.http.get("/errors")).json()
    assert answer == listing()
    assert [entry["code"] for entry in answer["entries"]] == [kind.code for kind in CODES]
    assert answer["count"] == len(CODES)


@covers("18")
@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.code)
def test_every_error_has_one_form_as_answer_and_as_event(kind: type[HeadgateError]) -> None:
    error = kind("what", param="a.b", retry_after=1.2)
    status, headers, body = error_response(error, "req_1")
    found = dict(headers)
    assert status == kind.status
    assert found[b"retry-after"] == b"2"
    assert (b"www-authenticate" in found) is (status == 401)
    assert int(found[b"content-length"]) == len(body)
    assert broken_off(error, Run("req_1", child_of(None), "chat")) == b"data: " + body + b"\n\n"
    assert set(json.loads(body)["error"]) == ENVELOPE_KEYS


@covers("18")
@pytest.mark.parametrize("told", [None, {}, {"type": 5, "code": None}, {"code": 400, "type": []}])
def test_a_provider_that_says_nothing_readable_leaves_our_words(told: dict[str, object] | None) -> None:
    _, _, body = error_response(UpstreamRejected("what", told=told), "req_1")
    error = json.loads(body)["error"]
    assert (error["code"], error["type"]) == ("upstream_rejected", "invalid_request_error")
