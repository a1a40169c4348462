"""A run in the words of OpenAI's Responses API, as a stream of events or as one response.

Pure: knows no socket and no caller. What the gateway's own tools do is told as `mcp_call` items, which official clients
know; what else it does only in extension events, for callers that ask for them.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from headgate.core.chat import (
    Asking,
    Call,
    CallBegun,
    CallPiece,
    ChatEvent,
    Ended,
    Other,
    Refusal,
    Retrieved,
    Sealed,
    Step,
    Text,
    Thought,
    ToolEnded,
    ToolHeld,
    ToolStarted,
)
from headgate.dialects.chat import retrieval_of
from headgate.dialects.responses_items import SIGNED
from headgate.dialects.responses_output import (
    CallItem,
    EventLog,
    Item,
    MessageItem,
    ReasoningItem,
    Tell,
    ToolItem,
    silent,
)
from headgate.dialects.responses_resource import resource, usage_of
from headgate.dialects.responses_tools import homes, parse_choice
from headgate.dialects.types import Occasion

_AnyItem = TypeVar("_AnyItem", bound=Item)
_WHOLE = -1
"""The number of a call that is told in one piece."""
_FILLED = ("content", "summary")
"""Members of items that are empty as long as nothing was told of them."""
_HELD = "This call needs an approval, so it was not made."


class _Response:
    """A response while it is made: which item is open, and what is told of it."""

    def __init__(self, occasion: Occasion, tell: Tell) -> None:
        self.resource = resource(occasion)
        self._tell = tell
        self._extensions = occasion.extensions
        self._stem = self.resource["id"].removeprefix("resp_")
        self._since = time.monotonic()
        self._began = False
        self._count = 0
        self._open: MessageItem | ReasoningItem | None = None
        self._calls: dict[int, CallItem] = {}
        self._tools: dict[str, ToolItem] = {}
        self._homes = homes(occasion.fields.get("tools"))
        choice = parse_choice(occasion.fields.get("tool_choice"))
        self._allowed = frozenset(choice.among) if choice is not None else frozenset()
        self._foreign_ids: set[str] = set()
        self._refused = ""

    def say(self, event: ChatEvent) -> None:
        _SAYS[type(event)](self, event)

    def _text(self, event: Text) -> None:
        if event.text or event.beside:
            self._message().text(event.text, event.beside)

    def _thought(self, event: Thought) -> None:
        if event.text:
            self._reasoning().thought(event.text)

    def _refusal(self, event: Refusal) -> None:
        self._message().refusal(event.text)

    def _sealed(self, event: Sealed) -> None:
        self._reasoning().seal(event.sealed or SIGNED + event.signature)
        self._close_open()

    def _call(self, call: Call) -> None:
        self._call_begun(CallBegun(_WHOLE, call.id, call.name))
        if item := self._calls.pop(_WHOLE, None):
            item.arguments(call.arguments)
            item.close()

    def _call_piece(self, piece: CallPiece) -> None:
        if piece.text and (item := self._calls.get(piece.number)):
            item.arguments(piece.text)

    def _tool_started(self, event: ToolStarted) -> None:
        self._close_open()
        self._tools[event.call.id] = self._tool(event.call)

    def _tool_ended(self, event: ToolEnded) -> None:
        if item := self._tools.pop(event.call.id, None):
            item.end(event.result, failed=event.failed)

    def _tool_held(self, event: ToolHeld) -> None:
        self._close_open()
        if not event.action:
            self._tool(event.call).end(_HELD, failed=True)
            return
        at, _ = self._place("mcpr")
        asked = {"name": event.call.name, "arguments": event.call.arguments}
        fields = {"id": event.action, "type": "mcp_approval_request", "server_label": "headgate", **asked}
        self._added(Item(at, fields, self._tell)).close()

    def _asking(self, _event: Asking) -> None:
        self.begin()

    def begin(self) -> None:
        if not self._began:
            self._began = True
            self._tell("response.created", response=self.resource)
            self._tell("response.in_progress", response=self.resource)

    def fail(self, code: str, message: str) -> None:
        """The run broke off; what there is of the output stays."""
        self.begin()
        self._close_all("incomplete")
        self.resource |= {"status": "failed", "error": {"code": code, "message": message}}
        self._tell("response.failed", response=self.resource)

    def _place(self, prefix: str) -> tuple[int, str]:
        """Where a new item stands in the output, and its id."""
        self.begin()
        at = self._count
        self._count += 1
        return at, f"{prefix}_{self._stem}_{at}"

    def _message(self) -> MessageItem:
        item = self._open
        if type(item) is MessageItem:
            return item
        self._close_open()
        self._open = item = self._added(MessageItem(*self._place("msg"), self._tell))
        return item

    def _reasoning(self) -> ReasoningItem:
        item = self._open
        if type(item) is ReasoningItem:
            return item
        self._close_open()
        self._open = item = self._added(ReasoningItem(*self._place("rs"), self._tell))
        return item

    def _call_begun(self, begun: CallBegun) -> None:
        """A tool that the caller did not allow is not called, whatever the model says."""
        number, id_, name = begun
        if self._allowed and name not in self._allowed:
            self._refused = name
            return
        self._close_open()
        home = self._homes.get(name)
        names = {"name": name} if home is None else {"name": home.name, "namespace": home.namespace}
        at, item_id = self._place("fc")
        call_id = id_ or f"call_{self._stem}_{at}"
        self._calls[number] = self._added(CallItem(at, item_id, call_id, names, self._tell))

    def _tool(self, call: Call) -> ToolItem:
        return self._added(ToolItem(*self._place("mcp"), call.name, call.arguments, self._tell))

    def _other(self, event: Other) -> None:
        """Fields of chat completions that this API has in another form, items of its own, and what nobody knows."""
        fields = dict(event.fields)
        if isinstance(fields.get("annotations"), list):
            self._message().annotate([_annotation(one) for one in fields.pop("annotations")])
        if isinstance(fields.get("images"), list):
            for picture in fields.pop("images"):
                self._picture(picture)
        if isinstance(fields.get("output_item"), dict):
            self._foreign(fields.pop("output_item"))
        if fields:
            self._message().add(fields)

    def _picture(self, picture: Any) -> None:
        """A picture in the answer: its data where it came as such, else its address."""
        told = picture.get("image_url") if isinstance(picture, dict) else None
        url = str(told.get("url") if isinstance(told, dict) else told)
        data = url.partition(";base64,")[2] if url.startswith("data:") else url
        self._close_open()
        at, id_ = self._place("ig")
        fields = {"id": id_, "type": "image_generation_call", "status": "in_progress", "result": None}
        item = self._added(Item(at, fields, self._tell))
        item.fields["result"] = data
        item.close()

    def _foreign(self, item: dict[str, Any]) -> None:
        """An item that only this API knows, such as a search that the provider made."""
        self._close_open()
        at, own = self._place("item")
        told = item.get("id")
        id_ = told if isinstance(told, str) and told and told not in self._foreign_ids else own
        self._foreign_ids.add(id_)
        hollow = {name: [] if name in _FILLED else value for name, value in item.items()}
        begun = self._added(Item(at, {**hollow, "id": id_, "status": "in_progress"}, self._tell))
        begun.fields |= {**item, "id": id_}
        status = item.get("status")
        begun.close(status if isinstance(status, str) and status != "in_progress" else "completed")

    def _step(self, step: Step) -> None:
        """What a strategy thinks is reasoning; that it does something is told to those who ask for it."""
        thought = step.metadata.get("thought")
        if thought:
            self._close_open()
            self._reasoning().thought(str(thought))
            self._close_open()
        if self._extensions:
            self.begin()
            fields = {"iteration": step.iteration, "metadata": dict(step.metadata), "error": step.error}
            self._tell("headgate:step", step=step.type, **fields)

    def _retrieved(self, event: Retrieved) -> None:
        if self._extensions:
            self.begin()
            self._tell("headgate:retrieval", **retrieval_of(event))

    def _added(self, item: _AnyItem) -> _AnyItem:
        self.resource["output"].append(item.fields)
        return item

    def _close_open(self, status: str = "completed") -> None:
        if self._open is not None:
            self._open.close(status)
            self._open = None

    def _close_all(self, status: str) -> None:
        for call in self._calls.values():
            call.close(status)
        for tool in self._tools.values():
            tool.close(status)
        self._calls, self._tools = {}, {}
        self._close_open(status)

    def _end(self, ended: Ended) -> None:
        cut = ended.finish in ("length", "content_filter")
        if not self._count and not self._refused:
            self._message()
        self._close_all("incomplete" if cut else "completed")
        self.begin()
        for name, value in ended.beside.items():
            if value is not None and (name == "service_tier" or name not in self.resource):
                self.resource[name] = value
        self.resource["usage"] = usage_of(ended.tokens) if ended.tokens is not None else None
        if self._refused:
            message = f"The model called the tool '{self._refused}', which 'tool_choice' does not allow."
            self.fail("model_error", message)
        elif cut:
            reason = "content_filter" if ended.finish == "content_filter" else "max_output_tokens"
            if ended.stop and self._extensions:
                reason = ended.stop
            self.resource |= {"status": "incomplete", "incomplete_details": {"reason": reason}}
            self._tell("response.incomplete", response=self.resource)
        else:
            self.complete()

    def complete(self) -> None:
        ended_at = self.resource["created_at"] + int(time.monotonic() - self._since)
        self.resource |= {"status": "completed", "completed_at": ended_at}
        self._tell("response.completed", response=self.resource)


_SAYS: dict[type, Callable[[_Response, Any], None]] = {
    Text: _Response._text,
    Thought: _Response._thought,
    Refusal: _Response._refusal,
    Sealed: _Response._sealed,
    Other: _Response._other,
    Call: _Response._call,
    CallBegun: _Response._call_begun,
    CallPiece: _Response._call_piece,
    ToolStarted: _Response._tool_started,
    ToolEnded: _Response._tool_ended,
    ToolHeld: _Response._tool_held,
    Step: _Response._step,
    Retrieved: _Response._retrieved,
    Asking: _Response._asking,
    Ended: _Response._end,
}


class StreamWriter:
    """A run as a stream of events."""

    def __init__(self, occasion: Occasion) -> None:
        self._log = EventLog()
        self._response = _Response(occasion, self._log)

    def feed(self, event: ChatEvent) -> bytes:
        self._response.say(event)
        return self._log.take()

    def end(self) -> bytes:
        return b""

    def nothing(self) -> bytes:
        """All events of a response for which no model is asked."""
        self._response.begin()
        self._response.complete()
        return self._log.take()

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        """The response fails; what there is of its output stays."""
        self._response.fail(_code(status, error), str(error.get("message") or ""))
        return self._log.take()


class WholeWriter:
    """A run as one response."""

    def __init__(self, occasion: Occasion) -> None:
        self._response = _Response(occasion, silent)

    def feed(self, event: ChatEvent) -> bytes:
        self._response.say(event)
        return b""

    def end(self) -> bytes:
        return orjson.dumps(self._response.resource)

    @property
    def output(self) -> list[dict[str, Any]]:
        """The items that were made so far."""
        made: list[dict[str, Any]] = self._response.resource["output"]
        return made

    def broken(self, status: int, error: Mapping[str, Any]) -> bytes:
        return broken(status, error)


def refused(_status: int, error: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer that is an error."""
    return {"error": error}


def broken(_status: int, error: Mapping[str, Any], number: int = 0) -> bytes:
    """The last event of a stream that breaks off, as that of the number. It says all twice: OpenAI's API has an error's
    members in the event itself, its clients and Open Responses look for them in `error`.
    """
    told = {name: error.get(name) for name in ("code", "message", "param")}
    inner = {**told, "type": error.get("type")}
    data = orjson.dumps({"type": "error", "sequence_number": number, **told, "error": inner})
    return b"event: error\ndata: %b\n\n" % data


def _code(status: int, error: Mapping[str, Any]) -> str:
    """One of the codes that clients of the API know."""
    if error.get("code") == "upstream_context_window":
        return "context_length_exceeded"
    if status == 429:
        return "rate_limit_exceeded"
    return "server_error"


def _annotation(told: Any) -> Any:
    """Chat completions put what belongs to a kind of annotation one level deeper."""
    kind = told.get("type") if isinstance(told, dict) else None
    inner = told.get(kind) if isinstance(kind, str) else None
    return {"type": told["type"], **inner} if isinstance(inner, dict) else told
