"""Actions that wait for the result of a caller's own tool name the call."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"


def upgrade() -> None:
    op.add_column("actions", sa.Column("call", sa.String(512), nullable=False, server_default=""))
    op.create_index("ix_actions_run", "actions", ["run"])
