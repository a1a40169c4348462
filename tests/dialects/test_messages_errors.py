"""Errors in the words of Anthropic's Messages API, and what is no answer in them."""

import orjson
import pytest

from headgate.core.errors import UpstreamBroke, UpstreamGarbled
from headgate.dialects.messages_reader import Reader
from headgate.dialects.messages_words import broken, refused
from tests.harness.messages import event
from tests.requirements import covers

pytestmark = covers("157")


def test_errors_have_their_type_by_status() -> None:
    error = {"message": "m", "type": "upstream_error", "request_id": "req_1"}
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        418: "invalid_request_error",
        429: "rate_limit_error",
        500: "api_error",
        502: "api_error",
        529: "overloaded_error",
    }
    for status, kind in kinds.items():
        told = {"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "req_1"}
        assert refused(status, error) == told
        assert broken(status, error) == b"event: error\ndata: " + orjson.dumps(told) + b"\n\n"


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (event("error", error={"type": "overloaded_error", "message": "Overloaded"}), UpstreamBroke),
        (b"data: nonsense\n\n", UpstreamGarbled),
        (b"data: []\n\n", UpstreamGarbled),
        (event("content_block_delta", delta={"type": "text_delta", "text": "x"}), UpstreamGarbled),
        (event("content_block_start", index=0, content_block=1), UpstreamGarbled),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_provider(stream: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        list(Reader(True).feed(stream))


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"content":"x"}', b'{"content":[1]}'])
def test_a_whole_answer_that_is_none_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        list(Reader(True).whole(body))
