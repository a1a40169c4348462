"""Statements that are put into words once for each kind of database, and then cost what its driver takes for them.

Made for what every stored turn asks. Values and rows are as the columns hold them: JSON is text here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ClauseElement

Row = Sequence[Any]


class Prepared:
    """`columns` are those that an insert or an update sets; None for all that the statement itself says.

    `once`: a row that is there already is passed over.
    """

    def __init__(self, statement: ClauseElement, *columns: str, once: bool = False) -> None:
        self._statement = statement
        self._columns = list(columns) or None
        self._end = " ON CONFLICT DO NOTHING" if once else ""
        self._made: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {}

    def on(self, dialect: Dialect) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        """The words, the names of the values in their order, and those values that are always the same."""
        made = self._made.get(dialect.name)
        if made is None:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            fixed = {name: value for name, value in compiled.params.items() if value is not None}
            names = tuple(compiled.positiontup or ())  # type: ignore[attr-defined]
            made = self._made[dialect.name] = (str(compiled) + self._end, names, fixed)
        return made


async def rows(connection: AsyncConnection, statement: Prepared, values: Mapping[str, Any]) -> Sequence[Row]:
    """What a query finds."""
    found = await _execute(connection, statement, values)
    return found.fetchall()  # type: ignore[no-any-return]


async def change(connection: AsyncConnection, statement: Prepared, values: Mapping[str, Any]) -> int:
    """How many rows were written."""
    return int((await _execute(connection, statement, values)).rowcount)


async def add(connection: AsyncConnection, statement: Prepared, made: Sequence[Mapping[str, Any]]) -> None:
    """Write several rows."""
    words, names, fixed = statement.on(connection.dialect)
    await connection.exec_driver_sql(words, [_in_order(names, fixed, values) for values in made])


async def _execute(connection: AsyncConnection, statement: Prepared, values: Mapping[str, Any]) -> Any:
    words, names, fixed = statement.on(connection.dialect)
    return await connection.exec_driver_sql(words, _in_order(names, fixed, values))


def _in_order(names: tuple[str, ...], fixed: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[Any, ...]:
    if not fixed:
        return tuple([values[name] for name in names])
    return tuple([values[name] if name in values else fixed[name] for name in names])
