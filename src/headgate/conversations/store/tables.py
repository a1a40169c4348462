"""The tables of conversations. Items and events are only ever added, until their conversation is deleted."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from headgate.db.columns import Json, Name, metadata

conversations = Table(
    "conversations",
    metadata,
    Column("id", Name, primary_key=True),
    Column("tenant", Name, nullable=False),
    Column("user", Name, nullable=False),
    Column("agent", Name, nullable=False),
    Column("model", Name, nullable=False),
    Column("title", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("touched", BigInteger, nullable=False),
    Column("segment", Name, nullable=False),
    Column("depth", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("holder", Name, nullable=False),
    Column("held_until", BigInteger, nullable=False),
    Index(None, "tenant", "user", "touched", "id"),
)
segments = Table(
    "segments",
    metadata,
    Column("id", Name, primary_key=True),
    Column("conversation", Name, nullable=False),
    Column("parent", Name, nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("cause", Name, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("covers_first", BigInteger, nullable=True),
    Column("covers_last", BigInteger, nullable=True),
    Column("keeps", Json, nullable=False),
    Column("told", Json, nullable=False),
    Index(None, "conversation"),
    Index(None, "parent"),
)
items = Table(
    "items",
    metadata,
    Column("segment", Name, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Name, nullable=False),
    Column("run", Name, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("data", Json, nullable=False),
    Index(None, "id"),
)
stored_runs = Table(
    "stored_runs",
    metadata,
    Column("id", Name, primary_key=True),
    Column("request_id", Name, nullable=False),
    Column("conversation", Name, nullable=False),
    Column("tenant", Name, nullable=False),
    Column("user", Name, nullable=False),
    Column("status", Name, nullable=False),
    Column("background", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("request", Json, nullable=False),
    Column("response", Json, nullable=True),
    Column("previous", Name, nullable=False),
    Column("segment", Name, nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("holder", Name, nullable=False),
    Column("held_until", BigInteger, nullable=False),
    Index(None, "conversation"),
    Index(None, "status", "held_until"),
    Index(None, "tenant", "user"),
)
events = Table(
    "events",
    metadata,
    Column("run", Name, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
