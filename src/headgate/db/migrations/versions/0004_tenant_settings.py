"""What tenants set for themselves, and the count of those changes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"


def upgrade() -> None:
    name = sa.String(512)
    instant: sa.Double[float] = sa.Double()
    op.create_table(
        "tenant_settings_changes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(
        sa.table("tenant_settings_changes", sa.column("id"), sa.column("revision")), [{"id": 1, "revision": 0}]
    )
    op.create_table(
        "tenant_settings",
        sa.Column("tenant", name, primary_key=True),
        sa.Column("key", name, primary_key=True),
        sa.Column("value", sa.Text),
        sa.Column("updated_by", name, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_tenant_settings_revision", "tenant_settings", ["revision"])
