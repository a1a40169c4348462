"""Users with limits of their own; what sound and pictures cost, in the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"

_PRICES = "price_audio_input price_audio_output price_image_input price_image_output"


def upgrade() -> None:
    name = sa.String(512)
    instant: sa.Double[float] = sa.Double()
    op.create_table(
        "users",
        sa.Column("tenant", name, primary_key=True),
        sa.Column("id", name, primary_key=True),
        sa.Column("alias", name, nullable=False),
        sa.Column("email", name, nullable=False),
        sa.Column("rights", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("erased", sa.Boolean, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_users_revision", "users", ["revision"])
    op.create_index("ix_users_id", "users", ["id"])
    for price in _PRICES.split():
        op.add_column("attempts", sa.Column(price, sa.BigInteger, nullable=True))
