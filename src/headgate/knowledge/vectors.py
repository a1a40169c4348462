"""Vectors as they are kept: of length one, packed as 32-bit floats. Knows no database and no model."""

import math
from array import array
from collections.abc import Sequence

from headgate.core.errors import UpstreamGarbled


def packed(vector: Sequence[float]) -> bytes:
    """A vector of the same direction and of length one; one without a direction stays as it is.

    Raises UpstreamGarbled for what is no vector.
    """
    try:
        length = math.hypot(*vector)
    except (TypeError, OverflowError):
        raise UpstreamGarbled("The embedding model answered with what is not a vector of numbers.") from None
    if not math.isfinite(length):
        raise UpstreamGarbled("The embedding model answered with a vector that is not finite.")
    return array("f", [one / length for one in vector] if length else vector).tobytes()


def numbers_of(vector: bytes) -> list[float]:
    return array("f", vector).tolist()
