"""Counts over the last minute, kept as whole numbers in cells. Knows neither whose they are nor where they lie.

A minute is twelve slots of five seconds, forgotten whole, so a count holds for 60 to 65 seconds: in no minute can more
be taken than the limit. Cells: the total, then what each of thirteen slots brought to it; the newest slot's own cell
is 0, for its share is what is left of the total. So whatever is taken is one number more in one cell, and a process
killed between two writes leaves no lasting mistake.
"""

Cells = list[int] | memoryview
SLOT = 5.0
RING = 13
CELLS = RING + 1


def turn(cells: Cells, at: int, newest: int, slot: int) -> None:
    """A new slot begins: the share of the newest is put down, and what is older than a minute is forgotten."""
    first, end = at + 1, at + CELLS
    cells[first + newest % RING] += cells[at] - sum(cells[first:end])
    for past in range(max(newest, slot - RING) + 1, slot + 1):
        cells[first + past % RING] = 0
    cells[at] = sum(cells[first:end])


def take_off(cells: Cells, at: int, newest: int, taken_in: int, amount: int) -> None:
    """Less was used than was taken in an earlier slot: it is taken off there, if that is not forgotten."""
    if newest - taken_in < RING:
        cells[at + 1 + taken_in % RING] -= amount
        cells[at] -= amount


def free_in(cells: Cells, at: int, newest: int, room_for: int, limit: int, now: float) -> float:
    """Seconds until `room_for` more are within the limit."""
    left = cells[at]
    for slot in range(newest - RING + 1, newest):
        left -= cells[at + 1 + slot % RING]
        if left + room_for <= limit:
            return (slot + RING) * SLOT - now
    return (newest + RING) * SLOT - now


def reset_in(cells: Cells, at: int, newest: int, now: float) -> float:
    """Seconds until all that was counted is forgotten."""
    if cells[at] > sum(cells[at + 1 : at + CELLS]):
        return (newest + RING) * SLOT - now
    for slot in range(newest - 1, newest - RING, -1):
        if cells[at + 1 + slot % RING]:
            return (slot + RING) * SLOT - now
    return 0.0
