"""Counts over the last minute, kept as whole numbers in cells. Knows neither whose they are nor where they lie.

A minute is twelve slots of five seconds, forgotten whole, so a count holds for 60 to 65 seconds: in no minute can more
be taken than the limit. Cells: the newest slot, the total, then one count for each of thirteen slots. The total is
summed anew with every new slot, so that a process killed between two writes leaves no lasting mistake.
"""

Cells = list[int] | memoryview
SLOT = 5.0
RING = 13
CELLS = RING + 2


def used(cells: Cells, at: int, slot: int) -> int:
    """The count as of a slot, which becomes the newest."""
    if cells[at] < slot:
        _advance(cells, at, slot)
    return cells[at + 1]


def _advance(cells: Cells, at: int, slot: int) -> None:
    first = at + 2
    for past in range(max(cells[at], slot - RING) + 1, slot + 1):
        cells[first + past % RING] = 0
    cells[at] = slot
    cells[at + 1] = sum(cells[first : first + RING])


def add(cells: Cells, at: int, slot: int, amount: int) -> None:
    """Count more in the newest slot, which `used` was asked for."""
    cells[at + 2 + slot % RING] += amount
    cells[at + 1] += amount


def correct(cells: Cells, at: int, slot: int, taken_in: int, by: int) -> None:
    """What was taken in an earlier slot turned out to be more or less.

    Less is taken off where it was counted, if that is not forgotten; more counts from now on.
    """
    used(cells, at, slot)
    if by > 0:
        add(cells, at, slot, by)
    elif slot - taken_in < RING:
        add(cells, at, taken_in, by)


def free_in(cells: Cells, at: int, room_for: int, limit: int, now: float) -> float:
    """Seconds until `room_for` more are within the limit."""
    newest, left = cells[at], cells[at + 1]
    for slot in range(newest - RING + 1, newest + 1):
        left -= cells[at + 2 + slot % RING]
        if left + room_for <= limit:
            return (slot + RING) * SLOT - now
    return (newest + RING) * SLOT - now


def reset_in(cells: Cells, at: int, now: float) -> float:
    """Seconds until all that was counted is forgotten."""
    newest = cells[at]
    for slot in range(newest, newest - RING, -1):
        if cells[at + 2 + slot % RING]:
            return (slot + RING) * SLOT - now
    return 0.0
