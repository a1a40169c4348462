"""The view of a model call's body: what the gateway reads of it, and how to pass it on otherwise unchanged.

Knows the fields of OpenAI's API that every provider shares; fields it does not know stay in the bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any, Protocol

import orjson

from headgate.core import form, splice
from headgate.core.errors import DuplicateField, InvalidField, InvalidJson, JsonTooComplex, JsonTooDeep, MissingField
from headgate.core.surfaces import Surface

_MOST_TOKENS = 2**31 - 1
_WIDEST_NUMBER = 1e6
_LONGEST_NAME = 512
_MOST_CONTAINERS = 500_000
"""Reading as many takes about 0.1 s, in which nobody else is served; a conversation has hundreds."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is done to a request's fields on their way: `put` sets them, `drop` leaves them out, `put` wins.

    `model` is never among them. A form keeps to the fields it has: `put` only replaces there.
    """

    put: Mapping[str, Any] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()


UNCHANGED = Changes()
_MANY = 8
"""Messages; fewer are looked at one by one in less time than all at once."""
_role, _content = methodcaller("get", "role"), methodcaller("get", "content")
_OBJECTS, _TEXTS, _TEXTS_OR_NOTHING = {dict}, {str}, {str, type(None)}


class ModelRequest(Protocol):
    """A call for a model, whatever its encoding."""

    surface: Surface
    model: str
    stream: bool
    wants_usage: bool
    """The caller asked for the usage chunk of a stream."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields as parsed; for forms the text fields only."""

    @property
    def size(self) -> int:
        """Bytes of the body as received."""

    @property
    def identity(self) -> bytes:
        """What two requests have in common if they are the same."""

    def body_for(self, model: str, *, ask_usage: bool = False, changes: Changes = UNCHANGED) -> tuple[bytes, bytes]:
        """(content type, body) to send when the provider calls the model `model`."""


@dataclass(slots=True)
class JsonRequest:
    """A body that is one JSON object."""

    surface: Surface
    raw: bytes
    fields: dict[str, Any]
    model: str
    stream: bool
    wants_usage: bool
    is_plain: bool = False
    """See splice.is_plain."""

    @property
    def size(self) -> int:
        return len(self.raw)

    @property
    def identity(self) -> bytes:
        return self.raw

    def body_for(self, model: str, *, ask_usage: bool = False, changes: Changes = UNCHANGED) -> tuple[bytes, bytes]:
        if changes is not UNCHANGED:
            return b"application/json", self._changed(model, ask_usage, changes)
        raw, edits = self.raw, []
        if ask_usage and not self.wants_usage:
            edits.append(self._putting("stream_options", _with_usage(self.fields.get("stream_options"))))
        if model != self.model or "model" not in self.fields:
            edits.append(self._putting("model", model))
        return b"application/json", splice.apply(raw, edits) if edits else raw

    def _changed(self, model: str, ask_usage: bool, changes: Changes) -> bytes:
        put = dict(changes.put)
        if ask_usage and not self._has_usage_asked(changes):
            put["stream_options"] = _with_usage(put.get("stream_options", self.fields.get("stream_options")))
        put["model"] = model
        encoded = {name: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) for name, value in put.items()}
        return splice.rewrite(self.raw, encoded, changes.drop)

    def _has_usage_asked(self, changes: Changes) -> bool:
        """Whether usage is asked for already, or must not be."""
        if "stream_options" in changes.put:
            return False
        return self.wants_usage or "stream_options" in changes.drop

    def _putting(self, key: str, value: object) -> splice.Edit:
        """The edit that gives a member another value; a new one comes first."""
        raw, encoded = self.raw, orjson.dumps(value)
        if key in self.fields:
            place = splice.locate_plain(raw, key) if self.is_plain else splice.locate(raw, key)
            if place is not None:
                return *place, encoded
        start = raw.index(b"{") + 1
        return start, start, b'"%b":%b%b' % (key.encode(), encoded, b"," if self.fields else b"")


@dataclass(slots=True)
class FormRequest:
    """A body that is a multipart form, as the audio and image editing surfaces take it."""

    surface: Surface
    raw: bytes
    parsed: form.Form
    model: str
    stream: bool
    wants_usage: bool = False

    @property
    def fields(self) -> Mapping[str, Any]:
        return self.parsed.texts

    @property
    def size(self) -> int:
        return len(self.raw)

    @property
    def identity(self) -> bytes:
        return form.without_boundary(self.raw, self.parsed)

    def body_for(self, model: str, *, ask_usage: bool = False, changes: Changes = UNCHANGED) -> tuple[bytes, bytes]:
        texts = {name: _as_text(value) for name, value in changes.put.items()}
        texts["model"] = model
        return self.parsed.content_type, form.changed(self.raw, self.parsed, texts, changes.drop)


def parse_json(surface: Surface, raw: bytes) -> JsonRequest:
    """Read a JSON body; raises InvalidJson, JsonTooDeep, DuplicateField, MissingField or InvalidField."""
    fields, is_plain = _read_object(raw)
    for check, name, value in zip(map(_CHECKS.get, fields), fields, fields.values(), strict=True):
        if check is not None and value is not None:
            check(name, value)
    model = fields.get("model") or surface.default_model
    if model is None:
        raise MissingField("The field 'model' is required.", param="model")
    if None in map(fields.get, surface.required):
        name = next(name for name in surface.required if fields.get(name) is None)
        raise MissingField(f"The field '{name}' is required.", param=name)
    stream = surface.streams and (fields.get("stream") is True or fields.get("stream_format") == "sse")
    options = fields.get("stream_options")
    return JsonRequest(surface, raw, fields, model, stream, bool(options and options.get("include_usage")), is_plain)


def read_object(raw: bytes) -> dict[str, Any]:
    """The members of a body that is one JSON object; raises InvalidJson, JsonTooDeep or DuplicateField."""
    return _read_object(raw)[0]


def _read_object(raw: bytes) -> tuple[dict[str, Any], bool]:
    """The members, and whether the bytes hold them plainly; see splice.is_plain."""
    fields = _load_object(raw)
    is_plain = splice.is_plain(raw, fields)
    if not is_plain and (twice := splice.duplicate(raw)) is not None:
        raise DuplicateField(f"The field '{twice}' occurs twice.", param=twice)
    return fields, is_plain


def json_request(surface: Surface, fields: dict[str, Any]) -> JsonRequest:
    """A request that the gateway makes itself, from fields that are right."""
    raw = orjson.dumps(fields, option=orjson.OPT_NON_STR_KEYS)
    return JsonRequest(surface, raw, fields, fields["model"], fields.get("stream") is True, wants_usage=False)


def parse_form(surface: Surface, raw: bytes, content_type: str) -> FormRequest:
    """Read a multipart body; raises InvalidForm or MissingField."""
    parsed = form.parse(raw, content_type)
    model = parsed.texts.get("model")
    if not model:
        raise MissingField("The field 'model' is required.", param="model")
    _model_name("model", model)
    return FormRequest(surface, raw, parsed, model, stream=parsed.texts.get("stream") == "true")


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _with_usage(options: object) -> dict[str, Any]:
    return {**(options if isinstance(options, dict) else {}), "include_usage": True}


def _load_object(raw: bytes) -> dict[str, Any]:
    if len(raw) > _MOST_CONTAINERS and raw.count(b"[") + raw.count(b"{") > _MOST_CONTAINERS:
        raise JsonTooComplex(f"The JSON holds more than {_MOST_CONTAINERS} arrays and objects.")
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:
            raise JsonTooDeep("The JSON is nested deeper than 1,024 levels.") from None
        raise InvalidJson(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    if not isinstance(fields, dict):
        raise InvalidJson("The body must be a JSON object.")
    return fields


def _fail(name: str, expected: str) -> None:
    raise InvalidField(f"The field '{name}' must be {expected}.", param=name)


def _text(name: str, value: object) -> None:
    if type(value) is not str or not value:
        _fail(name, "a string that is not empty")


def _model_name(name: str, value: object) -> None:
    """A name goes into headers and log lines, so it holds no control characters."""
    if type(value) is not str or not value or len(value) > _LONGEST_NAME or not value.isprintable():
        _fail(name, f"a string of 1 to {_LONGEST_NAME} printable characters")


def _flag(name: str, value: object) -> None:
    if type(value) is not bool:
        _fail(name, "true or false")


def _count(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= _MOST_TOKENS:
        _fail(name, f"a whole number from 0 to {_MOST_TOKENS}")


def _whole(name: str, value: object) -> None:
    if type(value) is not int:
        _fail(name, "a whole number of 64 bits")


def _number(name: str, value: object) -> None:
    if type(value) not in (int, float) or not -_WIDEST_NUMBER <= value <= _WIDEST_NUMBER:  # type: ignore[operator]
        _fail(name, "a number")


def _items(name: str, value: object) -> None:
    if type(value) is not list:
        _fail(name, "an array")


def _object(name: str, value: object) -> None:
    if type(value) is not dict:
        _fail(name, "an object")


def _are_texts(messages: list[Any]) -> bool:
    """Whether all are messages with a text or nothing, as most are: told of a long conversation at once."""
    return (
        set(map(type, messages)) == _OBJECTS
        and set(map(type, map(_role, messages))) == _TEXTS
        and set(map(type, map(_content, messages))) <= _TEXTS_OR_NOTHING
    )


def _messages(name: str, value: object) -> None:
    if type(value) is not list or not value:
        _fail(name, "an array of at least one message")
    if len(value) > _MANY and _are_texts(value):  # type: ignore[arg-type]
        return
    for number, message in enumerate(value):  # type: ignore[var-annotated, arg-type]
        if type(message) is not dict:
            _fail(f"{name}[{number}]", "an object")
        if type(message.get("role")) is not str:
            _fail(f"{name}[{number}].role", "a string")
        content = message.get("content")
        if type(content) is not str and content is not None:
            _parts(f"{name}[{number}].content", content)


def _parts(where: str, content: object) -> None:
    if type(content) is not list:
        _fail(where, "a string or an array of parts")
    for number, part in enumerate(content):  # type: ignore[var-annotated, arg-type]
        if type(part) is not dict and type(part) is not str:
            _fail(f"{where}[{number}]", "an object with a 'type'")


def _text_or_items(name: str, value: object) -> None:
    if type(value) is not str and type(value) is not list:
        _fail(name, "a string or an array")
    if not value:
        _fail(name, "a string or an array that is not empty")


def _stream_options(name: str, value: object) -> None:
    _object(name, value)
    usage = value.get("include_usage")  # type: ignore[attr-defined]
    if usage is not None:
        _flag(f"{name}.include_usage", usage)


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "model": _model_name,
    "stream": _flag,
    "stream_options": _stream_options,
    "messages": _messages,
    "prompt": _text_or_items,
    "input": _text_or_items,
    "query": _text,
    "documents": _items,
    "tools": _items,
    "functions": _items,
    "metadata": _object,
    "response_format": lambda name, value: None if type(value) is str else _object(name, value),
    "logit_bias": _object,
    "max_tokens": _count,
    "max_completion_tokens": _count,
    "n": _count,
    "top_logprobs": _count,
    "top_n": _count,
    "dimensions": _count,
    "best_of": _count,
    "seed": _whole,
    "temperature": _number,
    "top_p": _number,
    "presence_penalty": _number,
    "frequency_penalty": _number,
    "parallel_tool_calls": _flag,
    "encoding_format": _text,
}
