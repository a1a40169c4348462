"""The packaged model, for proofs that ask it through the clients of others."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from headgate.upstreams.local import LocalProcess
from headgate.upstreams.types import LocalAddress, LocalSettings
from tests.harness.stub import DONE, Answer, Recorded, chunk, stream

__all__ = ["Guided", "local"]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalAddress]:
    """The packaged model, loaded."""
    process = LocalProcess("smollm2-135m", LocalSettings(context=4096, parallel=1), lambda _: None)
    process.start()
    try:
        assert process.tried.wait(60)
        yield process.address
    finally:
        process.stop()


class Guided:
    """A provider of chat completions behind which the local model is asked all the time. It is made to call the tool it
    is offered, with arguments of its own, by the grammar of what it may write; then it answers as it likes.
    """

    def __init__(self, address: LocalAddress, argument: str) -> None:
        headers = {"authorization": f"Bearer {address.key}"}
        self._client = httpx.Client(base_url=address.base_url, headers=headers, timeout=60)
        self._argument = argument
        self.said: list[str] = []

    def close(self) -> None:
        self._client.close()

    def __call__(self, request: Recorded) -> Answer:
        body: dict[str, Any] = request.json
        told = [{"role": _role(one), "content": one.get("content") or "I use a tool."} for one in body["messages"]]
        asked: dict[str, Any] = {"messages": told, "max_tokens": 24, "temperature": 0.0}
        tools = [] if any(one["role"] == "tool" for one in body["messages"]) else body.get("tools", ())
        streamed = bool(body.get("stream"))
        if not tools:
            came = self._ask({**asked, **({"stream": True} if streamed else {})})
            self.said.append(came.text)
            return Answer(body=came.content, content_type=came.headers["content-type"])
        schema = {
            "type": "object",
            "properties": {self._argument: {"type": "string", "maxLength": 12}},
            "required": [self._argument],
        }
        form = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
        arguments = self._ask({**asked, "response_format": form}).json()["choices"][0]["message"]["content"]
        self.said.append(arguments)
        call = {"name": tools[0]["function"]["name"], "arguments": arguments}
        return _calling(call, streamed=streamed)

    def _ask(self, body: dict[str, Any]) -> httpx.Response:
        return self._client.post("/chat/completions", json=body).raise_for_status()


def _role(message: dict[str, Any]) -> str:
    """What a tool said is told in the user's words: the packaged model knows no others."""
    return "user" if message["role"] == "tool" else str(message["role"])


def _calling(function: dict[str, Any], *, streamed: bool) -> Answer:
    call = {"id": "call_1", "type": "function", "function": function}
    if streamed:
        first = chunk({"role": "assistant", "tool_calls": [{"index": 0, **call}]})
        return stream([first, chunk({}, "tool_calls"), DONE])
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return Answer(body=json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}).encode())
