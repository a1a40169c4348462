"""The counters of several machines, against a real Valkey or Redis where there is one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from headgate.core.bounds import Bound, Budget, Rate, Ticket, Want
from headgate.core.errors import BudgetExceeded, LimitReached, LimitsUnavailable, RateLimited, StartupError
from headgate.limits.limiter import Limiter
from headgate.limits.redis import RedisCounters
from tests.harness.redis import RedisServer
from tests.requirements import covers

pytestmark = covers("150", "153")
KEY = "key:k"
MONEY = (Bound(KEY, Rate(streams=100), (Budget(1000, "day"),)),)
COSTS_100 = Want(tokens=10, nano_usd=100, is_stream=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    yield running
    running.stop()


@pytest_asyncio.fixture
async def pair(server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[list[RedisCounters]]:
    """Two workers, on keys of this test's own."""
    made = [RedisCounters(server.url, prefix=f"{{{request.node.name}}}:") for _ in range(2)]
    for one in made:
        await one.open()
    yield made
    for one in made:
        await one.close()


async def together(pair: list[RedisCounters], bounds: tuple[Bound, ...], want: Want, times: int) -> int:
    """How many of so many requests at once get in, over two workers."""

    async def ask(number: int) -> int:
        with contextlib.suppress(LimitReached):
            await Limiter(pair[number % 2]).admit(bounds, want)
            return 1
        return 0

    return sum(await asyncio.gather(*map(ask, range(times))))


@covers("115")
async def test_1000_calls_of_two_workers_against_100_per_minute_let_100_in(pair: list[RedisCounters]) -> None:
    assert await together(pair, (Bound(KEY, Rate(100)), Bound("tenant:t", Rate(5000))), Want(), 1000) == 100


async def test_200_calls_of_two_workers_on_a_budget_for_10_let_10_in(pair: list[RedisCounters]) -> None:
    assert await together(pair, MONEY, COSTS_100, 200) == 10


@covers("115")
async def test_a_refusal_tells_the_limit_the_wait_and_what_is_left(pair: list[RedisCounters]) -> None:
    limiter, bounds = Limiter(pair[0]), (Bound(KEY, Rate(2, 100)),)
    ticket = await limiter.admit(bounds, Want(tokens=60))
    assert ticket.standing is not None
    assert (ticket.standing.tokens_limit, ticket.standing.tokens_left) == (100, 40)
    with pytest.raises(RateLimited, match="100 tokens per minute for key:k") as caught:
        await limiter.admit(bounds, Want(tokens=50))
    assert caught.value.retry_after is not None
    assert 55 < caught.value.retry_after <= 65
    limiter.settle(ticket, 10, 0)
    limiter.settle(ticket, 10, 0)
    await limiter.admit(bounds, Want(tokens=90))
    with pytest.raises(RateLimited) as caught:
        await Limiter(pair[1]).admit(bounds, Want())
    assert caught.value.standing is not None
    assert (caught.value.standing.requests_limit, caught.value.standing.requests_left) == (2, 0)


@covers("114")
async def test_a_request_is_taken_under_all_bounds_or_none(pair: list[RedisCounters]) -> None:
    last = Bound("tenant:t", budgets=(Budget(150, "month"),))
    await Limiter(pair[0]).admit((last,), COSTS_100)
    for _ in range(20):
        with pytest.raises(BudgetExceeded, match="per month for tenant:t"):
            await Limiter(pair[0]).admit((*MONEY, last), COSTS_100)
    assert await together(pair, MONEY, COSTS_100, 20) == 10


@covers("114")
async def test_costs_are_settled_learnt_and_told_when_soft(pair: list[RedisCounters]) -> None:
    first, second = map(Limiter, pair)
    bounds = (Bound(KEY, budgets=(Budget(1000, "total"), Budget(700, "day", hard=False))),)
    second.learn({KEY: {"total": 600}})
    ticket = await second.admit(bounds, COSTS_100)
    assert ticket.over == ()
    second.settle(ticket, 0, 300)
    with pytest.raises(BudgetExceeded, match="in total"):
        await second.admit(bounds, Want(nano_usd=101))
    first.learn({KEY: {"day": 650}})
    ticket = await first.admit(bounds, COSTS_100)
    assert [(one.period, one.allowed) for one in ticket.over] == [("day", 700)]


async def test_what_a_dead_worker_held_comes_back_and_a_late_settlement_harms_no_one(
    pair: list[RedisCounters],
) -> None:
    first, second = map(Limiter, pair)
    lost = [await first.admit(MONEY, COSTS_100) for _ in range(10)]
    with pytest.raises(BudgetExceeded):
        await second.admit(MONEY, COSTS_100)
    await pair[0]._client.delete(pair[0]._life())
    held = await second.admit(MONEY, COSTS_100)
    renewed = await first.admit(MONEY, COSTS_100)
    for ticket in (*lost, held, renewed):
        (second if ticket is held else first).settle(ticket, 0, 0)
    assert await together(pair, MONEY, COSTS_100, 20) == 10


async def test_a_request_whose_caller_left_while_it_asked_holds_nothing(pair: list[RedisCounters]) -> None:
    asking = [asyncio.ensure_future(Limiter(pair[0]).admit(MONEY, COSTS_100)) for _ in range(10)]
    for turns in range(10):
        await asyncio.sleep(0)
        asking[turns].cancel()
    for answer in await asyncio.gather(*asking, return_exceptions=True):
        if isinstance(answer, Ticket):
            Limiter(pair[0]).release(answer)
    assert await together(pair[:1] * 2, MONEY, COSTS_100, 20) == 10


async def test_scripts_that_the_server_forgot_are_given_again(pair: list[RedisCounters]) -> None:
    await pair[0]._client.script_flush()
    assert await together(pair, MONEY, COSTS_100, 20) == 10


@pytest.mark.parametrize("moments", range(4))
async def test_closing_makes_the_calls_that_wait(pair: list[RedisCounters], server: RedisServer, moments: int) -> None:
    leaving = RedisCounters(server.url, prefix=pair[0]._prefix)
    await leaving.open()
    for ticket in [await Limiter(leaving).admit(MONEY, COSTS_100) for _ in range(10)]:
        Limiter(leaving).settle(ticket, 10, 80)
    for _ in range(moments):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await leaving.close()
    assert await together(pair, MONEY, COSTS_100, 20) == 2


async def test_without_the_server_requests_are_refused_or_let_in_as_set(server: RedisServer) -> None:
    refusing, admitting = RedisCounters(server.url), RedisCounters(server.url, admits=True)
    for one in (refusing, admitting):
        await one.open()
    held = await Limiter(refusing).admit(MONEY, COSTS_100)
    server.stop()
    with pytest.raises(LimitsUnavailable, match="cannot be reached"):
        await Limiter(refusing).admit(MONEY, COSTS_100)
    Limiter(admitting).release(await Limiter(admitting).admit(MONEY, COSTS_100))
    Limiter(refusing).settle(held, 0, 100)
    server.start()
    for _ in range(100):
        with contextlib.suppress(LimitsUnavailable):
            Limiter(refusing).release(await Limiter(refusing).admit(MONEY, COSTS_100))
            break
    for one in (refusing, admitting):
        await one.close()


async def test_a_server_that_is_not_there_is_told_at_start_unless_requests_may_go_uncounted() -> None:
    with pytest.raises(StartupError, match="cannot be reached"):
        await RedisCounters("redis://127.0.0.1:1/0").open()
    counters = RedisCounters("redis://127.0.0.1:1/0", admits=True)
    await counters.open()
    Limiter(counters).settle(await Limiter(counters).admit(MONEY, COSTS_100), 1, 1)
    await counters.close()


@covers("114")
async def test_a_cost_counts_once_under_two_budgets_of_one_period(pair: list[RedisCounters]) -> None:
    first, second = map(Limiter, pair)
    both = Bound(KEY, budgets=(Budget(1000, "month"), Budget(500, "month", hard=False)))
    first.settle(await first.admit((both,), COSTS_100), 0, 100)
    await asyncio.wait_for(second.admit((Bound("key:other", Rate(9)),), Want()), 5)
    [told] = await first.look((both,))
    assert told.spent == {"month": 100}


@covers("budgets-used")
async def test_what_is_used_and_held_is_told_to_every_worker(pair: list[RedisCounters]) -> None:
    first, second = map(Limiter, pair)
    bound = Bound(KEY, budgets=(Budget(1000, "day"), Budget(9000, "total")))
    second.learn({KEY: {"total": 5000}})
    ticket = await first.admit((bound,), COSTS_100)
    [held] = await second.look((bound,))
    assert (held.reserved, held.spent) == (100, {"day": 0, "total": 5000})
    first.settle(ticket, 0, 40)
    await first.admit((Bound("key:other", Rate(9)),), Want())
    [settled] = await second.look((bound,))
    assert (settled.reserved, settled.spent["day"]) == (0, 40)
