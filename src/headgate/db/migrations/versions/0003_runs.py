"""Of a run: why its targets were tried, and which runs were made on its behalf."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("decision", sa.Text, nullable=False, server_default=""))
    op.create_index("ix_attempts_parent", "attempts", ["parent"])
