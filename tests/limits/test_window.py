"""A minute's count never lets more through in any minute, and says truly when there is room again."""

import contextlib
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits import window
from headgate.limits.window import CELLS, RING, SLOT
from tests.requirements import covers

pytestmark = covers("115")
PAUSES = st.lists(st.floats(0, 90), min_size=1, max_size=60)


class Window:
    """One window in cells of its own."""

    def __init__(self) -> None:
        self.cells = [0] * CELLS
        self.newest = 0

    def used(self, slot: int) -> int:
        if self.newest < slot:
            window.turn(self.cells, 0, self.newest, slot)
            self.newest = slot
        return self.cells[0]

    def used_later(self, slot: int) -> int:
        """What will be counted, if nothing is added until then."""
        return deepcopy(self).used(slot)

    def add(self, amount: int) -> None:
        self.cells[0] += amount

    def free_in(self, limit: int, now: float) -> float:
        return window.free_in(self.cells, 0, self.newest, 1, limit, now)

    def reset_in(self, now: float) -> float:
        return window.reset_in(self.cells, 0, self.newest, now)


def admitted(pauses: list[float], limit: int) -> list[float]:
    """When calls with these pauses between them got in."""
    counted, now, times = Window(), 1000.0, []
    for pause in pauses:
        now += pause
        if counted.used(int(now // SLOT)) < limit:
            counted.add(1)
            times.append(now)
    return times


@given(PAUSES, st.integers(1, 5))
def test_no_minute_sees_more_than_the_limit(pauses: list[float], limit: int) -> None:
    times = admitted(pauses, limit)
    for first, later in zip(times, times[limit:], strict=False):
        assert later - first > 60 - 1e-6


@given(PAUSES, st.integers(1, 5))
def test_who_waits_a_slot_longer_than_a_minute_gets_in(pauses: list[float], limit: int) -> None:
    times = admitted([*pauses, RING * SLOT], limit)
    assert abs(times[-1] - (1000.0 + sum(pauses) + RING * SLOT)) < 1e-6


@given(PAUSES, st.integers(1, 5))
def test_the_wait_that_is_told_is_enough_and_not_a_slot_too_long(pauses: list[float], limit: int) -> None:
    counted, now = Window(), 1000.0
    for pause in pauses:
        now += pause
        if counted.used(int(now // SLOT)) < limit:
            counted.add(1)
        else:
            wait = counted.free_in(limit, now)
            assert 0 < wait <= RING * SLOT
            assert counted.used_later(int((now + wait + 1e-6) // SLOT)) < limit
            assert counted.used_later(int((now + wait - 0.01) // SLOT)) >= limit


STEPS = st.lists(st.tuples(st.floats(0, 40), st.integers(0, 100), st.integers(0, 100)), max_size=40)


@given(STEPS)
def test_corrections_count_what_was_used_where_it_was_taken_and_more_from_now_on(
    steps: list[tuple[float, int, int]],
) -> None:
    counted, now, taken = Window(), 1000.0, []
    amounts: dict[int, int] = {}
    """By slot, kept in the plainest way."""
    for pause, reserved, used in steps:
        now += pause
        slot = int(now // SLOT)
        counted.used(slot)
        counted.add(reserved)
        amounts[slot] = amounts.get(slot, 0) + reserved
        taken.append((slot, reserved, used))
        if len(taken) > 3:
            then, reserved, used = taken.pop(0)
            if used < reserved and then < slot:
                window.take_off(counted.cells, 0, slot, then, reserved - used)
            else:
                counted.add(used - reserved)
            amounts[then if used < reserved else slot] += used - reserved
        shares = counted.cells[1:]
        shares[slot % RING] += counted.cells[0] - sum(shares)
        known = range(slot - RING + 1, slot + 1)
        assert shares == [amounts.get(one, 0) for one in sorted(known, key=lambda one: one % RING)]
        held = [one for one in known if amounts.get(one)]
        assert counted.reset_in(now) == ((held[-1] + RING) * SLOT - now if held else 0.0)


@pytest.mark.parametrize("written", range(3))
def test_a_process_killed_while_it_corrects_leaves_no_lasting_mistake(written: int) -> None:
    counted = Window()
    counted.used(200)
    counted.add(9)
    counted.used(201)
    cells = KilledAfter(written, counted.cells)
    with contextlib.suppress(Killed):
        window.take_off(cells, 0, 201, 200, 5)
    counted.cells = list(cells)
    assert counted.used(201) == (4 if written == 2 else 9)
    assert counted.used(201 + RING) == 0
    assert counted.cells == [0] * CELLS


@pytest.mark.parametrize("written", range(RING + 3))
def test_a_process_killed_while_a_slot_begins_forgets_nothing_too_early(written: int) -> None:
    """Who comes next does it again. What should be forgotten by then may be so a minute later."""
    counted = Window()
    for slot in range(200, 209):
        counted.used(slot)
        counted.add(slot)
    whole = counted.used_later(218)
    cells = KilledAfter(written, counted.cells)
    with contextlib.suppress(Killed):
        window.turn(cells, 0, 208, 218)
    counted.cells = list(cells)
    assert whole <= counted.used(218) <= sum(range(200, 209))
    assert counted.used(208 + 2 * RING) == 0
    assert counted.cells == [0] * CELLS


class Killed(Exception):
    """In the middle of its work."""


class KilledAfter(list[int]):
    """Cells that can be written so many times."""

    def __init__(self, writes: int, cells: list[int]) -> None:
        super().__init__(cells)
        self._left = writes

    def __setitem__(self, at: Any, value: Any) -> None:
        if not self._left:
            raise Killed
        self._left -= 1
        super().__setitem__(at, value)


def test_a_clock_that_went_back_forgets_nothing() -> None:
    counted = Window()
    counted.used(200)
    counted.add(3)
    assert counted.used(199) == 3
    assert counted.reset_in(1000.0) == 65.0
