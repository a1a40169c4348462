"""Money as whole numbers: nano-USD, and prices in nano-USD per million tokens, so that sums are exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

_NANO = 10**9


@dataclass(frozen=True, slots=True)
class Price:
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
        return not (self.audio_input is self.audio_output is self.image_input is self.image_output is None)

    @property
    def of_kinds(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Sound in and out, pictures in and out."""
        return self.audio_input, self.audio_output, self.image_input, self.image_output


def dearest(prices: Sequence[Price]) -> Price | None:
    """A price that is below none of these in any part; None without any."""
    if len(prices) <= 1:
        return prices[0] if prices else None
    return Price(
        max(one.input for one in prices),
        max(one.output for one in prices),
        cache_write=max(one.cache_write or 0 for one in prices),
        request=max(one.request for one in prices),
    )


def nano(usd: Decimal) -> int:
    """An amount in USD as nano-USD, to the nearest."""
    return int((usd * _NANO).to_integral_value(ROUND_HALF_EVEN))


def usd(amount: int) -> Decimal:
    """An amount in nano-USD as USD."""
    return Decimal(amount) / _NANO
