"""Money as whole numbers: nano-USD, and prices in nano-USD per million tokens, so that sums are exact."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

_NANO = 10**9
_LIKE_TEXT = (None,) * 4


class Price(NamedTuple):
    """What a million tokens cost, in nano-USD; `request` is nano-USD per call.

    `cached_input` and `cache_write` are None where the provider asks the price of input for them; so are those of sound
    and pictures where it asks the price of text.
    """

    input: int = 0
    output: int = 0
    cached_input: int | None = None
    cache_write: int | None = None
    request: int = 0
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None

    @property
    def has_kinds(self) -> bool:
        """Whether sound or pictures have prices of their own."""
        return self[5:] != _LIKE_TEXT

    @property
    def of_kinds(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Sound in and out, pictures in and out."""
        return self[5:]


def dearest(prices: Sequence[Price]) -> Price | None:
    """A price that is below none of these in any part; None without any."""
    if len(prices) <= 1:
        return prices[0] if prices else None
    kinds = map(max, zip(*map(_spelled_out, prices), strict=True)) if any(one.has_kinds for one in prices) else ()
    return Price(
        max(one.input for one in prices),
        max(one.output for one in prices),
        None,
        max(one.input if one.cache_write is None else one.cache_write for one in prices),
        max(one.request for one in prices),
        *kinds,
    )


def _spelled_out(price: Price) -> tuple[int, ...]:
    """The prices of sound and pictures, those of text where there are no others."""
    texts = (price.input, price.output) * 2
    return tuple(text if own is None else own for own, text in zip(price.of_kinds, texts, strict=True))


def nano(usd: Decimal) -> int:
    """An amount in USD as nano-USD, to the nearest."""
    return int((usd * _NANO).to_integral_value(ROUND_HALF_EVEN))


def usd(amount: int) -> Decimal:
    """An amount in nano-USD as USD."""
    return Decimal(amount) / _NANO
