"""A scripted provider that speaks OpenAI's Responses API: its answers, whole and as streams, in the API's own words."""

import json
from collections.abc import Sequence
from typing import Any

from tests.harness.stub import Answer, Recorded, stream, usual

Fields = dict[str, Any]
TOLD = {
    "input_tokens": 7,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 10,
}


def message(text: str = "Hello there.", id_: str = "msg_p1", **part: Any) -> Fields:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": [], **part}]
    return {"id": id_, "type": "message", "status": "completed", "role": "assistant", "content": content}


def refusal(text: str) -> Fields:
    return {**message(), "content": [{"type": "refusal", "refusal": text}]}


def reasoning(*summary: str, sealed: str = "", id_: str = "rs_p1") -> Fields:
    item: Fields = {"id": id_, "type": "reasoning", "status": "completed"}
    item["summary"] = [{"type": "summary_text", "text": text} for text in summary]
    return {**item, "encrypted_content": sealed} if sealed else item


def call(name: str = "weather", arguments: str = '{"city":"Oslo"}', call_id: str = "call_1") -> Fields:
    item = {"id": f"fc_{call_id}", "type": "function_call", "status": "completed", "call_id": call_id, "name": name}
    return {**item, "arguments": arguments}


def resource(output: Sequence[Fields] = (), status: str = "completed", **more: Any) -> Fields:
    """A response as OpenAI tells it."""
    base: Fields = {
        "id": "resp_p1",
        "object": "response",
        "created_at": 1750000000,
        "completed_at": 1750000001 if status == "completed" else None,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "stub-small",
        "output": list(output),
        "usage": TOLD if status != "in_progress" else None,
    }
    nothing = ("instructions", "max_output_tokens", "max_tool_calls", "previous_response_id", "user")
    base |= dict.fromkeys((*nothing, "prompt_cache_key", "safety_identifier"))
    usual_values: Fields = {
        "background": False,
        "frequency_penalty": 0,
        "metadata": {},
        "parallel_tool_calls": True,
        "presence_penalty": 0,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1,
        "truncation": "disabled",
    }
    return {**base, **usual_values, **more}


def whole(*output: Fields, **more: Any) -> Answer:
    return Answer(body=json.dumps(resource(output or (message(),), **more)).encode())


class Told:
    """The events of a stream in their order, numbered."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def add(self, kind: str, **fields: Any) -> None:
        data = json.dumps({"type": kind, "sequence_number": len(self.pieces), **fields}, separators=(",", ":"))
        self.pieces.append(f"event: {kind}\ndata: {data}\n\n".encode())

    def item(self, at: int, item: Fields) -> None:
        """All events of one item."""
        place = {"item_id": item["id"], "output_index": at}
        hollow = {name: [] if isinstance(value, list) else value for name, value in item.items()}
        begun = {**hollow, "status": "in_progress", **({"arguments": ""} if "arguments" in item else {})}
        self.add("response.output_item.added", output_index=at, item=begun)
        if item["type"] == "message":
            for number, part in enumerate(item["content"]):
                self._part(part, {**place, "content_index": number})
        elif item["type"] == "reasoning":
            for number, part in enumerate(item["summary"]):
                self._summary(part, {**place, "summary_index": number})
        elif item["type"] == "function_call":
            for piece in _halves(item["arguments"]):
                self.add("response.function_call_arguments.delta", **place, delta=piece)
            self.add("response.function_call_arguments.done", **place, arguments=item["arguments"])
        self.add("response.output_item.done", output_index=at, item=item)

    def _part(self, part: Fields, place: Fields) -> None:
        kind, field = ("refusal", "refusal") if part["type"] == "refusal" else ("output_text", "text")
        more = {"logprobs": part["logprobs"]} if kind == "output_text" else {}
        self.add("response.content_part.added", **place, part={**part, field: ""})
        for piece in _halves(part[field]):
            self.add(f"response.{kind}.delta", **place, delta=piece, **more)
        for number, one in enumerate(part.get("annotations", ())):
            told = {"annotation_index": number, "annotation": one}
            self.add("response.output_text.annotation.added", **place, **told)
        self.add(f"response.{kind}.done", **place, **{field: part[field]}, **more)
        self.add("response.content_part.done", **place, part=part)

    def _summary(self, part: Fields, place: Fields) -> None:
        self.add("response.reasoning_summary_part.added", **place, part={**part, "text": ""})
        for piece in _halves(part["text"]):
            self.add("response.reasoning_summary_text.delta", **place, delta=piece)
        self.add("response.reasoning_summary_text.done", **place, text=part["text"])
        self.add("response.reasoning_summary_part.done", **place, part=part)


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]


def pieces(*output: Fields, last: str = "response.completed", **more: Any) -> list[bytes]:
    """The events of a whole stream; `more` are fields of the response at its end."""
    told = Told()
    begun = resource(status="in_progress")
    told.add("response.created", response=begun)
    told.add("response.in_progress", response=begun)
    for at, item in enumerate(output):
        told.item(at, item)
    told.add(last, response=resource(output, **{"status": last.removeprefix("response."), **more}))
    return told.pieces


def streamed(*output: Fields, **more: Any) -> Answer:
    return stream(pieces(*(output or (message(),)), **more))


def refused(status: int, message: str, **more: Any) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}
    return Answer(status=status, body=json.dumps({"error": error}).encode())


def native(request: Recorded) -> Answer:
    """What a well-behaved provider answers."""
    asked = request.json if request.method == "POST" else {}
    if request.path.endswith("/responses/compact"):
        item = {"id": "cmp_p1", "type": "compaction", "encrypted_content": "gAAAA-sealed"}
        told = {"id": "resp_p2", "object": "response.compaction", "created_at": 1750000000, "output": [item]}
        return Answer(body=json.dumps({**told, "usage": TOLD}).encode())
    if not request.path.endswith("/responses"):
        return usual(request)
    items = asked["input"] if isinstance(asked["input"], list) else []
    calls = {item["call_id"] for item in items if item.get("type") == "function_call"}
    for item in items:
        if item.get("type") == "function_call_output" and item["call_id"] not in calls:
            return refused(400, f"No tool call found for function call output with call_id {item['call_id']}.")
    is_first = not any(item.get("type") == "function_call_output" for item in items)
    tools = [tool for tool in asked.get("tools") or () if tool.get("type") == "function"]
    output = [call(tools[0]["name"])] if tools and is_first else [message()]
    told = [{"description": None, "parameters": None, "strict": True, **tool} for tool in tools]
    return (streamed if asked.get("stream") else whole)(*output, tools=told)
