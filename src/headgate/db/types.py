"""Settings of the database."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class DatabaseSettings(BaseModel):
    """Where tenants, keys and the ledger are kept."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr | None = Field(
        None,
        description="Address as `sqlite+aiosqlite:///FILE`. Without one, the file `headgate.db` of the data directory.",
    )
