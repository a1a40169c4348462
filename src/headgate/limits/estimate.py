"""What a request may take at most, told from the request alone. Pure, and rough on purpose: nothing is tokenised.

For text the estimate is above the truth: few texts have less than three bytes per token. Pictures and sound behind an
address, tokens of tools the provider adds, and retries are what it can fall short by.
"""

from collections.abc import Mapping
from typing import Any

from headgate.core.bounds import Want
from headgate.core.money import Price
from headgate.core.request import ModelRequest

_BYTES_PER_TOKEN = 3
_LARGE = 1 << 15
"""Bodies from this many bytes on are looked into, for they may hold pictures."""
_TOKENS_PER_PART = 1600
"""A picture or a piece of sound, whatever its bytes."""
_MILLION = 1_000_000
_MOST_TOKENS = 10**9
_MOST_NANO_USD = 10**15
"""No request is larger, whatever numbers stand in it: sums of many have to fit into 63 bits."""
_LIMITS = frozenset(("max_completion_tokens", "max_tokens", "max_output_tokens"))
_HOLDERS = (("messages", ("content",)), ("input", ("content", "output")))
"""Where parts stand: in chats, and in the items of Responses."""
_ANSWERS = frozenset(("n", "best_of"))
_TEXT = ["text"]
_WORDS = frozenset(
    "text refusal input_text output_text thinking redacted_thinking tool_use tool_result".split()  # noqa: SIM905
)


def wanted(request: ModelRequest, price: Price | None, *, longest: int = 0, typical: int = 4096) -> Want:
    """`longest`: tokens of the model's longest answer, 0 if unknown. `typical`: tokens of an answer nobody bounded.

    Money is reserved for the longest answer, tokens for a typical one: a minute's tokens would else be gone with one
    request that says nothing.
    """
    fields = request.fields
    prompt = 0 if request.surface.form else prompt_tokens(request.size, fields)
    told = bound_of(fields)
    times = (_largest(fields, _ANSWERS) or 1) if request.surface.generates else 0
    most = (told or longest or typical) * times
    likely = (told or min(longest or typical, typical)) * times
    if price is not None and price.has_kinds:
        price = _of_kinds(price, request)
    money = min(cost(price, prompt, most), _MOST_NANO_USD)
    return Want._make((min(prompt + likely, _MOST_TOKENS), money, request.stream))


def cost(price: Price | None, prompt: int, completion: int) -> int:
    """Nano-USD, rounded up; 0 where the price is unknown."""
    if price is None:
        return 0
    dearest = max(price.input, price.cache_write or 0)
    return -(-(prompt * dearest + completion * price.output) // _MILLION) + price.request


def _of_kinds(price: Price, request: ModelRequest) -> Price:
    """The price to reserve by, if the request may hold or bring sound or pictures, which may be dearer than text."""
    input_, output = price.input, price.output
    if request.surface.form or _parts(request.fields):
        input_ = max(input_, price.audio_input or 0, price.image_input or 0)
    if not request.surface.dialect or request.fields.get("modalities", _TEXT) not in (None, _TEXT):
        output = max(output, price.audio_output or 0, price.image_output or 0)
    return price._replace(input=input_, output=output)


def bound_of(fields: Mapping[str, Any]) -> int:
    """Tokens that the caller allows for one answer; 0 if nothing was said."""
    return _largest(fields, _LIMITS)


def _largest(fields: Mapping[str, Any], names: frozenset[str]) -> int:
    """The largest whole number in these fields; 0 if none is above that."""
    most = 0
    for name in fields.keys() & names:
        value = fields[name]
        if type(value) is int and value > most:
            most = value
    return most


def prompt_tokens(size: int, fields: Mapping[str, Any]) -> int:
    """From the bytes of the body; of a large one, its pictures and sounds are counted by number."""
    if size < _LARGE:
        return size // _BYTES_PER_TOKEN + 1
    held = _parts(fields)
    inline = sum(_length(part) for part in held)
    return max(0, size - inline) // _BYTES_PER_TOKEN + 1 + len(held) * _TOKENS_PER_PART


def _parts(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pictures, sounds and files of a chat."""
    parts = [
        part
        for name, members in _HOLDERS
        for item in _list(fields.get(name))
        for member in members
        for part in _list(_of(item, member))
    ]
    parts += [inner for part in parts for inner in _list(_of(part, "content"))]  # of results of tools in Messages
    return [part for part in parts if isinstance(part, dict) and part.get("type") not in _WORDS]


def _length(part: Mapping[str, Any]) -> int:
    """Characters of the longest text of a part: the data of a picture, a sound or a file."""
    inner = [value for item in part.values() for value in (item.values() if isinstance(item, dict) else (item,))]
    return max((len(value) for value in inner if isinstance(value, str)), default=0)


def _of(message: Any, name: str) -> Any:
    return message.get(name) if isinstance(message, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
