"""What the gateway reads of a Responses call where it counts, routes and traces: the same as of a chat."""

from typing import Any

import orjson
import pytest

from headgate.core.request import parse_json
from headgate.core.surfaces import RESPONSES
from headgate.limits.estimate import wanted
from headgate.routing.affinity import beginning_of
from headgate.telemetry.content import of_request
from headgate.telemetry.spans import Content
from headgate.usage.cost import most_completion, size_of
from tests.conftest import settings_for
from tests.harness.gateway import running_gateway
from tests.harness.responses import message, pieces, whole
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("responses")
PICTURE = "data:image/png;base64," + "A" * 60_000
SEEN = {"type": "input_image", "image_url": PICTURE}


def test_an_answer_may_be_as_long_as_the_caller_allows() -> None:
    body = {"model": "m", "input": "Hi", "max_output_tokens": 100}
    request = parse_json(RESPONSES, orjson.dumps(body))
    assert wanted(request, None).tokens == request.size // 3 + 1 + 100
    assert most_completion(body) == 100


@pytest.mark.parametrize("held", ["content", "output"])
def test_a_picture_counts_by_the_piece_and_not_by_its_bytes(held: str) -> None:
    item = {"type": "message", "role": "user", held: [{"type": "input_text", "text": "?"}, SEEN]}
    body = {"model": "m", "input": [item], "max_output_tokens": 10}
    assert 1600 < wanted(parse_json(RESPONSES, orjson.dumps(body)), None).tokens < 1800
    assert size_of(body).guess < 2000


def test_a_conversation_begins_alike_in_both_apis() -> None:
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "?"},
    ]
    assert beginning_of({"input": said}) == beginning_of({"input": said[:1]}) == beginning_of({"messages": said})
    assert beginning_of({"input": said, "instructions": "Be brief."}) != beginning_of({"input": said})


async def test_a_model_that_takes_no_pictures_says_where_one_stands(stub: Stub) -> None:
    settings = settings_for(stub)
    settings["models"][0]["constraints"] = {"accepts_image_url": False}
    body = {"model": "small", "input": [{"role": "user", "content": [SEEN]}]}
    async with running_gateway(settings) as gateway:
        answer = await gateway.http.post("/v1/responses", json=body)
    assert answer.json()["error"]["param"] == "input[0].content[0]"
    assert answer.json()["error"]["code"] == "image_url_not_supported"


@pytest.mark.parametrize("answer", [whole().body, b"".join(pieces(message()))], ids=["whole", "stream"])
def test_a_trace_tells_prompt_and_answer(answer: bytes) -> None:
    fields: dict[str, Any] = {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}
    told = of_request(Content("responses", fields, answer, 0))
    assert told["output.value"] == "Hello there."
    assert orjson.loads(told["input.value"]) == [{"role": "user", "content": "Hi"}]


def test_other_kinds_of_calls_are_read_as_before() -> None:
    assert beginning_of({"input": ["a", "b"]}) is None
