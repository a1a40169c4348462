"""The output of a response while it is made: items that are opened, grow and are closed, each step told as an event.

Pure: knows the API's words alone, and nothing of who says what.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Protocol

import orjson


class Tell(Protocol):
    """Sends an event of a type with these fields."""

    def __call__(self, kind: str, /, **fields: Any) -> None: ...


class Item:
    """One item of the output. `fields` are what it is at the moment."""

    __slots__ = ("at", "fields", "id", "tell")

    def __init__(self, at: int, fields: dict[str, Any], tell: Tell) -> None:
        self.at = at
        self.id: str = fields["id"]
        self.fields = fields
        self.tell = tell
        tell("response.output_item.added", output_index=at, item=fields)

    def step(self, kind: str, **fields: Any) -> None:
        self.tell(kind, item_id=self.id, output_index=self.at, **fields)

    def close(self, status: str = "completed") -> None:
        self.fields["status"] = status
        self.tell("response.output_item.done", output_index=self.at, item=self.fields)


class MessageItem(Item):
    """What the model says: parts of text, or of refusal. The last one is open until another begins."""

    __slots__ = ("_extra", "_kind", "_part", "_pieces", "_probabilities")

    def __init__(self, at: int, id_: str, tell: Tell) -> None:
        fields = {"id": id_, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        super().__init__(at, fields, tell)
        self._kind = ""
        self._part = -1
        self._pieces: list[str] = []
        self._probabilities: list[Any] = []
        self._extra: dict[str, Any] = {}

    def text(self, piece: str, beside: Mapping[str, Any]) -> None:
        """`beside` are fields that came with it, in the words of chat completions."""
        self._turn_to("output_text")
        self._pieces.append(piece)
        probabilities = self._note(beside) if beside else []
        self.step("response.output_text.delta", content_index=self._part, delta=piece, logprobs=probabilities)

    def refusal(self, piece: str) -> None:
        self._turn_to("refusal")
        self._pieces.append(piece)
        self.step("response.refusal.delta", content_index=self._part, delta=piece)

    def annotate(self, annotations: list[Any]) -> None:
        self._turn_to("output_text")
        noted = self.fields["content"][-1]["annotations"]
        for annotation in annotations:
            self.step(
                "response.output_text.annotation.added",
                content_index=self._part,
                annotation_index=len(noted),
                annotation=annotation,
            )
            noted.append(annotation)

    def add(self, fields: Mapping[str, Any]) -> None:
        """Fields that nobody here knows, beside the text."""
        self._extra |= fields

    def close(self, status: str = "completed") -> None:
        if self._part < 0:
            self._turn_to("output_text")  # an empty answer is an empty text
        self._end_part()
        self.fields |= {name: value for name, value in self._extra.items() if name not in self.fields}
        super().close(status)

    def _note(self, beside: Mapping[str, Any]) -> list[Any]:
        told = beside.get("logprobs")
        probabilities = told.get("content") if isinstance(told, Mapping) else None
        self._extra |= {name: value for name, value in beside.items() if name != "logprobs"}
        if not isinstance(probabilities, list):
            return []
        self._probabilities += probabilities
        return probabilities

    def _turn_to(self, kind: str) -> None:
        if self._kind == kind:
            return
        if self._kind:
            self._end_part()
        self._kind = kind
        self._part += 1
        part: dict[str, Any] = {"type": kind, "text": "", "annotations": [], "logprobs": []}
        if kind == "refusal":
            part = {"type": kind, "refusal": ""}
        self.step("response.content_part.added", content_index=self._part, part=part)
        self.fields["content"].append(part)

    def _end_part(self) -> None:
        part, whole = self.fields["content"][-1], "".join(self._pieces)
        if self._kind == "refusal":
            part["refusal"] = whole
            self.step("response.refusal.done", content_index=self._part, refusal=whole)
        else:
            part["text"], part["logprobs"] = whole, self._probabilities
            self.step("response.output_text.done", content_index=self._part, text=whole, logprobs=self._probabilities)
        self.step("response.content_part.done", content_index=self._part, part=part)
        self._pieces, self._probabilities = [], []


class ReasoningItem(Item):
    """What the model shows of its reasoning, as a summary: the one form that all clients read."""

    __slots__ = ("_pieces",)

    def __init__(self, at: int, id_: str, tell: Tell) -> None:
        super().__init__(at, {"id": id_, "type": "reasoning", "status": "in_progress", "summary": []}, tell)
        self._pieces: list[str] = []

    def thought(self, piece: str) -> None:
        if not self._pieces:
            part = {"type": "summary_text", "text": ""}
            self.step("response.reasoning_summary_part.added", summary_index=0, part=part)
        self._pieces.append(piece)
        self.step("response.reasoning_summary_text.delta", summary_index=0, delta=piece)

    def seal(self, content: str) -> None:
        self.fields["encrypted_content"] = content

    def close(self, status: str = "completed") -> None:
        if self._pieces:
            whole = "".join(self._pieces)
            part = {"type": "summary_text", "text": whole}
            self.step("response.reasoning_summary_text.done", summary_index=0, text=whole)
            self.step("response.reasoning_summary_part.done", summary_index=0, part=part)
            self.fields["summary"].append(part)
        super().close(status)


class CallItem(Item):
    """A call of one of the caller's functions."""

    __slots__ = ("_pieces",)

    def __init__(self, at: int, id_: str, call_id: str, names: Mapping[str, str], tell: Tell) -> None:
        fields = {"id": id_, "type": "function_call", "status": "in_progress", "call_id": call_id, **names}
        super().__init__(at, {**fields, "arguments": ""}, tell)
        self._pieces: list[str] = []

    def arguments(self, piece: str) -> None:
        self._pieces.append(piece)
        self.step("response.function_call_arguments.delta", delta=piece)

    def close(self, status: str = "completed") -> None:
        whole = self.fields["arguments"] = "".join(self._pieces)
        self.step("response.function_call_arguments.done", name=self.fields["name"], arguments=whole)
        super().close(status)


class ToolItem(Item):
    """A call of one of the gateway's own tools: what was called, and what came of it."""

    __slots__ = ()

    def __init__(self, at: int, id_: str, name: str, arguments: str, tell: Tell) -> None:
        fields = {"id": id_, "type": "mcp_call", "status": "in_progress", "server_label": "headgate", "name": name}
        super().__init__(at, {**fields, "arguments": "", "output": None, "error": None}, tell)
        self.step("response.mcp_call.in_progress")
        self.fields["arguments"] = arguments
        self.step("response.mcp_call_arguments.delta", delta=arguments)
        self.step("response.mcp_call_arguments.done", arguments=arguments)

    def end(self, result: str, *, failed: bool) -> None:
        self.fields["error" if failed else "output"] = result
        self.step(f"response.mcp_call.{'failed' if failed else 'completed'}")
        self.close("failed" if failed else "completed")


class EventLog:
    """Numbers events and keeps their bytes until they are taken."""

    __slots__ = ("_bytes", "_numbers")

    def __init__(self) -> None:
        self._bytes: list[bytes] = []
        self._numbers = itertools.count()

    def __call__(self, kind: str, /, **fields: Any) -> None:
        data = orjson.dumps({"type": kind, "sequence_number": next(self._numbers), **fields})
        self._bytes.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))

    def take(self) -> bytes:
        taken = self._bytes
        if not taken:
            return b""
        self._bytes = []
        return taken[0] if len(taken) == 1 else b"".join(taken)


def silent(_kind: str, /, **_fields: Any) -> None:
    """For answers in one piece."""
