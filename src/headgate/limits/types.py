"""Settings of what may be asked and spent."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from headgate.core.bounds import Bound, Budget, Period, Rate
from headgate.core.money import nano

Store = Literal["auto", "local", "shared", "redis"]
Kind = Literal["keys", "users", "tenants", "models"]


class AllowanceSettings(BaseModel):
    """What may be spent in a period of the calendar, in UTC."""

    model_config = ConfigDict(extra="forbid")

    usd: Decimal = Field(ge=0, le=1_000_000, description="USD per period.")
    period: Period = Field("month", description="day, week, month or total.")
    hard: bool = Field(True, description="Whether it refuses; a soft one is only told of.")


class BoundSettings(BaseModel):
    """What one key, user, tenant or model may take."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: int | None = Field(None, ge=1, description="Requests in any minute.")
    tokens_per_minute: int | None = Field(None, ge=1, description="Tokens of prompts and answers in any minute.")
    streams: int | None = Field(None, ge=1, description="Streams at once.")
    budgets: list[AllowanceSettings] = Field(default_factory=list, description="What may be spent.")


class LimitsSettings(BaseModel):
    """What every key, user, tenant and model may take that has no limits of its own; and where it is counted."""

    model_config = ConfigDict(extra="forbid")

    gateway: BoundSettings = Field(
        default_factory=BoundSettings, description="All keys together, the master key among them."
    )
    keys: BoundSettings = Field(default_factory=BoundSettings, description="Each key.")
    users: BoundSettings = Field(default_factory=BoundSettings, description="Each end user of a tenant.")
    tenants: BoundSettings = Field(default_factory=BoundSettings, description="Each tenant.")
    models: dict[str, BoundSettings] = Field(default_factory=dict, description="By model; `*` for all others.")
    store: Store = Field(
        "auto", description="auto: local for one worker, shared for several, redis if there is an address."
    )
    redis_url: SecretStr | None = Field(None, description="Valkey or Redis, for several machines: redis://HOST:6379/0.")
    if_unreachable: Literal["refuse", "admit"] = Field(
        "refuse", description="What is done with requests that have limits while Redis cannot be reached."
    )
    subjects: int = Field(100_000, ge=1000, le=10_000_000, description="Keys, users and so on counted at once.")
    typical_answer: int = Field(4096, ge=1, description="Tokens assumed for an answer that nobody bounds.")

    @model_validator(mode="after")
    def _redis_has_an_address(self) -> Self:
        if self.store == "redis" and self.redis_url is None:
            raise ValueError("`store: redis` needs `redis_url`")
        return self


def bound_of(subject: str, settings: BoundSettings) -> Bound | None:
    """The bound that settings say; None if they say nothing."""
    rate = Rate(settings.requests_per_minute or 0, settings.tokens_per_minute or 0, settings.streams or 0)
    budgets = tuple(Budget(nano(one.usd), one.period, one.hard) for one in settings.budgets)
    return Bound(subject, rate, budgets) if rate != Rate() or budgets else None
