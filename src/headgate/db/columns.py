"""The one list of tables, and the kinds of columns they share. Every kind exists in SQLite and in PostgreSQL alike."""

from typing import Any

import orjson
from sqlalchemy import BigInteger, Dialect, Double, MetaData, String, Text, TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Name = String(512)
"""Ids, and names that people give."""
Instant: Double[float] = Double()
"""Seconds since the epoch."""
NanoUsd = BigInteger()
"""Money, see core/money.py."""


class Json(TypeDecorator[Any]):
    """A value of JSON, kept as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)
