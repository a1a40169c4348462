"""The ledger: one row per attempt, and the attempts' tags."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"

_NAMES = "key tenant user model answered target upstream provider_model component route tags"
_TOKENS = "prompt completion cached reasoning cache_write prompt_audio completion_audio prompt_image completion_image"
_PRICE = "price_input price_output price_cached_input price_cache_write price_request"


def upgrade() -> None:
    name = sa.String(512)

    def texts(names: str) -> list[sa.Column[str]]:
        return [sa.Column(one, sa.Text, nullable=False) for one in names.split()]

    def numbers(names: str, *, nullable: bool = False) -> list[sa.Column[int]]:
        return [sa.Column(one, sa.BigInteger, nullable=nullable) for one in names.split()]

    op.create_table(
        "attempts",
        sa.Column("id", name, primary_key=True),
        *texts("run parent"),
        *numbers("attempt final"),
        *texts(_NAMES),
        *numbers("started_at queued"),
        *numbers("first_byte first_token", nullable=True),
        *numbers("total"),
        *numbers(_TOKENS),
        *numbers(f"cost {_PRICE}", nullable=True),
        *texts("measure"),
        *numbers("bound"),
        *texts("outcome error"),
        *numbers("billed"),
    )
    op.create_index("ix_attempts_started_at", "attempts", ["started_at", "id"])
    op.create_index("ix_attempts_key", "attempts", ["key", "started_at"])
    op.create_index("ix_attempts_tenant_user", "attempts", ["tenant", "user", "started_at"])
    op.create_index("ix_attempts_run", "attempts", ["run"])
    op.create_table(
        "attempt_tags",
        sa.Column("attempt", name, primary_key=True),
        sa.Column("tag", sa.String(128), primary_key=True),
    )
