"""Conversations, their segments and items, and what is stored of runs."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    name = sa.String(512)

    def names(text: str) -> "list[sa.Column[str]]":
        return [sa.Column(one, name, nullable=False) for one in text.split()]

    def numbers(text: str) -> "list[sa.Column[int]]":
        return [sa.Column(one, sa.BigInteger, nullable=False) for one in text.split()]

    op.create_table(
        "conversations",
        sa.Column("id", name, primary_key=True),
        *names("tenant user agent model"),
        sa.Column("title", sa.Text, nullable=False),
        *numbers("created touched"),
        *names("segment"),
        *numbers("depth revision"),
        sa.Column("metadata", sa.Text, nullable=False),
        *names("holder"),
        *numbers("held_until tokens counted"),
        sa.Column("compaction", sa.Text, nullable=False),
    )
    path = ["tenant", "user", "touched", "id", "title"]
    op.create_index("ix_conversations_tenant_user_touched_id_title", "conversations", path)
    op.create_table(
        "segments",
        sa.Column("id", name, primary_key=True),
        *names("conversation parent"),
        *numbers("base"),
        *names("cause"),
        *numbers("created"),
        sa.Column("covers_first", sa.BigInteger, nullable=True),
        sa.Column("covers_last", sa.BigInteger, nullable=True),
        sa.Column("keeps", sa.Text, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
    )
    op.create_index("ix_segments_conversation", "segments", ["conversation"])
    op.create_index("ix_segments_parent", "segments", ["parent"])
    op.create_table(
        "items",
        sa.Column("segment", name, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        *names("id run"),
        *numbers("created"),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("ix_items_id", "items", ["id"])
    op.create_table(
        "stored_runs",
        sa.Column("id", name, primary_key=True),
        *names("request_id conversation tenant user status"),
        sa.Column("background", sa.Boolean, nullable=False),
        *numbers("created ended"),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("response", sa.Text, nullable=True),
        *names("previous segment"),
        *numbers("base events"),
        *names("holder"),
        *numbers("held_until"),
    )
    op.create_index("ix_stored_runs_conversation", "stored_runs", ["conversation"])
    op.create_index("ix_stored_runs_status_held_until", "stored_runs", ["status", "held_until"])
    op.create_index("ix_stored_runs_tenant_user", "stored_runs", ["tenant", "user"])
    op.create_table(
        "actions",
        sa.Column("id", name, primary_key=True),
        *names("kind tenant user conversation run model tool"),
        sa.Column("arguments", sa.Text, nullable=False),
        *names("digest rule"),
        *numbers("created expires"),
        *names("state verdict"),
        sa.Column("answer", sa.Text, nullable=False),
        *names("by"),
        *numbers("answered_at"),
    )
    op.create_index("ix_actions_tenant_user_id", "actions", ["tenant", "user", "id"])
    op.create_index("ix_actions_conversation", "actions", ["conversation"])
    op.create_table(
        "memories",
        sa.Column("id", name, primary_key=True),
        *names("tenant user"),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
        *numbers("created"),
    )
    op.create_index("ix_memories_tenant_user_id", "memories", ["tenant", "user", "id"])
    op.create_table(
        "events",
        sa.Column("run", name, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
