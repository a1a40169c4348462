"""Between items as they are kept, in the words of the Responses API, and the values that every dialect shares."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from headgate.conversations.types import new_id
from headgate.core.chat_request import ImagePart, Item, Message, TextPart, Thinking, ToolCall, ToolResult
from headgate.dialects.fields import WORDLESS, Losses
from headgate.dialects.responses_items import COMPACTED, render_items, stored_items

__all__ = ["COMPACTED", "in_time", "kept_of", "news", "open_calls", "told_of", "with_id", "with_results"]
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco"}
WAITS = "The call waits for the approval of a person. It was not made yet."
NO_RESULT = "The caller of the tool has not given its result yet."
_APPROVALS = frozenset(("mcp_approval_request", "mcp_approval_response"))
_AROUND = _APPROVALS | {"mcp_call", "function_call", "function_call_output"}
_HIDDEN = _APPROVALS | {"mcp_call", "compaction"}
_NOTES = frozenset(("annotations", "logprobs"))
_OF_THOUGHTS = ("type", "id", "summary", "encrypted_content")
_INSTRUCTING = frozenset(("system", "developer"))
_OF_MESSAGES = frozenset(("type", "role", "content")) | WORDLESS
_TEXTS = frozenset(("input_text", "output_text"))
_OF_TEXTS = frozenset(("type", "text")) | _NOTES


def told_of(stored: Iterable[Mapping[str, Any]]) -> tuple[Item, ...]:
    """What a model is told of kept items. A call of the gateway's own tools becomes the call and its result.

    Thoughts that led to an answer are not told again: no provider asks for them, and some refuse them. Those that led
    to a call are, and those that their provider signed or sealed.
    """
    flat: list[Mapping[str, Any]] = []
    for one in without_approvals(list(stored)):
        flat += _call_and_result(one) if one.get("type") == "mcp_call" else (one,)
    return tuple(
        _plain_message(one) or stored_items((_without_notes(one),))[0]
        for number, one in enumerate(flat)
        if not _is_over(one, flat, number)
    )


def _plain_message(item: Mapping[str, Any]) -> Message | None:
    """A message that is text alone, as most are, which is read in a third of the time; None for any other."""
    role, content = item.get("role"), item.get("content")
    if item.get("type") != "message" or type(content) is not list or role is None or not item.keys() <= _OF_MESSAGES:
        return None
    parts = []
    for part in content:
        text = part.get("text")
        if type(text) is not str or part.get("type") not in _TEXTS or not part.keys() <= _OF_TEXTS:
            return None
        parts.append(TextPart(text))
    return Message(role, tuple(parts))


def _is_over(item: Mapping[str, Any], items: Sequence[Mapping[str, Any]], number: int) -> bool:
    """Whether it is a plain thought that led to an answer."""
    if item.get("type") != "reasoning" or item.get("encrypted_content"):
        return False
    for after in islice(items, number + 1, None):
        if after.get("type") == "function_call":
            return False
        if after.get("type") != "reasoning" and after.get("role") != "assistant":
            return True
    return True


def without_approvals(stored: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same without requests for approval and answers to them: a model is told of the call that came of both.

    Of a request that was not answered before the conversation went on, it is told that the call waits, then and later.
    """
    if not any(one.get("type") in _APPROVALS for one in stored):
        return list(stored)
    made = {one.get("approval_request_id"): at for at, one in enumerate(stored) if one.get("type") == "mcp_call"}
    told: list[Mapping[str, Any]] = []
    for at, one in enumerate(stored):
        if one.get("type") == "mcp_approval_request":
            until = made.get(one["id"])
            if until is None or not all(between.get("type") in _AROUND for between in stored[at + 1 : until]):
                told.append({**one, "type": "mcp_call", "output": WAITS})
        elif one.get("type") != "mcp_approval_response":
            told.append(one)
    return told


def open_calls(stored: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The calls of the caller's own tools that have no result, by their ids."""
    waiting: dict[str, Mapping[str, Any]] = {}
    for one in stored:
        if one.get("type") == "function_call":
            waiting[str(one.get("call_id"))] = one
        elif one.get("type") == "function_call_output":
            waiting.pop(str(one.get("call_id")), None)
    return waiting


def with_results(stored: Sequence[Mapping[str, Any]], added: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is added to a conversation, so that each call of the caller's own tools has a result: no model takes one
    without. A result that comes after the conversation went on without it is told as that of a later call.
    """
    waiting = open_calls(stored)
    given = {str(one.get("call_id")) for one in added if one.get("type") == "function_call_output"}
    missing = [with_id(result_of(id_, NO_RESULT)) for id_ in waiting if id_ not in given]
    return [*missing, *(in_time(stored, added) if given - waiting.keys() else added)]


def in_time(stored: Sequence[Mapping[str, Any]], added: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same; before each result that comes late, its call once more."""
    waiting = open_calls(stored)
    return [item for one in added for item in _in_time(one, stored, waiting)]


def is_result(item: Mapping[str, Any]) -> bool:
    """Whether it is the result of a call of the caller's own tools, and the caller gave it."""
    return item.get("type") == "function_call_output" and item.get("output") != NO_RESULT


def is_hidden(item: Mapping[str, Any]) -> bool:
    """Whether a caller of chat completions does not know it: calls of the gateway's own tools, and summaries."""
    return item.get("type") in _HIDDEN or item.get("output") == NO_RESULT


def result_of(call: str, output: str) -> dict[str, Any]:
    """The result of a call of the caller's own tools."""
    return {"type": "function_call_output", "call_id": call, "output": output}


def _in_time(
    item: dict[str, Any], stored: Sequence[Mapping[str, Any]], waiting: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The item; before a result that comes late, its call once more, under another id."""
    id_ = item.get("call_id")
    if item.get("type") != "function_call_output" or id_ in waiting:
        return [item]
    of_it = [one for one in stored if one.get("call_id") == id_]
    if not of_it or of_it[-1].get("output") != NO_RESULT:
        return [item]
    call = next(one for one in reversed(of_it) if one.get("type") == "function_call")
    told = {name: value for name, value in call.items() if name not in ("id", "status")}
    return [with_id({**told, "call_id": f"{id_}_late"}), {**item, "call_id": f"{id_}_late"}]


def _without_notes(item: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in kept items for callers, and says nothing to a model."""
    told = {name: value for name, value in item.items() if name not in WORDLESS}
    content = told.get("content")
    if isinstance(content, list):
        told["content"] = [{name: value for name, value in part.items() if name not in _NOTES} for part in content]
    return told


def _call_and_result(item: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    call = {
        "type": "function_call",
        "call_id": item["id"],
        "name": item.get("name"),
        "arguments": item.get("arguments") or "{}",
    }
    output = item.get("output")
    if output is None:
        output = str(item.get("error") or "")
    if item.get("images"):
        pictures = [{"type": "input_image", "image_url": one} for one in item["images"]]
        output = [{"type": "input_text", "text": output}, *pictures]
    return call, {"type": "function_call_output", "call_id": item["id"], "output": output}


def kept_of(items: Sequence[Item]) -> list[dict[str, Any]]:
    """A caller's items as they are kept, each with an id of its own and a status."""
    return [with_id(fields) for fields in render_items(items, True, Losses())]


def retold_of(stored: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a model is told of kept items, in the words of the Responses API. A thought is told if its provider sealed
    it, with the name that the provider knows it by; nobody else can make use of it.
    """
    told: list[dict[str, Any]] = []
    for one in without_approvals(list(stored)):
        if one.get("type") != "reasoning":
            told += render_items(told_of((one,)), True, Losses())
        elif one.get("encrypted_content"):
            told.append({name: one[name] for name in _OF_THOUGHTS if name in one})
    return told


def with_id(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An item with an id and a status, if it had none."""
    id_ = fields.get("id") or new_id(_PREFIXES.get(str(fields.get("type")), "item"))
    return {"status": "completed", **fields, "id": id_}


def news(items: Sequence[Item], history: Sequence[Item]) -> tuple[Item, ...]:
    """What a caller adds: its items without the history, if it sends that along, and without instructions that are
    known.
    """
    after = [(key, one) for one in items if (key := _key(one))]
    if len(after) >= sum(type(one) is not Thinking for one in history):
        before = [key for one in history if (key := _key(one))]
        if before and [key for key, _ in after[: len(before)]] == before:
            return tuple(one for _, one in after[len(before) :])
    if not any(key[0] in _INSTRUCTING for key, _ in after):
        return tuple(one for _, one in after)
    known = {key for one in history if (key := _key(one)) and key[0] in _INSTRUCTING}
    return tuple(one for key, one in after if key not in known)


def _key(item: Item) -> tuple[Any, ...]:
    """What makes two items the same; empty for thoughts, which callers leave out or shorten."""
    match item:
        case Message(role, parts, name):
            return role, name, *(_part_key(part) for part in parts)
        case ToolCall(id_, name, arguments):
            return "call", id_, name, arguments
        case ToolResult(call, parts):
            return "result", call, *(_part_key(part) for part in parts)
        case Thinking():
            return ()
    return ("foreign", repr(item.fields))


def _part_key(part: Any) -> Any:
    if isinstance(part, TextPart):
        return part.text
    return part.url if isinstance(part, ImagePart) else repr(part)
