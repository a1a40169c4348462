"""Tables with room for four subjects: rows go from who needs none to who does, and from nobody else."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.core.bounds import Bound, Budget, Rate, Want
from headgate.core.errors import LimitsUnavailable, RateLimited
from headgate.limits.counters import Table
from headgate.limits.limiter import Limiter
from headgate.limits.local import LocalTable
from headgate.limits.shared import SharedTable
from tests.limits.conftest import Clock
from tests.requirements import covers

pytestmark = covers("115")
ROOM = 4
MINUTE = 66


@pytest.fixture(params=["local", "shared"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Table]:
    made: Table = LocalTable(ROOM) if request.param == "local" else SharedTable(tmp_path / "run/limits", subjects=2)
    with contextlib.closing(made):
        yield made


def one(number: int, requests: int = 1) -> tuple[Bound, ...]:
    return (Bound(f"user:t/{number}", Rate(requests)),)


async def fill(limiter: Limiter, *subjects: int) -> None:
    for number in subjects:
        await limiter.admit(one(number), Want())


async def test_without_room_requests_are_refused_and_none_is_forgotten(limiter: Limiter) -> None:
    await fill(limiter, 1, 2, 3, 4)
    with pytest.raises(LimitsUnavailable, match="more callers") as caught:
        await fill(limiter, 5)
    assert (caught.value.status, caught.value.retry_after) == (503, 60)
    for number in (1, 2, 3, 4):
        with pytest.raises(RateLimited):
            await fill(limiter, number)


async def test_who_asked_nothing_for_a_minute_gives_way_and_begins_anew(limiter: Limiter, clock: Clock) -> None:
    for _ in range(20):
        await fill(limiter, 1, 2, 3, 4)
        clock.pass_(MINUTE)
        await fill(limiter, 5, 6, 7, 8)
        clock.pass_(MINUTE)


async def test_two_subjects_of_one_request_never_get_one_row(limiter: Limiter, clock: Clock) -> None:
    await fill(limiter, 1, 2, 3, 4)
    clock.pass_(MINUTE)
    await limiter.admit((*one(5), *one(1), *one(6), *one(7)), Want())
    for number in (5, 1, 6, 7):
        with pytest.raises(RateLimited, match=f"user:t/{number}"):
            await fill(limiter, number)


@covers("114", "153")
async def test_money_and_what_is_held_keep_their_rows(limiter: Limiter, clock: Clock) -> None:
    spender = (Bound("key:spender", budgets=(Budget(100, "day"),)),)
    reserver = (Bound("key:reserver", budgets=(Budget(100, "total"),)),)
    streamer = (Bound("key:streamer", Rate(streams=1)),)
    limiter.settle(await limiter.admit(spender, Want(nano_usd=100)), 0, 100)
    await limiter.admit(reserver, Want(nano_usd=100))
    await limiter.admit(streamer, Want(is_stream=True))
    for number in range(20):
        clock.pass_(MINUTE)
        await fill(limiter, number)
    with pytest.raises(LimitsUnavailable):
        await fill(limiter, 21)
    clock.pass_(86_400)
    await fill(limiter, 21, 22)
    with pytest.raises(LimitsUnavailable):
        await fill(limiter, 23)


async def test_a_late_settlement_does_not_touch_who_has_the_row_now(limiter: Limiter, clock: Clock) -> None:
    slow, *others = ((Bound(f"key:{number}", Rate(tokens_per_minute=100)),) for number in range(ROOM + 1))
    late = [await limiter.admit(slow, Want(tokens=10)) for _ in range(2)]
    clock.pass_(MINUTE)
    for other in others:
        await limiter.admit(other, Want(tokens=50))
    limiter.settle(late[0], 90, 0)
    for other in others:
        await limiter.admit(other, Want(tokens=50))
    clock.pass_(MINUTE)
    limiter.settle(late[1], 90, 0)
    with pytest.raises(RateLimited):
        await limiter.admit(slow, Want(tokens=21))
    await limiter.admit(slow, Want(tokens=20))


async def test_a_shared_table_has_room_for_as_many_as_it_says(tmp_path: Path) -> None:
    with contextlib.closing(SharedTable(tmp_path / "limits", subjects=4096)) as table:
        rows = {table.find(f"key:{number}", 1, {}) for number in range(4096)}
    assert len(rows) == 4096
