"""A chat with a model in the words of OpenAI's Responses API. Never fails: what cannot be said is told as lost."""

from collections.abc import Sequence
from typing import Any

from headgate.core.chat_request import ChatRequest, Format, Item, Message, Rendered, TextPart
from headgate.dialects.effort import effort_of
from headgate.dialects.fields import Losses
from headgate.dialects.responses_items import render_items
from headgate.dialects.responses_request import ENCRYPTED, LOGPROBS
from headgate.dialects.responses_tools import render_choice, render_tools

_SAME = frozenset(
    (
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "top_logprobs",
        "store",
    )
)
"""Fields that chat completions have by the same name and of the same form."""


def render(request: ChatRequest) -> Rendered:
    own = request.dialect == "responses"
    lost = Losses()
    instructions, items = _split(request.items)
    fields: dict[str, Any] = {"model": request.model}
    if instructions:
        fields["instructions"] = instructions
    fields["input"] = render_items(items, own, lost)
    if request.stream:
        fields["stream"] = True
    if request.tools:
        fields["tools"] = render_tools(request.tools, own, lost)
    if request.choice is not None:
        fields["tool_choice"] = render_choice(request.choice, own, lost)
    same = (
        ("parallel_tool_calls", request.parallel),
        ("max_output_tokens", request.max_tokens),
        ("temperature", request.temperature),
        ("top_p", request.top_p),
        ("user", request.user or None),
    )
    fields |= {name: value for name, value in same if value is not None}
    if request.top_k is not None:
        lost.add("top_k")
    if request.stop:
        lost.add("stop")
    _think(request, own, fields)
    _say_beside(request, own, fields, lost)
    return Rendered(fields, lost.paths)


def _split(items: Sequence[Item]) -> tuple[str, Sequence[Item]]:
    """What the model is told before all else is a field of its own, if it is plain text."""
    match items:
        case [Message("system", (TextPart(text, beside),), "", further), *rest] if text and not beside and not further:
            return text, rest
    return "", items


def _think(request: ChatRequest, own: bool, fields: dict[str, Any]) -> None:
    """A budget of tokens becomes the least effort that allows as many. Thoughts come sealed, to be sent back."""
    effort = request.effort
    if effort is None and request.thinks is not None:
        effort = effort_of(request.thinks)
    if effort is not None:
        fields["reasoning"] = {"effort": "xhigh" if effort == "max" and not own else effort}
    if effort not in (None, "none"):
        fields["include"] = [ENCRYPTED]


def _say_beside(request: ChatRequest, own: bool, fields: dict[str, Any], lost: Losses) -> None:
    beside = dict(request.beside)
    text = {name: value for name, value in (("format", _format(request.format)),) if value is not None}
    if "verbosity" in beside:
        text["verbosity"] = beside.pop("verbosity")
    if beside.pop("logprobs", None):
        fields["include"] = [*fields.get("include", ()), LOGPROBS]
    if not own:
        fields["store"] = False  # left out, it means true here and false elsewhere
    for name, value in beside.items():
        if name == "include" and own:
            fields["include"] = [*fields.get("include", ()), *value]
        elif own and name.startswith("reasoning."):
            fields["reasoning"] = {**fields.get("reasoning", {}), name.removeprefix("reasoning."): value}
        elif own and name.startswith("text."):
            text[name.removeprefix("text.")] = value
        elif own or name in _SAME:
            fields[name] = value
        else:
            lost.beside({name: value}, "")
    if text:
        fields["text"] = text


def _format(form: Format | None) -> dict[str, Any] | None:
    """A schema has to have a name here; one that was not made for strict decoding would be refused as such."""
    if form is None:
        return None
    if form.schema is None:
        return {"type": "json_object"}
    told: dict[str, Any] = {"type": "json_schema", "name": form.name or "answer", "schema": form.schema}
    if form.description:
        told["description"] = form.description
    if form.strict is not None:
        told["strict"] = form.strict
    return told
