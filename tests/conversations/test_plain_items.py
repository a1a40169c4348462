"""Plain messages take a short way to the model. What it is told is the same as by the long one."""

from typing import Any

import pytest

from headgate.conversations import items
from headgate.conversations.items import kept_of, news, told_of
from headgate.core.chat_request import Item, Message, Role, TextPart, Thinking, ToolCall
from tests.requirements import covers

pytestmark = covers("85")
TEXT = {"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}
PLAIN: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [TEXT],
}


@pytest.mark.parametrize(
    "item",
    [
        PLAIN,
        {**PLAIN, "status": "incomplete"},
        {**PLAIN, "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
        {**PLAIN, "content": [TEXT, TEXT]},
        {**PLAIN, "content": []},
        {**PLAIN, "content": "Hello."},
        {**PLAIN, "content": [{**TEXT, "text": ""}]},
        {**PLAIN, "content": [{**TEXT, "annotations": [{"type": "url_citation", "url": "https://a"}]}]},
        {**PLAIN, "content": [{**TEXT, "cache_control": {"type": "ephemeral"}}]},
        {**PLAIN, "content": [{"type": "refusal", "refusal": "No."}]},
        {**PLAIN, "content": [{"type": "input_image", "image_url": "https://a/b.png", "detail": "low"}, TEXT]},
        {**PLAIN, "name": "Ann"},
        {**PLAIN, "audio": {"id": "audio_1"}},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": "{}"},
    ],
)
def test_the_short_way_tells_what_the_long_one_does(item: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_of([item, PLAIN])
    monkeypatch.setattr(items, "_plain_message", lambda _: None)
    assert told == told_of([item, PLAIN])


def said(role: Role, text: str) -> Message:
    return Message(role, (TextPart(text),))


def plainly(sent: list[Item], history: list[Item]) -> tuple[Item, ...]:
    """What is new, found without any short cut."""
    seen = [one for one in history if not isinstance(one, Thinking)]
    given = [one for one in sent if not isinstance(one, Thinking)]
    if seen and given[: len(seen)] == seen:
        return tuple(given[len(seen) :])
    known = [one for one in seen if isinstance(one, Message) and one.role in ("system", "developer")]
    return tuple(one for one in given if one not in known)


RULES, HI, HELLO, MORE = (
    said("system", "Be brief."),
    said("user", "Hi"),
    said("assistant", "Hello."),
    said("user", "And?"),
)
CALL = ToolCall("call_1", "add", "{}")


@pytest.mark.parametrize("history", [[], [RULES], [HI, HELLO], [RULES, HI, HELLO], [RULES, HI, Thinking("Hm"), HELLO]])
@pytest.mark.parametrize(
    "sent",
    [
        [],
        [MORE],
        [HI],
        [RULES, MORE],
        [said("system", "Be long."), MORE],
        [HI, HELLO, MORE],
        [RULES, HI, HELLO, MORE],
        [RULES, HI, Thinking("Another"), HELLO, CALL, MORE],
        [MORE, HI, RULES],
    ],
)
def test_what_a_caller_sends_along_of_the_history_is_not_new(sent: list[Item], history: list[Item]) -> None:
    assert news(sent, history) == plainly(sent, history)


def test_what_is_kept_is_told_again_as_it_was_said() -> None:
    assert told_of(kept_of([RULES, HI, HELLO, MORE])) == (RULES, HI, HELLO, MORE)
