"""What workers tell each other of stored runs, on whatever machine they are: who follows one, and who wants it to end.

Also whose turn it is to do what has to be done by one of them. All of it is of the moment: nothing is lost with it.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import BigInteger, Column, Table, bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from headgate.conversations.store.tables import stored_runs
from headgate.conversations.types import milliseconds
from headgate.db.columns import Name, metadata
from headgate.db.engine import Database

Wish = Literal["", "stop", "dismiss"]
"""stop: end it whoever waits for it; dismiss: end it unless somebody does."""

run_signals = Table(
    "run_signals",
    metadata,
    Column("run", Name, primary_key=True),
    Column("lingers_until", BigInteger, nullable=False),
    Column("followed_until", BigInteger, nullable=False),
    Column("wish", Name, nullable=False),
    Column("touched", BigInteger, nullable=False),
)
duties = Table(
    "duties",
    metadata,
    Column("name", Name, primary_key=True),
    Column("holder", Name, nullable=False),
    Column("held_until", BigInteger, nullable=False),
)


class Signals(NamedTuple):
    """Of one run. Times are milliseconds since the epoch, 0 for never.

    Until `lingers_until` it goes on though its caller left, until `followed_until` somebody else waits for its events.
    """

    lingers_until: int = 0
    followed_until: int = 0
    wish: Wish = ""


_PUT = text(
    "INSERT INTO run_signals (run, lingers_until, followed_until, wish, touched) "
    "VALUES (:run, :lingers_until, :followed_until, :wish, :touched) ON CONFLICT (run) DO UPDATE SET "
    "lingers_until = CASE excluded.lingers_until WHEN 0 THEN run_signals.lingers_until "
    "ELSE excluded.lingers_until END, "
    "followed_until = CASE excluded.followed_until WHEN 0 THEN run_signals.followed_until "
    "ELSE excluded.followed_until END, "
    "wish = CASE excluded.wish WHEN '' THEN run_signals.wish ELSE excluded.wish END, touched = excluded.touched"
)
"""What is not told stays as it is. Both kinds of databases know this form."""
_TAKE = text(
    "INSERT INTO duties (name, holder, held_until) VALUES (:name, :holder, :until) ON CONFLICT (name) DO UPDATE "
    "SET holder = excluded.holder, held_until = excluded.held_until "
    "WHERE duties.holder = excluded.holder OR duties.held_until < :now"
)
_s = run_signals.c
_LOOK = select(_s.run, _s.lingers_until, _s.followed_until, _s.wish).where(
    _s.run.in_(bindparam("runs", expanding=True))
)


class RunSignals:
    """Raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def linger(self, run: str, until: int) -> None:
        """It goes on for a while though its caller left."""
        await self._write(run, Signals(lingers_until=until))

    async def follow(self, run: str, until: int) -> None:
        """Somebody waits for its events, and will say so again before that time is over."""
        await self._write(run, Signals(followed_until=until))

    async def want(self, run: str, wish: Wish) -> None:
        """Have whoever works on it end it."""
        await self._write(run, Signals(wish=wish))

    async def look(self, runs: Sequence[str]) -> Mapping[str, Signals]:
        """What is told of those of which anything is."""

        async def act(connection: AsyncConnection) -> dict[str, Signals]:
            return {run: Signals(*told) for run, *told in await connection.execute(_LOOK, {"runs": list(runs)})}

        return await self._database.do(act, read_only=True)

    async def at_work_on(self, conversation: str) -> list[str]:
        """The runs under way that are made for a caller who waits, or waited."""
        r = stored_runs.c
        wanted = select(r.id).where(r.conversation == conversation, r.status == "in_progress", r.background.is_(False))

        async def act(connection: AsyncConnection) -> list[str]:
            return list((await connection.execute(wanted)).scalars())

        return await self._database.do(act, read_only=True)

    async def forget(self, runs: Sequence[str]) -> None:
        """They have ended."""

        async def act(connection: AsyncConnection) -> None:
            await connection.execute(delete(run_signals).where(_s.run.in_(list(runs))))

        await self._database.do(act)

    async def sweep(self, before: int) -> None:
        """Take away what was told before a time and that nobody took away."""

        async def act(connection: AsyncConnection) -> None:
            await connection.execute(delete(run_signals).where(_s.touched < before))

        await self._database.do(act)

    async def _write(self, run: str, told: Signals) -> None:
        values = {"run": run, **told._asdict(), "touched": milliseconds()}

        async def act(connection: AsyncConnection) -> None:
            await connection.execute(_PUT, values)

        await self._database.do(act)


class Duties:
    """Whose turn it is. Raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, name: str, holder: str, seconds: float) -> bool:
        """Take a duty over that nobody has, or go on having it; False while somebody else does."""
        now = milliseconds()
        values = {"name": name, "holder": holder, "until": now + int(seconds * 1000), "now": now}

        async def act(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(_TAKE, values)).rowcount)

        return await self._database.do(act)
