"""Settings of who may ask."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class AuthSettings(BaseModel):
    """Keys that open this gateway."""

    model_config = ConfigDict(extra="forbid")

    required: bool = Field(True, description="Whether a key is needed at all. Off is accepted on loopback only.")
    master_key: SecretStr | None = Field(
        None,
        description="The key with every right. Without one, a key is generated on first start into the data directory.",
    )
    key_header: str | None = Field(
        None, pattern=r"^[A-Za-z0-9-]{1,64}$", description="A further request header that may carry the key."
    )
    tokens: list[SecretStr] = Field(
        default_factory=list, description="Further keys that may call models. Also read from API_TOKENS, by commas."
    )
