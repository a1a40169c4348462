"""The official clients put every recorded stream together as it was said, whatever the provider spoke."""

from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.conformance.golden import cases
from tests.conformance.said import Said, arguments_of, in_words_of, of_events
from tests.conformance.through import NAMES, Heard, told
from tests.requirements import covers

pytestmark = covers("conformance", "clients")
WELL = [case for case in cases() if case.heard().error is None]
BROKEN = [case for case in cases() if case.heard().error is not None]
HI: Any = [{"role": "user", "content": "Hi"}]


def answering(stream: bytes) -> httpx2.Client:
    """A connection on which every request is answered with this stream."""
    headers = {"content-type": "text/event-stream"}
    return httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=stream))
    )


def by_chat(stream: bytes) -> Said:
    client = openai.OpenAI(api_key="sk", base_url="http://gateway/v1", http_client=answering(stream), max_retries=0)
    options: Any = {"include_usage": True}
    with client.chat.completions.stream(model="small", messages=HI, stream_options=options) as events:
        choice = events.get_final_completion().choices[0]
    message, extra = choice.message, choice.message.model_extra or {}
    calls = [(one.id, one.function.name, arguments_of(one.function.arguments)) for one in message.tool_calls or ()]
    thought, refusal = extra.get("reasoning_content", ""), message.refusal or ""
    return Said(message.content or "", thought, [], refusal, calls, choice.finish_reason)


def by_messages(stream: bytes) -> Said:
    client = anthropic.Anthropic(api_key="sk", base_url="http://gateway", http_client=answering(stream), max_retries=0)
    with client.messages.stream(model="small", messages=HI, max_tokens=100) as events:
        message = events.get_final_message()
    said = Said(finish=str(message.stop_reason))
    for block in message.content:
        match block.type:
            case "text":
                said.text += block.text
            case "thinking":
                said.thought += block.thinking
            case "tool_use":
                said.calls.append((block.id, block.name, block.input))
    return said


def by_responses(stream: bytes) -> Said:
    client = openai.OpenAI(api_key="sk", base_url="http://gateway/v1", http_client=answering(stream), max_retries=0)
    said = Said()
    with client.responses.stream(model="small", input="Hi") as events:
        for event in events:
            if event.type in ("response.completed", "response.incomplete"):
                response = event.response
                said.finish = response.status or ""
                break
            if event.type in ("error", "response.failed"):
                raise openai.OpenAIError(event.type)
        else:
            raise openai.OpenAIError("no end")
    for item in response.output:
        match item.type:
            case "message":
                said.text += "".join(getattr(part, "text", "") for part in item.content)
                said.refusal += "".join(getattr(part, "refusal", "") for part in item.content)
            case "reasoning":
                said.thought += "\n\n".join(part.text for part in item.summary)
            case "function_call":
                said.calls.append((item.call_id, item.name, arguments_of(item.arguments)))
    return said


CLIENTS = {"chat": by_chat, "messages": by_messages, "responses": by_responses}


@pytest.mark.parametrize("caller", NAMES)
@pytest.mark.parametrize("case", WELL, ids=str)
def test_the_official_client_puts_a_stream_together(case: Any, caller: str) -> None:
    heard: Heard = case.heard()
    expected = in_words_of(caller, of_events(heard.events))
    if caller == "messages" and any(type(arguments) is str for _, _, arguments in expected.calls):
        pytest.skip("this client refuses arguments that are no JSON")
    if caller == "chat" and expected.finish in ("length", "content_filter"):
        with pytest.raises((openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError)):
            by_chat(told(heard, caller))
        return
    said = CLIENTS[caller](told(heard, caller))
    assert (said.text, said.thought, said.refusal) == (expected.text, expected.thought, expected.refusal)
    assert said.calls == expected.calls
    assert said.finish


@pytest.mark.parametrize("caller", NAMES)
@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_the_official_client_is_told_that_a_stream_broke(case: Any, caller: str) -> None:
    with pytest.raises((openai.OpenAIError, anthropic.AnthropicError)):
        CLIENTS[caller](told(case.heard(), caller))
