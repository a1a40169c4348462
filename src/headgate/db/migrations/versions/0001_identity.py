"""Tenants, keys, and the count of their changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    name = sa.String(512)
    instant: sa.Double[float] = sa.Double()
    op.create_table(
        "identity_changes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(sa.table("identity_changes", sa.column("id"), sa.column("revision")), [{"id": 1, "revision": 0}])
    op.create_table(
        "tenants",
        sa.Column("id", name, primary_key=True),
        sa.Column("name", name, nullable=False),
        sa.Column("rights", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("erased", sa.Boolean, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_tenants_revision", "tenants", ["revision"])
    op.create_table(
        "keys",
        sa.Column("id", name, primary_key=True),
        sa.Column("tenant", name, nullable=False),
        sa.Column("user_id", name, nullable=False),
        sa.Column("alias", name, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("previous", sa.LargeBinary(32)),
        sa.Column("previous_until", instant, nullable=False),
        sa.Column("rights", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("revoked_at", instant, nullable=False),
        sa.Column("erased", sa.Boolean, nullable=False),
        sa.Column("created_by", name, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("rotated_at", instant, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
    )
    op.create_index("ix_keys_revision", "keys", ["revision"])
    op.create_index("ix_keys_tenant_alias", "keys", ["tenant", "alias"])
    op.create_index("ix_keys_tenant_user_id", "keys", ["tenant", "user_id"])
