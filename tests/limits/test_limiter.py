"""What is let in, what is refused and how, for the table of one worker and the one that all workers share."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from headgate.core.bounds import Bound, Budget, Period, Rate, Standing, Ticket, Want
from headgate.core.errors import BudgetExceeded, LimitReached, RateLimited
from headgate.core.money import nano
from headgate.limits.limiter import Limiter, worded
from tests.limits.conftest import Clock
from tests.requirements import covers

KEY = "key:k1"
ONE = Want(tokens=10, nano_usd=100)


def bound(subject: str = KEY, *budgets: Budget, requests: int = 0, tokens: int = 0, streams: int = 0) -> Bound:
    return Bound(subject, Rate(requests, tokens, streams), budgets)


async def refusal(limiter: Limiter, *bounds: Bound, want: Want = ONE) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        await limiter.admit(bounds, want)
    return caught.value


async def admitted(limiter: Limiter, *bounds: Bound, want: Want = ONE, most: int = 1000) -> list[Ticket]:
    tickets: list[Ticket] = []
    while len(tickets) < most:
        try:
            tickets.append(await limiter.admit(bounds, want))
        except LimitReached:
            break
    return tickets


@covers("115")
async def test_the_request_after_the_last_is_refused_until_the_time_told(limiter: Limiter, clock: Clock) -> None:
    limit = bound(requests=5)
    assert len(await admitted(limiter, limit)) == 5
    error = await refusal(limiter, limit)
    assert (type(error), error.code, error.status) == (RateLimited, "rate_limit_exceeded", 429)
    assert error.message == "The limit of 5 requests per minute for key:k1 is reached."
    assert error.retry_after is not None
    clock.pass_(error.retry_after - 0.1)
    await refusal(limiter, limit)
    clock.pass_(0.2)
    assert len(await admitted(limiter, limit)) == 5


@covers("115")
async def test_tokens_are_reserved_and_corrected(limiter: Limiter) -> None:
    limit = bound(tokens=100)
    first = await limiter.admit((limit,), Want(tokens=90))
    error = await refusal(limiter, limit, want=Want(tokens=20))
    assert error.message == "The limit of 100 tokens per minute for key:k1 is reached."
    limiter.settle(first, 30, 0)
    second = await limiter.admit((limit,), Want(tokens=70))
    limiter.settle(second, 75, 0)
    await refusal(limiter, limit, want=Want(tokens=1))


@covers("115")
async def test_who_wants_more_tokens_than_the_limit_gets_in_alone(limiter: Limiter, clock: Clock) -> None:
    limit, much = bound(tokens=100), Want(tokens=1000)
    await limiter.admit((limit,), Want(tokens=1))
    error = await refusal(limiter, limit, want=much)
    assert error.retry_after is not None
    clock.pass_(error.retry_after + 0.1)
    ticket = await limiter.admit((limit,), much)
    await refusal(limiter, limit, want=Want(tokens=1))
    limiter.settle(ticket, 40, 0)
    await limiter.admit((limit,), Want(tokens=60))


@covers("115")
async def test_streams_at_once_are_counted_until_they_end(limiter: Limiter, clock: Clock) -> None:
    limit, stream = bound(streams=2), Want(is_stream=True)
    tickets = await admitted(limiter, limit, want=stream)
    assert len(tickets) == 2
    clock.pass_(3600)
    error = await refusal(limiter, limit, want=stream)
    assert error.message == "The limit of 2 streams at once for key:k1 is reached."
    await limiter.admit((limit,), Want())
    limiter.release(tickets[0])
    limiter.release(tickets[0])
    assert len(await admitted(limiter, limit, want=stream)) == 1


@covers("115")
async def test_the_tightest_limits_are_told_truly(limiter: Limiter, clock: Clock) -> None:
    bounds = bound(requests=5, tokens=1000), bound("tenant:t", requests=3, tokens=5000)
    ticket = await limiter.admit(bounds, Want(tokens=100))
    assert ticket.standing == Standing(
        requests_limit=3, requests_left=2, tokens_limit=1000, tokens_left=900, reset=65.0
    )
    await admitted(limiter, *bounds)
    clock.pass_(20)
    assert (await refusal(limiter, *bounds)).standing == Standing(3, 0, 1000, 880, 45.0)


@covers("115", "114")
@pytest.mark.parametrize(
    "last",
    [
        bound("tenant:t", requests=1),
        bound("tenant:t", tokens=15),
        bound("tenant:t", streams=1),
        bound("tenant:t", Budget(150)),
    ],
    ids=["requests", "tokens", "streams", "budget"],
)
async def test_a_request_is_taken_under_all_bounds_or_none(limiter: Limiter, last: Bound) -> None:
    first, want = bound(KEY, Budget(1000), requests=10, tokens=100, streams=10), Want(10, 100, is_stream=True)
    await limiter.admit((last,), want)
    for _ in range(50):
        error = await refusal(limiter, first, last, want=want)
        assert "tenant:t" in error.message
    assert len(await admitted(limiter, first, want=want)) == 10


@covers("115")
async def test_the_limit_that_lasts_longest_is_told(limiter: Limiter, clock: Clock) -> None:
    await limiter.admit((bound(requests=1),), ONE)
    clock.pass_(30)
    await limiter.admit((bound("tenant:t", requests=1),), ONE)
    error = await refusal(limiter, bound(requests=1), bound("tenant:t", requests=1))
    assert "tenant:t" in error.message


@covers("114")
async def test_a_hard_budget_refuses_and_clients_are_told_not_to_retry(limiter: Limiter) -> None:
    limit = bound(KEY, Budget(nano(Decimal(2)), "month"))
    ticket = await limiter.admit((limit,), Want(nano_usd=1_900_000_000))
    error = await refusal(limiter, limit, want=Want(nano_usd=200_000_000))
    assert (type(error), error.code, error.status) == (BudgetExceeded, "budget_exceeded", 429)
    assert error.should_retry is False
    assert error.message == "The budget of 2 USD per month for key:k1 does not cover this request."
    assert error.retry_after == 12 * 3600
    limiter.settle(ticket, 0, 2_000_000_000)
    await refusal(limiter, limit, want=Want())


@covers("114")
async def test_a_soft_budget_only_tells(limiter: Limiter) -> None:
    limit = bound(KEY, Budget(100, "day", hard=False))
    assert (await limiter.admit((limit,), ONE)).over == ()
    ticket = await limiter.admit((limit,), ONE)
    assert [worded(one) for one in ticket.over] == ["The budget of 0.0000001 USD per day for key:k1"]


@covers("114")
@pytest.mark.parametrize(
    ("period", "last", "first"),
    [
        ("day", datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
        ("week", datetime(2026, 4, 5, 23, 59, 59, tzinfo=UTC), datetime(2026, 4, 6, tzinfo=UTC)),
        ("month", datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)),
        ("month", datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("month", datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
    ],
)
async def test_a_budget_is_new_with_its_period(
    limiter: Limiter, clock: Clock, period: Period, last: datetime, first: datetime
) -> None:
    limit = bound(KEY, Budget(100, period))
    clock.set_to(last)
    limiter.settle(await limiter.admit((limit,), ONE), 0, 100)
    assert (await refusal(limiter, limit)).retry_after == 1
    clock.set_to(first)
    limiter.settle(await limiter.admit((limit,), ONE), 0, 100)
    clock.pass_(-1)
    await refusal(limiter, limit)


@covers("114")
async def test_what_is_in_flight_at_midnight_counts_in_the_new_day(limiter: Limiter, clock: Clock) -> None:
    limit = bound(KEY, Budget(100, "day"))
    ticket = await limiter.admit((limit,), Want(nano_usd=60))
    clock.pass_(86_400)
    await refusal(limiter, limit, want=Want(nano_usd=60))
    limiter.settle(ticket, 0, 40)
    await limiter.admit((limit,), Want(nano_usd=60))


@covers("114")
async def test_what_the_ledger_knows_is_spent(limiter: Limiter, clock: Clock) -> None:
    limit = bound(KEY, Budget(100, "day"), Budget(500, "total"))
    limiter.learn({KEY: {"day": 80, "total": 300}, "key:other": {"day": 10}})
    await refusal(limiter, limit, want=Want(nano_usd=21))
    limiter.settle(await limiter.admit((limit,), Want(nano_usd=20)), 0, 20)
    limiter.learn({KEY: {"day": 80, "total": 300}})
    await refusal(limiter, limit, want=Want(nano_usd=1))
    clock.pass_(86_400)
    limiter.settle(await limiter.admit((limit,), Want(nano_usd=100)), 0, 100)
    assert "in total" in (await refusal(limiter, limit, want=Want(nano_usd=90))).message


@covers("114")
async def test_what_was_learnt_of_a_day_means_nothing_on_the_next(limiter: Limiter, clock: Clock) -> None:
    limiter.learn({KEY: {"day": 100}})
    clock.pass_(86_400)
    await limiter.admit((bound(KEY, Budget(100, "day")),), ONE)


@covers("133")
async def test_what_was_spent_of_each_budget_can_be_asked(limiter: Limiter, clock: Clock) -> None:
    bounds = (Bound(KEY, budgets=(Budget(1000, "day"), Budget(5000, "total"))), Bound("tenant:t", Rate(5)))
    assert [one.spent for one in await limiter.look(bounds)] == [{"day": 0, "total": 0}, {}]
    limiter.learn({KEY: {"day": 80, "total": 300}})
    assert (await limiter.look(bounds))[0].spent == {"day": 80, "total": 300}
    limiter.settle(await limiter.admit(bounds, Want(nano_usd=500)), 10, 20)
    assert [one.spent for one in await limiter.look(bounds)] == [{"day": 100, "total": 320}, {}]
    clock.pass_(86_400)
    assert [one.spent for one in await limiter.look(bounds[:1])] == [{"day": 0, "total": 320}]


@covers("153")
async def test_200_at_once_on_a_budget_for_10_let_10_in(limiter: Limiter) -> None:
    limit = bound(KEY, Budget(1000))
    tickets = await admitted(limiter, limit, most=200)
    assert len(tickets) == 10
    for ticket in tickets:
        limiter.settle(ticket, 0, 50)
        limiter.settle(ticket, 0, 50)
    assert len(await admitted(limiter, limit, most=200)) == 5


@covers("153")
async def test_no_bounds_let_everything_in(limiter: Limiter) -> None:
    ticket = await limiter.admit((), Want(10**9, 10**15, is_stream=True))
    limiter.settle(ticket, 1, 1)
    assert ticket.standing is None


@covers("budgets-used")
async def test_what_is_used_and_held_is_told_and_nothing_is_taken(limiter: Limiter, clock: Clock) -> None:
    money = bound(KEY, Budget(1000, "day"), Budget(5000, "total"))
    [unknown] = await limiter.look((money,))
    assert (unknown.spent, unknown.reserved) == ({"day": 0, "total": 0}, 0)
    limiter.learn({KEY: {"day": 70, "week": 70, "month": 70, "total": 900}})
    [learnt] = await limiter.look((money,))
    assert (learnt.spent, learnt.reserved) == ({"day": 70, "total": 900}, 0)
    ticket = await limiter.admit((money,), ONE)
    [held] = await limiter.look((money,))
    assert (held.spent, held.reserved) == ({"day": 70, "total": 900}, 100)
    limiter.settle(ticket, 0, 30)
    [settled] = await limiter.look((money,))
    assert (settled.spent, settled.reserved) == ({"day": 100, "total": 930}, 0)
    clock.pass_(86_400)
    [tomorrow] = await limiter.look((money,))
    assert tomorrow.spent == {"day": 0, "total": 930}
    assert tomorrow.ends["day"] == datetime(2026, 4, 2, tzinfo=UTC).timestamp()
