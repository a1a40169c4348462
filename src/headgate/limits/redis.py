"""Counters in Valkey or Redis, for several machines: one round trip per request, shared by requests of the same moment.

Imported only when an address is configured.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha1
from typing import Any, NamedTuple

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from headgate.core.bounds import Bound, Period, Refusal, Spent, Standing, Ticket, Used, Want
from headgate.core.errors import LimitsUnavailable, StartupError
from headgate.limits.budget import Calendar
from headgate.limits.scripts import SETTLE, TAKE

log = logging.getLogger(__name__)
_LIFE_SECONDS = 15
"""How long what a dead worker held still counts."""
_BEAT_SECONDS = 4.0
_PATIENCE = 2.0
"""Seconds that a request waits for Redis."""
_MOST_WAITING = 100_000
_DIGESTS = {script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (TAKE, SETTLE)}
"""The names that Redis gives to scripts it knows."""


class _Command(NamedTuple):
    """A call of one script. `answer` is None where nobody waits; such a call is repeated until it is made."""

    script: str
    keys: list[str]
    payload: dict[str, Any]
    answer: asyncio.Future[Any] | None = None


class RedisCounters:
    """`open` before use. With `admits`, requests are let in uncounted while Redis cannot be reached."""

    def __init__(
        self, url: str, *, admits: bool = False, prefix: str = "{headgate}:", today: Callable[[], float] = time.time
    ) -> None:
        self._client: Redis = Redis.from_url(url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)
        self._admits = admits
        self._prefix = prefix
        self._today = today
        self._calendar = Calendar()
        self._known: dict[tuple[str, Period], tuple[int, int]] = {}
        self._worker = ""
        self._living = asyncio.Lock()
        self._is_closing = False
        self._tickets = 0
        self._queue: list[_Command] = []
        self._called = asyncio.Event()
        self._duty: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises StartupError when Redis does not answer and nothing may go uncounted."""
        try:
            await self._live()
        except (RedisError, OSError) as error:
            if not self._admits:
                told = f"Redis cannot be reached ({type(error).__name__}); check `limits.redis_url`."
                raise StartupError(told) from None
            log.warning("Redis cannot be reached: limits are not counted until it can")
        self._duty = asyncio.get_running_loop().create_task(self._work())

    async def take(self, bounds: tuple[Bound, ...], want: Want) -> Ticket | Refusal:
        self._calendar.turn_to(self._today())
        ticket = Ticket(bounds, want, holder=self._new_ticket())
        try:
            async with asyncio.timeout(_PATIENCE):
                while (told := await self._ask(ticket)) == b"dead":
                    await self._live()
                    ticket.holder = self._new_ticket()
            return self._read(orjson.loads(told), ticket)
        except (RedisError, OSError, TimeoutError) as error:
            self.settle(ticket, 0, 0)
            if self._admits:
                return Ticket(bounds, want, is_open=False)
            raise LimitsUnavailable("The counters of limits and budgets cannot be reached.", retry_after=1) from error
        except asyncio.CancelledError:
            self.settle(ticket, 0, 0)
            raise

    def settle(self, ticket: Ticket, tokens: int, nano_usd: int) -> None:
        if not ticket.is_open:
            return
        ticket.is_open = False
        self._calendar.turn_to(self._today())
        booked = {"at": ticket.at, "by": tokens - ticket.want.tokens, "cost": nano_usd}
        self._put(_Command(SETTLE, self._keys(ticket), self._payload(ticket) | booked))

    def learn(self, spent: Spent) -> None:
        self._calendar.turn_to(self._today())
        for subject, amounts in spent.items():
            for period, amount in amounts.items():
                self._known[subject, period] = self._calendar.numbers[period], amount

    async def look(self, bounds: Sequence[Bound]) -> list[Used]:
        self._calendar.turn_to(self._today())
        try:
            async with asyncio.timeout(_PATIENCE), self._client.pipeline(transaction=False) as pipe:
                await self._live()
                for bound in bounds:
                    for one in self._bound(bound)["budgets"]:
                        pipe.get(one["key"])
                    pipe.hgetall(f"{self._prefix}held:{bound.subject}")
                answers: list[Any] = await pipe.execute()
                workers = {name[2:] for one in answers if isinstance(one, dict) for name in one}
                lives = {one for one in workers if await self._client.exists(f"{self._prefix}life:{one.decode()}")}
        except (RedisError, OSError, TimeoutError) as error:
            raise LimitsUnavailable("The counters of limits and budgets cannot be reached.", retry_after=1) from error
        told = iter(answers)
        return [self._used(bound, told, lives) for bound in bounds]

    def _used(self, bound: Bound, told: Iterator[Any], lives: set[bytes]) -> Used:
        """What dead workers held does not count; see the scripts."""
        spent: dict[Period, int] = {}
        for one, asked in zip(bound.budgets, self._bound(bound)["budgets"], strict=True):
            spent[one.period] = max(int(next(told) or 0), asked["known"])
        held = next(told)
        reserved = sum(int(value) for name, value in held.items() if name[:2] == b"n:" and name[2:] in lives)
        return Used(bound, spent, reserved, {period: self._calendar.ends[period] for period in spent})

    async def close(self) -> None:
        """Make the calls that wait, and end this worker's life. Nothing is cancelled, for that can get lost."""
        self._is_closing = True
        self._called.set()
        if self._duty is not None:
            await self._duty
        with contextlib.suppress(RedisError, OSError):
            await self._make(self._queue)
            await self._client.delete(self._life())
        await self._client.aclose()

    async def _ask(self, ticket: Ticket) -> bytes:
        payload = self._payload(ticket) | {"lives": f"{self._prefix}life:"}
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._put(_Command(TAKE, self._keys(ticket), payload, answer))
        return await answer

    def _put(self, command: _Command) -> None:
        if len(self._queue) < _MOST_WAITING:
            self._queue.append(command)
            self._called.set()

    def _new_ticket(self) -> str:
        self._tickets += 1
        return f"{self._worker}:{self._tickets}"

    def _life(self) -> str:
        return f"{self._prefix}life:{self._worker}"

    def _keys(self, ticket: Ticket) -> list[str]:
        keys = [f"{self._prefix}ticket:{ticket.holder}"]
        for bound in ticket.bounds:
            keys += (f"{self._prefix}{kind}:{bound.subject}" for kind in ("requests", "tokens", "held"))
        return keys

    def _payload(self, ticket: Ticket) -> dict[str, Any]:
        want = ticket.want
        return {
            "worker": ticket.holder.partition(":")[0],
            "tokens": want.tokens,
            "nano": want.nano_usd,
            "stream": want.is_stream,
            "bounds": [self._bound(one) for one in ticket.bounds],
        }

    def _bound(self, bound: Bound) -> dict[str, Any]:
        rate, calendar = bound.rate, self._calendar
        budgets = []
        for one in bound.budgets:
            number, end = calendar.numbers[one.period], calendar.ends[one.period]
            known_for, known = self._known.get((bound.subject, one.period), (0, 0))
            budgets.append(
                {
                    "key": f"{self._prefix}spent:{one.period}:{number}:{bound.subject}",
                    "nano": one.nano_usd,
                    "hard": one.hard,
                    "known": known if known_for == number else 0,
                    "ends": 0 if one.period == "total" else int(end),
                }
            )
        return {
            "requests": rate.requests_per_minute,
            "tokens": rate.tokens_per_minute,
            "streams": rate.streams,
            "budgets": budgets,
        }

    def _read(self, answer: dict[str, Any], ticket: Ticket) -> Ticket | Refusal:
        standing = Standing(*(answer["standing"]))
        against = [self._refusal(ticket, standing, *one) for one in answer.get("against") or ()]
        if against:
            ticket.is_open = False
            return max(against, key=lambda one: one.wait)
        ticket.at, ticket.standing = answer["slot"], standing
        ticket.over = tuple(self._refusal(ticket, None, *one) for one in answer.get("over") or ())
        return ticket

    def _refusal(
        self, ticket: Ticket, standing: Standing | None, place: int, kind: Any, nth: int, wait: float
    ) -> Refusal:
        bound = ticket.bounds[place - 1]
        if kind == "budget":
            budget = bound.budgets[nth - 1]
            wait = self._calendar.ends[budget.period] - self._today()
            return Refusal(bound.subject, kind, budget.nano_usd, wait, budget.period, standing)
        rate = bound.rate
        allowed = {"requests": rate.requests_per_minute, "tokens": rate.tokens_per_minute, "streams": rate.streams}
        return Refusal(bound.subject, kind, allowed[kind], wait, standing=standing)

    async def _work(self) -> None:
        """Make the calls that were put, all of a moment in one go; keep this worker alive."""
        beat_at = time.monotonic() + _BEAT_SECONDS
        while not self._is_closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(beat_at - time.monotonic()):
                    await self._called.wait()
            self._called.clear()
            waiting, self._queue = self._queue, []
            try:
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + _BEAT_SECONDS
                    await self._live()
                await self._make(waiting)
            except (RedisError, OSError) as error:
                log.warning("limits are not counted in Redis: %s", type(error).__name__)
                _fail(waiting, error)
                self._queue[:0] = [one for one in waiting if one.answer is None]
                await asyncio.sleep(0.1)
                self._called.set()

    async def _live(self) -> None:
        """Prolong our life. If it had ended, others dropped what we held, and we go on under a new name."""
        async with self._living:
            if not self._worker or not await self._client.expire(self._life(), _LIFE_SECONDS):
                self._worker = secrets.token_hex(8)
                await self._client.set(self._life(), 1, ex=_LIFE_SECONDS)

    async def _make(self, commands: Iterable[_Command]) -> None:
        """Raises the error of a connection that fails; errors of single calls go to who waits for them."""
        wanted = [one for one in commands if one.answer is None or not one.answer.done()]
        if not wanted:
            return
        answers = await self._answers(wanted)
        if any(isinstance(one, NoScriptError) for one in answers):
            for script in (TAKE, SETTLE):
                await self._client.script_load(script)
            missing = [at for at, one in enumerate(answers) if isinstance(one, NoScriptError)]
            for at, answer in zip(missing, await self._answers([wanted[at] for at in missing]), strict=True):
                answers[at] = answer
        for command, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, Exception):
                _fail([command], answer)
            elif command.answer is not None and not command.answer.done():
                command.answer.set_result(answer)

    async def _answers(self, commands: list[_Command]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for one in commands:
                pipe.evalsha(_DIGESTS[one.script], len(one.keys), *one.keys, orjson.dumps(one.payload))
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers


def _fail(commands: Iterable[_Command], error: Exception) -> None:
    for one in commands:
        if one.answer is not None and not one.answer.done():
            one.answer.set_exception(error)
