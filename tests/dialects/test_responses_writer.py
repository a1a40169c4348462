"""Runs in the words of the Responses API: what each event of a run becomes, streamed and in one piece."""

from typing import Any

import orjson
import pytest

from headgate.core.chat import (
    Asking,
    Call,
    CallBegun,
    CallPiece,
    ChatEvent,
    Ended,
    Other,
    Refusal,
    Sealed,
    Step,
    Text,
    Thought,
    ToolEnded,
    ToolHeld,
    ToolStarted,
)
from headgate.core.tokens import Tokens
from headgate.dialects.responses_writer import StreamWriter, WholeWriter
from headgate.dialects.types import Occasion
from tests.conformance.responses_rules import check_stream, check_whole
from tests.conformance.wire import sent
from tests.requirements import covers

pytestmark = covers("responses")
END = Ended("stop", "", Tokens(7, 3, 2, 1))
TOOL = Call("call_0", "calculator", '{"expression":"6*7"}')
Fields = dict[str, Any]


def occasion(*, extensions: bool = False, **asked: Any) -> Occasion:
    return Occasion("req_01", "small", 1750000000, asked, usage=False, extensions=extensions)


def streamed(*events: ChatEvent, at: Occasion | None = None) -> list[Fields]:
    """The events that are sent; they keep to the rules, and end in what a caller gets in one piece."""
    writer, whole = StreamWriter(at or occasion()), WholeWriter(at or occasion())
    stream = b"".join(map(writer.feed, events)) + writer.end()
    for event in events:
        assert whole.feed(event) == b""
    check_stream(stream, usage=events[-1][2] is not None)
    told = [event.object for event in sent(stream)]
    assert orjson.loads(whole.end()) == told[-1]["response"]
    return told


def output(*events: ChatEvent, at: Occasion | None = None) -> list[Fields]:
    items: list[Fields] = streamed(*events, END, at=at)[-1]["response"]["output"]
    return items


def test_a_text_is_told_piece_by_piece_in_the_order_of_the_api() -> None:
    told = streamed(Asking(1), Text("Hello"), Text(" there."), END)
    assert [event["type"].removeprefix("response.") for event in told] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    response = told[-1]["response"]
    assert (response["id"], response["model"], response["created_at"]) == ("resp_01", "small", 1750000000)
    assert response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 10,
    }


def test_a_response_repeats_what_was_asked() -> None:
    asked = {
        "instructions": "Be brief.",
        "temperature": 0.5,
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "tool_choice": "required",
        "tools": [{"type": "function", "name": "f"}],
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "reasoning": {"effort": "high"},
        "store": True,
    }
    response = streamed(Text("x"), END, at=occasion(**asked))[-1]["response"]
    same = ("instructions", "temperature", "max_output_tokens", "metadata", "tool_choice", "text")
    assert {name: response[name] for name in same} == {name: asked[name] for name in same}
    assert response["reasoning"] == {"effort": "high", "summary": None}
    assert response["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": False}
    ]
    assert response["store"] is False, "nothing is stored, whatever was asked"


def test_a_thought_is_an_item_before_the_text() -> None:
    thought, message = output(Thought("Hm"), Thought("m."), Text("Yes."))
    assert thought["summary"] == [{"type": "summary_text", "text": "Hmm."}]
    assert message["content"][0]["text"] == "Yes."


@pytest.mark.parametrize(
    ("seal", "content"), [(Sealed("EqQB"), "signed:EqQB"), (Sealed("", "gAAAA", "rs_9"), "gAAAA")], ids=["sign", "seal"]
)
def test_a_seal_belongs_to_the_thought_before_it(seal: Sealed, content: str) -> None:
    first, second = output(Thought("Hm."), seal, Thought("Again."), Text(""))
    assert (first["encrypted_content"], first["summary"][0]["text"]) == (content, "Hm.")
    assert "encrypted_content" not in second


def test_a_sealed_thought_alone_is_an_item_without_words() -> None:
    sealed, _ = output(Sealed("", "gAAAA"), Text("Yes."))
    assert (sealed["type"], sealed["summary"], sealed["encrypted_content"]) == ("reasoning", [], "gAAAA")


def test_a_refusal_is_a_part_of_its_own() -> None:
    (message,) = output(Text("Well. "), Refusal("I can"), Refusal("not."))
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][1] == {"type": "refusal", "refusal": "I cannot."}


def test_calls_that_come_in_turns_stay_apart() -> None:
    first, second = output(
        CallBegun(0, "call_a", "f"),
        CallPiece(0, '{"a"'),
        CallBegun(1, "call_b", "g"),
        CallPiece(1, "{"),
        CallPiece(0, ":1}"),
        CallPiece(1, "}"),
    )
    assert (first["call_id"], first["name"], first["arguments"]) == ("call_a", "f", '{"a":1}')
    assert (second["call_id"], second["name"], second["arguments"]) == ("call_b", "g", "{}")


def test_a_call_without_an_id_gets_one_that_stays() -> None:
    told = streamed(CallBegun(0, "", "f"), CallPiece(0, "{}"), END)
    ids = {event["item"]["call_id"] for event in told if "item" in event}
    assert len(ids) == 1
    assert ids != {""}


def test_a_tool_of_a_namespace_gets_its_names_back() -> None:
    inner = {"type": "function", "name": "read"}
    at = occasion(tools=[{"type": "namespace", "name": "mcp__files__", "tools": [inner]}])
    (call,) = output(Call("call_a", "mcp__files__read", "{}"), at=at)
    assert (call["name"], call["namespace"]) == ("read", "mcp__files__")


def test_a_tool_that_is_not_allowed_is_not_called() -> None:
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
    response = streamed(Text("Hm."), Call("a", "g", "{}"), END, at=occasion(tool_choice=allowed))[-1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "model_error")
    assert "'g'" in response["error"]["message"]
    assert [item["type"] for item in response["output"]] == ["message"]
    assert response["usage"]["total_tokens"] == 10
    assert output(Call("a", "f", "{}"), at=occasion(tool_choice=allowed))[0]["name"] == "f"


def test_what_the_gateways_tools_do_is_told_as_items_that_clients_know() -> None:
    told = streamed(Asking(1), ToolStarted(TOOL, 1), ToolEnded(TOOL, 1, "42", False, 0.1), Text("It is 42."), END)
    kinds = [event["type"] for event in told if "mcp_call" in event["type"]]
    assert kinds == [
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.completed",
    ]
    call, message = told[-1]["response"]["output"]
    assert (call["type"], call["name"], call["arguments"]) == ("mcp_call", "calculator", TOOL.arguments)
    assert (call["output"], call["error"], call["status"]) == ("42", None, "completed")
    assert message["content"][0]["text"] == "It is 42."


def test_a_tool_that_failed_or_was_held_back_says_why() -> None:
    failed, held = output(ToolStarted(TOOL, 1), ToolEnded(TOOL, 1, "no", True, 0.1), ToolHeld(TOOL, 2))[:2]
    assert (failed["error"], failed["output"], failed["status"]) == ("no", None, "failed")
    assert "needs an approval" in held["error"]


def test_steps_are_told_to_those_who_ask_but_thoughts_to_all() -> None:
    steps = (Step("planning", 1, {"thought": "First the sum."}), Step("reasoning_complete", 0, {"total_steps": 1}))
    quiet, loud = (streamed(*steps, Text("42"), END, at=occasion(extensions=on)) for on in (False, True))
    assert not [event for event in quiet if event["type"].startswith("headgate:")]
    assert [event["step"] for event in loud if event["type"] == "headgate:step"] == ["planning", "reasoning_complete"]
    assert quiet[-1]["response"]["output"][0]["summary"][0]["text"] == "First the sum."


def test_probabilities_and_sources_come_with_the_text() -> None:
    token = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": []}
    source = {"type": "url_citation", "url_citation": {"url": "https://example.com", "start_index": 0, "end_index": 2}}
    told = streamed(Text("Hi", {"logprobs": {"content": [token]}}), Other({"annotations": [source]}), END)
    (part,) = told[-1]["response"]["output"][0]["content"]
    assert part["logprobs"] == [token]
    flat = {"type": "url_citation", "url": "https://example.com", "start_index": 0, "end_index": 2}
    assert part["annotations"] == [flat]
    assert [event["logprobs"] for event in told if event["type"].endswith("text.delta")] == [[token]]


def test_pictures_searches_and_what_nobody_knows_are_not_lost() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    shown, found, message = output(Other({"images": [picture]}), Other({"output_item": search}), Other({"new": 1}))
    assert (shown["type"], shown["result"]) == ("image_generation_call", "AAAA")
    assert found == search
    assert message["new"] == 1


def test_an_empty_answer_is_an_empty_text() -> None:
    (message,) = output()
    assert message["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_is_incomplete(finish: Any, reason: str) -> None:
    last = streamed(Text("Hel"), Ended(finish, "", None))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_a_stream_that_breaks_off_fails_with_what_there_is() -> None:
    writer = StreamWriter(occasion())
    stream = writer.feed(Text("Hel")) + writer.feed(CallBegun(0, "a", "f"))
    stream += writer.broken(502, {"code": "upstream_broke_off", "message": "It broke off."})
    assert check_stream(stream).is_broken
    response = sent(stream)[-1].object["response"]
    assert response["error"] == {"code": "server_error", "message": "It broke off."}
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


def test_what_the_provider_told_beside_its_answer_is_told() -> None:
    beside = {"service_tier": "flex", "system_fingerprint": "fp_1", "id": "not-ours"}
    response = streamed(Text("x"), Ended("stop", "", None, beside))[-1]["response"]
    assert (response["service_tier"], response["system_fingerprint"], response["id"]) == ("flex", "fp_1", "resp_01")


def test_whole_answers_tell_errors_as_the_api_does() -> None:
    whole = WholeWriter(occasion())
    whole.feed(Text("x"))
    (event,) = sent(whole.broken(502, {"code": "c", "message": "m", "type": "t", "param": None}))
    assert event.name == "error"
    assert event.object["error"] == {"code": "c", "message": "m", "param": None, "type": "t"}
    check_whole(_ended(whole))


def _ended(writer: WholeWriter) -> bytes:
    writer.feed(END)
    return writer.end()
