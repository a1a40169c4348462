"""A minute's count never lets more through in any minute, and says truly when there is room again."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.limits import window
from headgate.limits.window import CELLS, RING, SLOT
from tests.requirements import covers

pytestmark = covers("115")
PAUSES = st.lists(st.floats(0, 90), min_size=1, max_size=60)


def admitted(pauses: list[float], limit: int) -> list[float]:
    """When calls with these pauses between them got in."""
    cells, now, times = [0] * CELLS, 1000.0, []
    for pause in pauses:
        now += pause
        slot = int(now // SLOT)
        if window.used(cells, 0, slot) < limit:
            window.add(cells, 0, slot, 1)
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
    cells, now = [0] * CELLS, 1000.0
    for pause in pauses:
        now += pause
        if window.used(cells, 0, int(now // SLOT)) < limit:
            window.add(cells, 0, int(now // SLOT), 1)
        else:
            wait = window.free_in(cells, 0, 1, limit, now)
            assert 0 < wait <= RING * SLOT
            assert window.used(list(cells), 0, int((now + wait + 1e-6) // SLOT)) < limit
            assert window.used(list(cells), 0, int((now + wait - 0.01) // SLOT)) >= limit


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 100), st.integers(0, 100)), max_size=40))
def test_corrections_never_make_a_count_negative(steps: list[tuple[float, int, int]]) -> None:
    cells, now, taken = [0] * CELLS, 1000.0, []
    for pause, reserved, used in steps:
        now += pause
        slot = int(now // SLOT)
        window.used(cells, 0, slot)
        window.add(cells, 0, slot, reserved)
        taken.append((slot, reserved, used))
        if len(taken) > 3:
            then, reserved, used = taken.pop(0)
            window.correct(cells, 0, slot, then, used - reserved)
        assert min(cells[2:]) >= 0
        assert cells[1] == sum(cells[2:])


def test_a_total_torn_by_a_killed_process_is_whole_again_in_the_next_slot() -> None:
    cells = [0] * CELLS
    window.used(cells, 0, 200)
    window.add(cells, 0, 200, 3)
    cells[1] += 7
    assert window.used(cells, 0, 201) == 3


def test_a_clock_that_went_back_forgets_nothing() -> None:
    cells = [0] * CELLS
    window.used(cells, 0, 200)
    window.add(cells, 0, 200, 3)
    assert window.used(cells, 0, 199) == 3
    assert window.reset_in(cells, 0, 1000.0) == 65.0
