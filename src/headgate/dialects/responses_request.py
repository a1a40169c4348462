"""A request of OpenAI's Responses API as values. Pure: knows no socket, no upstream and no caller.

What other APIs know by a name of chat completions stands in `beside` under that name: `verbosity`, `logprobs`,
`top_logprobs`, `metadata`, `service_tier`, `store`, `prompt_cache_key`, `safety_identifier` and the penalties.
"""

from collections.abc import Mapping
from typing import Any

from headgate.core.chat_request import ChatRequest, Effort, Format, Item, Message, TextPart
from headgate.core.errors import InvalidField
from headgate.core.state_errors import PreviousResponseNotFound
from headgate.dialects.effort import known_effort
from headgate.dialects.responses_items import parse_items
from headgate.dialects.responses_tools import parse_choice, parse_tools

ENCRYPTED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
"""What a request may ask to be included in its answer, and what other APIs have too or what is always told."""
_READ = frozenset(
    (
        "model",
        "input",
        "instructions",
        "stream",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "temperature",
        "top_p",
        "reasoning",
        "text",
        "include",
        "truncation",
        "user",
        "store",
        "stream_options",
        "background",
        "previous_response_id",
        "conversation",
        "prompt",
        "generate",
    )
)
_INSTEAD = {
    "conversation": "send the whole conversation in 'input'",
    "prompt": "send its text in 'instructions' and 'input'",
    "background": "leave the field out and wait for the answer, or stream it",
}


def parse(fields: Mapping[str, Any]) -> ChatRequest:
    """Raises InvalidField naming the path of what cannot be read, PreviousResponseNotFound for what is not stored."""
    _refuse_stored(fields)
    beside = {name: value for name, value in fields.items() if name not in _READ and value is not None}
    if beside.get("top_logprobs") == 0:
        del beside["top_logprobs"]
    effort = _reasoning(fields.get("reasoning"), beside)
    form = _text(fields.get("text"), beside)
    _include(fields.get("include"), beside)
    for name, usual in (("truncation", "disabled"), ("store", False)):
        if fields.get(name) not in (None, usual):
            beside[name] = fields[name]
    if _hides_length(fields.get("stream_options")):
        beside["stream_options"] = fields["stream_options"]
    return ChatRequest(
        dialect="responses",
        model=fields.get("model") or "",
        items=(*_instructions(fields.get("instructions")), *parse_items(fields.get("input"))),
        stream=fields.get("stream") is True,
        tools=parse_tools(fields.get("tools")),
        choice=parse_choice(fields.get("tool_choice")),
        parallel=_typed(fields, "parallel_tool_calls", bool, "true or false"),
        max_tokens=_typed(fields, "max_output_tokens", int, "a whole number"),
        temperature=_number(fields, "temperature"),
        top_p=_number(fields, "top_p"),
        effort=effort,
        format=form,
        user=_typed(fields, "user", str, "a string") or "",
        beside=beside,
    )


def _refuse_stored(fields: Mapping[str, Any]) -> None:
    """What would need responses, conversations or prompts that are kept here."""
    previous = fields.get("previous_response_id")
    if previous is not None:
        raise PreviousResponseNotFound(
            f"Previous response with id '{previous}' not found: responses are not stored here, "
            "so send the whole conversation in 'input'.",
            param="previous_response_id",
        )
    if fields.get("generate") is False:
        message = "The field 'generate' can be false on a WebSocket only, which holds what was prepared: leave it out."
        raise InvalidField(message, param="generate")
    for name, remedy in _INSTEAD.items():
        if fields.get(name):
            raise InvalidField(f"The field '{name}' needs stored state, which is not kept here: {remedy}.", param=name)


def _instructions(told: object) -> tuple[Item, ...]:
    if told is None or told == "":
        return ()
    if isinstance(told, list):
        return parse_items(told)
    if type(told) is not str:
        raise InvalidField("The field 'instructions' must be a string.", param="instructions")
    return (Message("system", (TextPart(told),)),)


def _reasoning(told: object, beside: dict[str, Any]) -> Effort | None:
    if told is None:
        return None
    if type(told) is not dict:
        raise InvalidField("The field 'reasoning' must be an object.", param="reasoning")
    effort = known_effort(told.get("effort"))
    for name, value in told.items():
        if value is not None and not (name == "effort" and effort is not None):
            beside[f"reasoning.{name}"] = value
    return effort


def _text(told: object, beside: dict[str, Any]) -> Format | None:
    """The form that the answer must have. `verbosity` is a field of its own elsewhere."""
    if told is None:
        return None
    if type(told) is not dict:
        raise InvalidField("The field 'text' must be an object.", param="text")
    for name, value in told.items():
        if name != "format" and value is not None:
            beside["verbosity" if name == "verbosity" else f"text.{name}"] = value
    return _format(told.get("format"), beside)


def _format(form: object, beside: dict[str, Any]) -> Format | None:
    if form is None:
        return None
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return Format()
    if kind == "json_schema" and isinstance(form, dict) and isinstance(form.get("schema"), dict):
        return Format(form["schema"], form.get("name") or "", form.get("description") or "", form.get("strict"))
    if kind == "json_schema":
        raise InvalidField("The field 'text.format.schema' must be an object.", param="text.format.schema")
    if type(kind) is not str:
        raise InvalidField("The field 'text.format' must be an object with a 'type'.", param="text.format")
    beside["text.format"] = form
    return None


def _include(told: object, beside: dict[str, Any]) -> None:
    """Sealed thoughts are always told; probabilities are asked for with fields of their own elsewhere."""
    if told is None:
        return
    if type(told) is not list:
        raise InvalidField("The field 'include' must be an array.", param="include")
    if LOGPROBS in told:
        beside["logprobs"] = True
    if others := [name for name in told if name not in (ENCRYPTED, LOGPROBS)]:
        beside["include"] = others


def _hides_length(options: object) -> bool:
    """Whether events are to be padded, so that their length tells nothing of their text; that is not done here."""
    return isinstance(options, dict) and any(value is not None and value is not False for value in options.values())


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is not None and type(value) not in (int, float):
        raise InvalidField(f"The field '{name}' must be a number.", param=name)
    return value


def _typed(fields: Mapping[str, Any], name: str, kind: type, expected: str) -> Any:
    value = fields.get(name)
    if value is not None and type(value) is not kind:
        raise InvalidField(f"The field '{name}' must be {expected}.", param=name)
    return value
