"""Several orders of the same things made one: each thing gets the sum of the reciprocals of its places."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

CONSTANT = 60
"""What is added to each place, so that the first few do not outweigh everything."""
Thing = TypeVar("Thing", bound=Hashable)


def fuse(orders: Sequence[Sequence[Thing]]) -> list[tuple[Thing, float]]:
    """The best first; of equal ones, the one that was named first."""
    scores: dict[Thing, float] = {}
    for order in orders:
        for place, thing in enumerate(order, 1):
            scores[thing] = scores.get(thing, 0.0) + 1 / (CONSTANT + place)
    return sorted(scores.items(), key=lambda one: -one[1])
