"""A provider that answers every kind of call as OpenAI does, for clients that read their answers strictly."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

from tests.harness.stub import DONE, USAGE, Answer, Recorded, chat, chunk, stream, usual

VECTOR = (0.5, -0.25, 0.125)
AUDIO = b"ID3\x00\xff not really music"
CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
}
LOGPROB = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": []}
CITY = '{"city":"Oslo","people":700000}'


def provider(request: Recorded) -> Answer:
    """The answer to a request, by its path and what it asks for."""
    asked = request.json if request.headers.get("content-type", "").startswith("application/json") else {}
    for ending, answer in _ANSWERS.items():
        if request.path.endswith(ending):
            return answer(asked)
    return usual(request)


def _json(content: dict[str, Any]) -> Answer:
    return Answer(body=json.dumps(content).encode())


def _chat(asked: dict[str, Any]) -> Answer:
    if asked.get("stream"):
        return _chat_stream(asked)
    if asked.get("tools") and asked["messages"][-1]["role"] != "tool":
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        return chat(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": None}])
    if asked.get("logprobs"):
        message = {"role": "assistant", "content": "Hi"}
        told = {"content": [LOGPROB], "refusal": None}
        return chat(choices=[{"index": 0, "message": message, "finish_reason": "stop", "logprobs": told}])
    return chat(CITY if asked.get("response_format") else "Hello there.")


def _chat_stream(asked: dict[str, Any]) -> Answer:
    arguments = CALL["function"]["arguments"]
    begun = {**CALL, "index": 0, "function": {"name": "weather", "arguments": ""}}
    parts = [{"index": 0, "function": {"arguments": part}} for part in (arguments[:5], arguments[5:])]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    calls = asked.get("tools") and asked["messages"][-1]["role"] != "tool"
    if calls:
        deltas += [{"tool_calls": [part]} for part in (begun, *parts)]
    else:
        text = CITY if asked.get("response_format") else "Hello there."
        deltas += [{"content": text[:7]}, {"content": text[7:]}]
    pieces = [chunk(delta) for delta in deltas]
    pieces.append(chunk({}, "tool_calls" if calls else "stop"))
    if (asked.get("stream_options") or {}).get("include_usage"):
        pieces.append(chunk(usage=USAGE))
    return stream([*pieces, DONE])


def _embeddings(asked: dict[str, Any]) -> Answer:
    given = asked["input"]
    count = 1 if isinstance(given, str) or isinstance(given[0], int) else len(given)
    packed = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
    vector = packed if asked.get("encoding_format") == "base64" else list(VECTOR)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    return _json(
        {"object": "list", "data": data, "model": "stub-small", "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    )


def _completions(asked: dict[str, Any]) -> Answer:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1750000000, "model": "stub-small"}
    choice = {"index": 0, "text": "Once more.", "logprobs": None, "finish_reason": "stop"}
    whole = {**head, "choices": [choice]}
    if not asked.get("stream"):
        return _json({**whole, "usage": USAGE})
    return stream([b"data: " + json.dumps(whole).encode() + b"\n\n", DONE])


def _moderations(asked: dict[str, Any]) -> Answer:
    return _json({"id": "modr-1", "model": "stub-small", "results": [{"flagged": True}]})


_ANSWERS: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "/chat/completions": _chat,
    "/completions": _completions,
    "/embeddings": _embeddings,
    "/moderations": _moderations,
    "/audio/speech": lambda asked: Answer(body=AUDIO, content_type="audio/mpeg"),
    "/audio/transcriptions": lambda asked: _json({"text": "Hello from afar."}),
    "/images/generations": lambda asked: _json({"created": 1, "data": [{"b64_json": "AAAA"}]}),
}
