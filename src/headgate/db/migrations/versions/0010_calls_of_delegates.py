"""Actions of calls that an agent wanted to make which another one had asked hold what it was about."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0009"


def upgrade() -> None:
    op.add_column("actions", sa.Column("within", sa.Text, nullable=False, server_default="{}"))
