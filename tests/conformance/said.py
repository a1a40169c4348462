"""What an answer says, whatever the dialect: the common ground on which streams, whole answers and events are compared.

`of_events` reads it from the events of a run; the checkers beside this file read it from what a caller was sent.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from headgate.core.chat import (
    Call,
    CallBegun,
    CallPiece,
    ChatEvent,
    Ended,
    Refusal,
    Sealed,
    Text,
    Thought,
)
from headgate.core.tokens import Tokens
from headgate.dialects.messages_content import id_for


class Violation(AssertionError):
    """A rule of a dialect was broken; the message tells which, and where."""


def rule(holds: object, said: str, shown: object = "") -> None:
    """Raise Violation unless the rule holds."""
    if not holds:
        raise Violation(f"{said}: {shown!r}" if shown != "" else said)


@dataclass
class Said:
    """An answer. `seals` are (signature, sealed thought) in their order, `calls` are (id, name, arguments)."""

    text: str = ""
    thought: str = ""
    seals: list[tuple[str, str]] = field(default_factory=list)
    refusal: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    finish: str = ""
    stop_sequence: str = ""
    tokens: Tokens | None = None
    is_broken: bool = False


def arguments_of(text: str) -> Any:
    """Arguments of a call as a value; a model's text that is no JSON stays a text. None and an empty object are one."""
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return text


def of_events(events: Iterable[ChatEvent]) -> Said:
    """What the events of a run say."""
    said = Said()
    for event in events:
        match event:
            case Text(text):
                said.text += text
            case Thought(text):
                said.thought += text
            case Refusal(text):
                said.refusal += text
            case Sealed(signature, sealed) if signature or sealed:
                said.seals.append((signature, sealed))
            case Ended(finish, _, tokens, beside):
                said.finish, said.tokens = finish, tokens
                said.stop_sequence = str(beside.get("stop_sequence") or "")
    said.calls = [(id_, name, arguments_of(arguments)) for id_, name, arguments in _calls(events)]
    return said


def _calls(events: Iterable[ChatEvent]) -> list[list[str]]:
    calls: list[list[str]] = []
    places: dict[int, list[str]] = {}
    for event in events:
        match event:
            case Call(id_, name, arguments):
                calls.append([id_, name, arguments])
            case CallBegun(number, id_, name):
                places[number] = [id_, name, ""]
                calls.append(places[number])
            case CallPiece(number, text):
                places[number][2] += text
    return calls


ANSWER_ROWS = (
    ("chat", "which text belongs to which thought or call, where several follow each other", "texts and calls apart"),
    ("chat", "blocks and items that only the other dialect knows, such as a search", "fields of the delta, by name"),
    ("messages", "a refusal in words", "text, and `refusal` as the reason to stop"),
    ("messages", "ids of calls with other letters than the API takes", "spelled otherwise; read back when they return"),
    ("messages", "arguments that are no JSON object, in an answer in one piece", "stand in one, as `arguments`"),
    ("messages", "pieces of parallel calls that come mixed", "one call after another"),
    ("messages", "probabilities of tokens, and pictures", "left out"),
    ("messages", "items that only Responses knows", "left out"),
    ("responses", "a signature of a thought", "`encrypted_content` that begins with `signed:`; read back from there"),
    ("responses", "tokens written to a cache", "counted among the input, as all"),
    ("responses", "the sequence that stopped the model", "`stop_sequence`, a field that clients pass over"),
    ("ollama", "a refusal in words", "text"),
    ("ollama", "signatures and sealed thoughts, and the sequence that stopped the model", "left out"),
    ("ollama", "that the model stopped to call tools", "`stop`, as Ollama has it"),
    ("ollama", "which of the tokens were cached, or of reasoning", "left out; they are counted"),
    ("ollama", "arguments that are no JSON object", "stand in one, as `arguments`"),
)
"""What becomes of answers; `in_words_of` says the same as a function."""


def in_words_of(dialect: str, said: Said, *, whole: bool = False) -> Said:
    """What is left of an answer in a dialect; the rows of the table that concern answers."""
    if dialect == "messages":
        refused = bool(said.refusal) and said.finish == "stop" and not said.calls
        finish = "content_filter" if refused else said.finish
        calls = [(id_for(id_), name, _object(told) if whole else told) for id_, name, told in said.calls]
        return replace(said, text=said.text + said.refusal, refusal="", finish=finish, calls=calls)
    if dialect == "ollama":
        kept = said.tokens and Tokens(said.tokens.prompt, said.tokens.completion)
        finish = "stop" if said.finish == "tool_calls" else said.finish
        calls = [(id_, name, _object(told)) for id_, name, told in said.calls]
        more: dict[str, Any] = {"refusal": "", "seals": [], "stop_sequence": ""}
        return replace(said, text=said.text + said.refusal, finish=finish, calls=calls, tokens=kept, **more)
    if dialect == "responses":
        kept = said.tokens and said.tokens._replace(cache_write=0)
        return replace(said, tokens=kept)
    return said


def _object(told: Any) -> Any:
    """A whole message has objects as the input of calls, whatever the model wrote."""
    return told if isinstance(told, dict) else {"arguments": told}
