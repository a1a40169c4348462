"""A provider whose answers go by the model's id, so that what a gateway meets is in its configuration."""

import json
from typing import Any

from tests.harness.stub import Answer, Recorded, Stub, chat, chunk, stream, stream_pieces, usual

WORDS = "The words of the provider."
SLOW_SECONDS = 0.6


class Provider:
    """Answers as the model's id says. `tries` counts the requests of one call."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub

    def answer(self, request: Recorded) -> Answer:
        asked = request.json if request.headers.get("content-type", "").startswith("application/json") else {}
        model = str(asked.get("model"))
        if model.startswith("fails-"):
            return _failing(int(model.removeprefix("fails-")))
        if model == "limited":
            return _failing(429, wait=30)
        if model == "flaky" and len(self._stub.calls) == 1:
            return _failing(500)
        if model == "too-long":
            return _refusing("context_length_exceeded", "This model's maximum context length is 9 tokens.")
        if model == "filtered":
            return _refusing("content_policy_violation", "Your request was rejected as a result of our safety system.")
        if model == "cut":
            return stream(stream_pieces()[:2], framing="close")
        answer = _whole_or_stream(asked, request)
        answer.delay = SLOW_SECONDS if model == "slow" else 0.0
        return answer


def _whole_or_stream(asked: dict[str, Any], request: Recorded) -> Answer:
    if asked.get("tools") and not asked.get("stream"):
        call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return chat(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": None}])
    if asked.get("tools"):
        begun = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}}
        deltas = [{"role": "assistant", "content": None, "tool_calls": [begun]}]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in ('{"a"', ":1}")]
        return stream([*map(chunk, deltas), chunk({}, "tool_calls"), b"data: [DONE]\n\n"])
    return usual(request)


def _failing(status: int, wait: int = 1) -> Answer:
    error = {"message": WORDS, "type": "the_providers_type", "param": "seed", "code": "the_providers_code"}
    return Answer(
        status, json.dumps({"error": error}).encode(), headers={"retry-after": f"{wait}"} if status == 429 else {}
    )


def _refusing(code: str, message: str) -> Answer:
    """As OpenAI words it."""
    error = {"message": message, "type": "invalid_request_error", "param": "messages", "code": code}
    return Answer(400, json.dumps({"error": error}).encode())
