"""What workers tell each other of stored runs, and whose turn it is to do what one of them has to."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0010"


def upgrade() -> None:
    name = sa.String(512)
    op.create_table(
        "run_signals",
        sa.Column("run", name, primary_key=True),
        sa.Column("lingers_until", sa.BigInteger, nullable=False),
        sa.Column("followed_until", sa.BigInteger, nullable=False),
        sa.Column("wish", name, nullable=False),
        sa.Column("touched", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "duties",
        sa.Column("name", name, primary_key=True),
        sa.Column("holder", name, nullable=False),
        sa.Column("held_until", sa.BigInteger, nullable=False),
    )
