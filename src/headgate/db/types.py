"""Settings of the database."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class DatabaseSettings(BaseModel):
    """Where tenants, keys and the ledger are kept."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr | None = Field(
        None,
        description="Address as `sqlite+aiosqlite:///FILE`, or `postgresql+asyncpg://USER:PASSWORD@HOST/NAME` with the "
        "extra `postgres`. Without one, the file `headgate.db` of the data directory.",
    )
