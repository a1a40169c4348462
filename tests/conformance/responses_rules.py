"""The rules that a stream, or a whole answer, of OpenAI's Responses API keeps to."""

from typing import Any

import orjson

from headgate.core.tokens import Tokens
from tests.conformance.said import Said, arguments_of, rule
from tests.conformance.wire import Sent, sent

SIGNED = "signed:"
_RESOURCE = frozenset(
    """
    id object created_at completed_at status background error incomplete_details instructions max_output_tokens
    max_tool_calls model output parallel_tool_calls previous_response_id presence_penalty frequency_penalty
    prompt_cache_key reasoning safety_identifier service_tier store temperature text tool_choice tools top_logprobs
    top_p truncation usage user metadata
    """.split()  # noqa: SIM905 - a row of quoted names would read worse
)
_MAY_BE_NULL = frozenset(
    """
    completed_at error incomplete_details instructions max_output_tokens max_tool_calls previous_response_id
    prompt_cache_key safety_identifier usage user
    """.split()  # noqa: SIM905
)
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_EMPTY = {"output_text": "text", "refusal": "refusal", "summary_text": "text", "reasoning_text": "text"}


class Open:
    """An item that was added and is not done."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.parts: list[dict[str, Any]] = []
        self.part: dict[str, Any] | None = None
        self.pieces = ""
        self.arguments = ""
        self.is_told = False


class Stream:
    """Takes one event after another."""

    def __init__(self) -> None:
        self._number = 0
        self._id = ""
        self._started: list[str] = []
        self._items: list[Open] = []
        self._done: dict[int, dict[str, Any]] = {}
        self.response: dict[str, Any] | None = None

    def take(self, event: Sent) -> None:
        told = event.object
        kind = told["type"]
        rule(event.name == kind, "the name of an event is its type", event)
        rule(told["sequence_number"] == self._number, "sequence numbers rise one by one", event)
        rule(self.response is None, "nothing follows the last event", event)
        self._number += 1
        if kind in ("response.created", "response.in_progress"):
            self._begin(kind, told["response"])
            return
        rule(len(self._started) == 2, "created and in_progress come first", event)
        if kind in _ENDS:
            self._end(kind, told["response"])
        elif kind == "response.output_item.added":
            self._added(told)
        elif kind == "response.output_item.done":
            self._item_done(told)
        elif not kind.startswith("headgate:"):
            self._step(kind, told)

    def _begin(self, kind: str, response: dict[str, Any]) -> None:
        rule(kind not in self._started, "created and in_progress come once", kind)
        rule(kind == "response.created" or self._started, "created comes before in_progress", kind)
        rule(response["status"] == "in_progress" and response["output"] == [], "a response begins empty", response)
        self._same(response)
        self._started.append(kind)

    def _same(self, response: dict[str, Any]) -> None:
        check_resource(response)
        rule(self._id in ("", response["id"]), "the id of the response stays the same", response["id"])
        self._id = response["id"]

    def _added(self, told: dict[str, Any]) -> None:
        item = told["item"]
        rule(told["output_index"] == len(self._items), "indexes of items rise one by one", told)
        ids = [one.fields["id"] for one in self._items]
        rule(item["id"] and item["id"] not in ids, "items have ids of their own", item)
        rule(item.get("status", "in_progress") == "in_progress", "an item begins in progress", item)
        if item["type"] in ("message", "reasoning"):
            rule(not item.get("content") and not item.get("summary"), "an item begins empty", item)
        self._items.append(Open(item))

    def _item_done(self, told: dict[str, Any]) -> None:
        at, item = told["output_index"], told["item"]
        rule(0 <= at < len(self._items) and at not in self._done, "an item that was added is done once", told)
        began = self._items[at]
        same = [item[name] == began.fields[name] for name in ("id", "type")]
        rule(all(same), "an item stays what it is", (began.fields, item))
        rule(began.part is None, "the parts of an item are done before it", item)
        rule(item.get("status", "completed") != "in_progress", "an item that is done is in progress no more", item)
        if item["type"] == "message":
            rule(item["content"] == began.parts, "a message holds the parts that were told", (item, began.parts))
            rule(item["content"], "a message has a part", item)
        elif item["type"] == "function_call":
            rule(item["arguments"] == began.arguments, "a call holds the arguments that were told", item)
            rule(began.is_told, "the arguments of a call are done before it", item)
            same = [item[name] == began.fields[name] and bool(item[name]) for name in ("call_id", "name")]
            rule(all(same), "a call keeps its id and its name", item)
        elif item["type"] == "reasoning":
            parts = [*item["summary"], *item.get("content", ())]
            rule(parts == began.parts, "a thought holds the parts that were told", (parts, began.parts))
        self._done[at] = item

    def _step(self, kind: str, told: dict[str, Any]) -> None:
        at = told["output_index"]
        rule(0 <= at < len(self._items) and at not in self._done, "an event belongs to an item in progress", told)
        item = self._items[at]
        rule(told["item_id"] == item.fields["id"], "an event names its item", told)
        if kind.endswith("_part.added"):
            self._part_added(item, told)
        elif kind.endswith("_part.done"):
            self._part_done(item, told)
        elif "_call_arguments." in kind:
            self._arguments(item, kind, told)
        elif kind.endswith("annotation.added"):
            rule(item.part and item.part["type"] == "output_text", "an annotation is of an open text", told)
            assert item.part is not None
            rule(told["annotation_index"] == len(item.part["annotations"]), "annotations are numbered", told)
            item.part["annotations"].append(told["annotation"])
        elif kind.endswith((".delta", ".done")):
            self._text(item, kind, told)

    def _part_added(self, item: Open, told: dict[str, Any]) -> None:
        part = told["part"]
        rule(item.part is None, "one part of an item is open at a time", told)
        rule(_place(told) == len(item.parts), "indexes of parts rise one by one", told)
        rule(part[_EMPTY[part["type"]]] == "", "a part begins empty", part)
        item.part, item.pieces, item.is_told = dict(part), "", False

    def _text(self, item: Open, kind: str, told: dict[str, Any]) -> None:
        rule(item.part is not None and _place(told) == len(item.parts), "a text is of the open part", told)
        assert item.part is not None
        word = _EMPTY[item.part["type"]]
        rule(kind.split(".")[1].removesuffix("_text") in item.part["type"] or "reasoning" in kind, "kinds agree", told)
        if kind.endswith(".delta"):
            rule(not item.is_told, "nothing is added to a text that is done", told)
            item.pieces += told["delta"]
        else:
            rule(told[word] == item.pieces, "a text that is done is what its pieces were", (told, item.pieces))
            item.is_told = True

    def _part_done(self, item: Open, told: dict[str, Any]) -> None:
        part = item.part
        rule(part is not None and item.is_told and _place(told) == len(item.parts), "an open part is done", told)
        assert part is not None
        done = told["part"]
        rule(
            done["type"] == part["type"] and done[_EMPTY[done["type"]]] == item.pieces, "a part is what was told", told
        )
        rule(done.get("annotations", []) == part.get("annotations", []), "annotations are what was told", told)
        item.parts.append(done)
        item.part = None

    def _arguments(self, item: Open, kind: str, told: dict[str, Any]) -> None:
        rule(not item.is_told, "nothing is added to arguments that are done", told)
        if kind.endswith(".delta"):
            item.arguments += told["delta"]
        else:
            rule(told["arguments"] == item.arguments, "arguments are what their pieces were", told)
            item.is_told = True

    def _end(self, kind: str, response: dict[str, Any]) -> None:
        self._same(response)
        rule(kind == f"response.{response['status']}", "the last event names the status", response["status"])
        rule(len(self._done) == len(self._items), "all items are done before the end", response["output"])
        done = [self._done[at] for at in range(len(self._items))]
        rule(response["output"] == done, "the output is what was told", (response["output"], done))
        self.response = response


def _place(told: dict[str, Any]) -> int:
    return int(told["content_index"] if "content_index" in told else told["summary_index"])


def check_stream(stream: bytes, *, usage: bool = True) -> Said:
    """What a stream says; raises Violation. `usage`: it is known; this dialect tells it always."""
    checker = Stream()
    for event in sent(stream):
        rule(event.data != "[DONE]", "this dialect knows no [DONE]")
        checker.take(event)
    rule(checker.response is not None, "completed, incomplete or failed ends a stream")
    assert checker.response is not None
    return _said(checker.response, usage=usage)


def check_whole(body: bytes) -> Said:
    """What a response says; raises Violation."""
    response = orjson.loads(body)
    check_resource(response)
    return _said(response, usage=response["usage"] is not None)


def check_resource(response: dict[str, Any]) -> None:
    """Every field has a value; official clients fail without."""
    rule(response.keys() >= _RESOURCE, "a response has all its fields", _RESOURCE - response.keys())
    nulls = {name for name in _RESOURCE if response[name] is None}
    rule(nulls <= _MAY_BE_NULL, "only some fields may be null", nulls - _MAY_BE_NULL)
    rule(response["object"] == "response" and response["id"].startswith("resp_"), "a response says what it is")


def _said(response: dict[str, Any], *, usage: bool) -> Said:
    said = Said(is_broken=response["status"] == "failed")
    if said.is_broken:
        rule(response["error"]["code"] and response["error"]["message"], "a failure has a code and a message")
        return said
    rule((response["usage"] is not None) == usage, "usage is told if it is known", response["usage"])
    said.tokens = tokens_of(response["usage"]) if usage else None
    said.stop_sequence = response.get("stop_sequence") or ""
    for item in response["output"]:
        match item["type"]:
            case "message":
                said.text += "".join(part.get("text", "") for part in item["content"])
                said.refusal += "".join(part.get("refusal", "") for part in item["content"])
            case "reasoning":
                said.thought += "\n\n".join(part["text"] for part in [*item["summary"], *item.get("content", ())])
                sealed = item.get("encrypted_content") or ""
                seal = (sealed[len(SIGNED) :], "") if sealed.startswith(SIGNED) else ("", sealed)
                said.seals += [seal] if sealed else []
            case "function_call":
                said.calls.append((item["call_id"], item["name"], arguments_of(item["arguments"])))
    if response["status"] == "incomplete":
        reason = response["incomplete_details"]["reason"]
        said.finish = "content_filter" if reason == "content_filter" else "length"
    else:
        said.finish = "tool_calls" if said.calls else "stop"
    return said


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """`usage` as the API has it: all details are there, and the parts are within the whole."""
    prompt, completion = usage["input_tokens"], usage["output_tokens"]
    cached = usage["input_tokens_details"]["cached_tokens"]
    reasoning = usage["output_tokens_details"]["reasoning_tokens"]
    rule(usage["total_tokens"] == prompt + completion, "the total is the sum", usage)
    rule(cached <= prompt and reasoning <= completion, "the parts are within the whole", usage)
    return Tokens(prompt, completion, cached, reasoning)
