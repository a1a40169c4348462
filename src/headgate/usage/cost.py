"""What tokens cost, and what is known of a call whose provider reported nothing. Pure arithmetic on whole numbers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from headgate.core.money import Price
from headgate.core.tokens import Tokens
from headgate.usage.types import Measure

_MILLION = 1_000_000
_MOST = 10**15
"""Nano-USD of one call, a million USD: far more than any costs, and sums of it fit into a database."""
_MOST_ALLOWED = 10**8
"""Tokens that a caller may allow an answer to have; more mean the same."""
_BYTES_PER_TOKEN = 4
_TOKENS_PER_IMAGE = 800
_MOST_TOKENS_PER_IMAGE = 4000
_TOKENS_PER_MESSAGE = 4
_TEXTS = ("prompt", "input", "query", "documents", "instructions", "system")


class Measured(NamedTuple):
    """Tokens, how they were come by, and by how many they may be off."""

    tokens: Tokens
    measure: Measure = "reported"
    bound: int = 0


NOTHING = Measured(Tokens())


class Size(NamedTuple):
    """Tokens of a text that was not counted: our guess and the most it can be."""

    guess: int
    most: int


def cost_of(tokens: Tokens, price: Price) -> int:
    """Nano-USD, rounded once to the nearest; parts that providers ask another price for are not counted twice."""
    cached, written = tokens.cached, tokens.cache_write
    plain = max(tokens.prompt - cached - written, 0)
    total = plain * price.input + tokens.completion * price.output
    if cached:
        total += cached * (price.input if price.cached_input is None else price.cached_input)
    if written:
        total += written * (price.input if price.cache_write is None else price.cache_write)
    if price.has_kinds:
        total += _more_for_kinds(tokens, plain, price)
    return min((total + _MILLION // 2) // _MILLION + price.request, _MOST)


def _more_for_kinds(tokens: Tokens, plain: int, price: Price) -> int:
    """What sound and pictures cost beyond the price of text.

    Nobody reports which kind was read from a cache: cached tokens are taken for text first.
    """
    audio = min(tokens.prompt_audio, plain)
    image = min(tokens.prompt_image, plain - audio)
    spoken = min(tokens.completion_audio, tokens.completion)
    drawn = min(tokens.completion_image, tokens.completion - spoken)
    return (
        audio * _above(price.audio_input, price.input)
        + image * _above(price.image_input, price.input)
        + spoken * _above(price.audio_output, price.output)
        + drawn * _above(price.image_output, price.output)
    )


def _above(own: int | None, text: int) -> int:
    return 0 if own is None else own - text


def estimated(prompt: Size, answer: Size, most: int | None) -> Measured:
    """What a call used that reported nothing. `most` is what the caller allowed the answer to be.

    The bound holds for text that was seen: what a model thinks without showing it is known to its provider only.
    """
    if most is not None:
        answer = Size(min(answer.guess, most), min(answer.most, most))
    off = max(prompt.guess, prompt.most - prompt.guess) + max(answer.guess, answer.most - answer.guess)
    return Measured(Tokens(prompt.guess, answer.guess), "estimated", off)


def size_of_text(size: int) -> Size:
    """A text of so many bytes: a token holds at least one."""
    return Size(-(-size // _BYTES_PER_TOKEN), size)


def size_of_stream(chunks: int, text_bytes: int, sent_bytes: int) -> Size:
    """A stream of so many chunks, each with at least one token. Without the text's size, that of all that was sent."""
    if text_bytes:
        return Size(max(chunks, -(-text_bytes // _BYTES_PER_TOKEN)), max(chunks, text_bytes))
    return Size(chunks, max(chunks, sent_bytes))


def size_of(fields: Mapping[str, Any]) -> Size:
    """The prompt in a request's fields: texts by their bytes, images by the piece, token arrays as they are."""
    bytes_, tokens, images = _sum(fields.get("messages"))
    for name in (*_TEXTS, "tools", "functions", "response_format"):
        if (value := fields.get(name)) is not None:
            more = _sum(value)
            bytes_, tokens, images = bytes_ + more[0], tokens + more[1], images + more[2]
    guess = -(-bytes_ // _BYTES_PER_TOKEN) + tokens + images * _TOKENS_PER_IMAGE
    return Size(guess, bytes_ + 2 * tokens + images * _MOST_TOKENS_PER_IMAGE)


def most_completion(fields: Mapping[str, Any]) -> int | None:
    """The most tokens that the caller lets a model answer with; None where it did not say."""
    most = fields.get("max_completion_tokens") or fields.get("max_tokens") or fields.get("max_output_tokens")
    if type(most) is not int or most <= 0:
        return None
    choices = fields.get("n")
    return min(most * (choices if type(choices) is int and choices > 0 else 1), _MOST_ALLOWED)


def _is_file(part: Mapping[str, Any]) -> bool:
    """Whether it is a picture or a document of Anthropic's API, which lies in the request or elsewhere."""
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("base64", "url", "file")


def _sum(value: Any) -> tuple[int, int, int]:
    """(bytes of text, tokens, images) in messages, parts and lists of texts, however they are nested."""
    bytes_ = tokens = images = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            bytes_ += len(one.encode("utf-8", "replace"))
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            if "image_url" in one or _is_file(one):
                images += 1
                continue
            tokens += _TOKENS_PER_MESSAGE if "role" in one else 0
            for key, inner in one.items():
                bytes_ += len(key) if key not in ("role", "content", "type", "text") else 0
                if key not in ("role", "type", "input_audio", "file", "file_data"):
                    waiting.append(inner)
        elif one is not None:
            tokens += 1  # a number: of a schema, or one token of an array of them
    return bytes_, tokens, images
