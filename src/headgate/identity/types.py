"""Who may ask: tenants and keys as values, what may be said of them in settings and in calls, and the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    StringConstraints,
    model_validator,
)

from headgate.core.bounds import Bound, Budget, Period, Rate
from headgate.core.money import nano
from headgate.core.principal import DEFAULT_TENANT, Injected

_ID = r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=_PRINTABLE)]
Scope = Annotated[
    str, StringConstraints(max_length=300, pattern=r"^(\*|[a-z_]+):(\*|[a-z_]+)(:(\*|[A-Za-z0-9._@+-]+))?$")
]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_PRINTABLE)]
TenantId = Annotated[str, StringConstraints(max_length=128, pattern=_ID)]
UserId = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_PRINTABLE)]
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}[smhdw]$")]
Environment = Annotated[str, StringConstraints(max_length=32, pattern=r"^([a-z][a-z0-9_-]*)?$")]
"""What a key or a tenant is for; the known ones are ENVIRONMENTS."""
ENVIRONMENTS = ("dev", "eval", "prod")
NO_RATE = Rate()
State = Literal["active", "blocked", "expired", "revoked"]


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
    require_user: bool = Field(
        False, description="Refuse calls that do not name their end user in `X-User-Id`, unless the key belongs to one."
    )


class ModelAccess(BaseModel):
    """Which models may be used: names or groups of models, in which `*` stands for any text."""

    model_config = ConfigDict(extra="forbid")

    allow: list[Pattern] = Field(default_factory=list, max_length=1000, description="Only these; all, if empty.")
    deny: list[Pattern] = Field(default_factory=list, max_length=1000, description="None of these, even if allowed.")


class RateLimits(BaseModel):
    """How much may be asked."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: int | None = Field(None, ge=1, le=10**12, description="Calls in any minute.")
    tokens_per_minute: int | None = Field(None, ge=1, le=10**12, description="Tokens of prompts and answers.")
    streams: int | None = Field(None, ge=1, le=10**9, description="Streams at once.")

    @property
    def rate(self) -> Rate:
        return Rate(self.requests_per_minute or 0, self.tokens_per_minute or 0, self.streams or 0)


class SpendingLimit(BaseModel):
    """What may be spent in a period."""

    model_config = ConfigDict(extra="forbid")

    usd: Decimal = Field(ge=0, le=10**9, description="USD per period.")
    period: Period = Field("total", description="day, week or month of the calendar in UTC, or total.")
    hard: bool = Field(True, description="Whether to refuse what goes beyond, or only to tell.")

    @property
    def budget(self) -> Budget:
        return Budget(nano(self.usd), self.period, self.hard)


Budgets = Annotated[list[SpendingLimit], Field(max_length=16)]


class InjectTools(BaseModel):
    """In the metadata of a key or a tenant, as `inject_tools`: plain models that get tools of the gateway."""

    model_config = ConfigDict(extra="forbid")

    models: list[Pattern] = Field(default_factory=list, max_length=100)
    tools: list[Pattern] = Field(default_factory=lambda: ["*"], max_length=100)


def _with_good_tools(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    if metadata is not None and metadata.get(INJECT) is not None:
        try:
            InjectTools.model_validate(metadata[INJECT])
        except ValueError:
            raise ValueError(f"{INJECT} must hold `models` and `tools`, lists of names or patterns") from None
    return metadata


INJECT = "inject_tools"
Metadata = Annotated[dict[str, Any], AfterValidator(_with_good_tools)]


def injected(metadata: Mapping[str, Any]) -> Injected | None:
    """What metadata says of tools for plain models; None if nothing that can be read."""
    said = metadata.get(INJECT)
    if said is None:
        return None
    try:
        read = InjectTools.model_validate(said)
    except ValueError:
        return None
    return Injected(tuple(read.models), tuple(read.tools))


class TenantChange(BaseModel):
    """What may be set of a tenant; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=256, pattern=_PRINTABLE, description="A name for people.")
    models: ModelAccess | None = Field(None, description="Models that its keys may use.")
    rate: RateLimits | None = Field(None, description="How much its keys may ask together.")
    budgets: Budgets | None = Field(None, description="What its keys may spend together.")
    environment: Environment | None = Field(None, description="What it is for: dev, eval, prod or another.")
    metadata: Metadata | None = Field(None, description="Anything else; kept and shown.")


class NewTenant(TenantChange):
    """A tenant to make."""

    id: TenantId


class TenantSettings(BaseModel):
    """A tenant of the configuration file, such as an environment or a team."""

    model_config = ConfigDict(extra="forbid")

    id: TenantId = Field(description="Its name in calls, in the ledger and in scopes.")
    name: str = Field("", max_length=256, pattern=_PRINTABLE, description="A name for people.")
    models: ModelAccess = Field(default_factory=ModelAccess)
    rate: RateLimits = Field(default_factory=RateLimits)
    budgets: Budgets = Field(default_factory=list, description="What its keys may spend together.")
    environment: Environment = Field("", description="What it is for: dev, eval, prod or another; see keys.")
    settings: dict[str, JsonValue] = Field(
        default_factory=dict, description="Settings of the tenant by their keys; see docs/settings.md."
    )
    keys: list[SecretStr] = Field(default_factory=list, description="Keys that may call models, as `${VARIABLE}`.")
    metadata: Metadata = Field(default_factory=dict, description="Anything else, such as `inject_tools`.")


class KeyChange(BaseModel):
    """What may be set of a key; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    alias: str | None = Field(None, max_length=256, pattern=_PRINTABLE, description="A name, unique in its tenant.")
    user: str | None = Field(None, max_length=256, pattern=_PRINTABLE, description="The user it belongs to.")
    scopes: list[Scope] | None = Field(None, max_length=100, description="Rights beyond calling models.")
    models: ModelAccess | None = Field(None, description="Models it may use.")
    rate: RateLimits | None = Field(None, description="How much it may ask.")
    budgets: Budgets | None = Field(None, description="What it may spend.")
    environment: Environment | None = Field(None, description="What it is for: dev, eval, prod or another.")
    tags: list[Tag] | None = Field(None, max_length=50, description="Put on every request it makes.")
    metadata: Metadata | None = Field(None, description="Anything else; kept and shown.")
    expires_at: AwareDatetime | None = Field(None, description="When it ends; null for never.")
    expires_in: Duration | None = Field(None, description="How long from now until it ends, such as 30d.")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.expires_at is not None and self.expires_in is not None:
            raise ValueError("expires_at and expires_in exclude each other")
        return self

    def end(self, now: float) -> float:
        """Seconds since the epoch, 0.0 for never."""
        if self.expires_in is not None:
            return now + seconds_of(self.expires_in)
        return self.expires_at.timestamp() if self.expires_at else 0.0


class NewKey(KeyChange):
    """A key to make."""

    tenant: TenantId = DEFAULT_TENANT


class UserChange(BaseModel):
    """What may be set of a user; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    alias: str | None = Field(None, max_length=256, pattern=_PRINTABLE, description="A name for people.")
    email: str | None = Field(None, max_length=256, pattern=_PRINTABLE, description="An address; kept and shown.")
    models: ModelAccess | None = Field(None, description="Models that may be used on its behalf.")
    rate: RateLimits | None = Field(None, description="How much may be asked on its behalf.")
    budgets: Budgets | None = Field(None, description="What may be spent on its behalf.")
    metadata: dict[str, Any] | None = Field(None, description="Anything else; kept and shown.")


class NewUser(UserChange):
    """A user to make."""

    id: UserId
    tenant: TenantId = DEFAULT_TENANT


def seconds_of(duration: str) -> int:
    """A duration such as 90s, 30m, 12h, 30d or 4w."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def iso(instant: float) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC; None for 0.0, which is never."""
    if not instant:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=instant)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key or a tenant may do. `allow` and `deny` are patterns of model names; an empty `allow` allows all."""

    scopes: frozenset[str] = frozenset()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    rate: Rate = NO_RATE
    budgets: tuple[Budget, ...] = ()
    environment: str = ""


PLAIN = Rights()


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose keys they are. `configured`: it stands in the configuration file and is changed there only."""

    id: str
    name: str = ""
    rights: Rights = PLAIN
    metadata: dict[str, Any] = field(default_factory=dict)
    blocked: bool = False
    configured: bool = False
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class User:
    """An end user of a tenant who has something of its own: a name, limits, or a lock. Others need not be known."""

    tenant: str
    id: str
    alias: str = ""
    email: str = ""
    rights: Rights = PLAIN
    metadata: dict[str, Any] = field(default_factory=dict)
    blocked: bool = False
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is kept: by keyed hashes, never as text. Instants are seconds since the epoch, 0.0 for never.

    `previous` is the hash from before the last rotation, good until `previous_until`.
    """

    id: str
    digest: bytes = field(repr=False)
    tenant: str = DEFAULT_TENANT
    user: str = ""
    alias: str = ""
    rights: Rights = PLAIN
    metadata: dict[str, Any] = field(default_factory=dict)
    expires_at: float = 0.0
    blocked: bool = False
    revoked_at: float = 0.0
    created_by: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    rotated_at: float = 0.0
    previous: bytes | None = field(default=None, repr=False)
    previous_until: float = 0.0

    def state(self, now: float) -> State:
        if self.revoked_at:
            return "revoked"
        if self.blocked:
            return "blocked"
        return "expired" if self.expires_at and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class KeyInForce:
    """The part of a key that decides who may come in. `is_gone`: nobody with this one."""

    id: str
    digest: bytes
    tenant: str
    user: str = ""
    alias: str = ""
    rights: Rights = PLAIN
    expires_at: float = 0.0
    blocked: bool = False
    is_gone: bool = False
    previous: bytes | None = None
    previous_until: float = 0.0
    inject: Injected | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A part of what changed up to `revision`. Tenants and users come before all keys; an erased one is None.

    Users are those with limits or a lock, by (tenant, id).
    """

    revision: int
    tenants: Mapping[str, Tenant | None] = field(default_factory=dict)
    keys: tuple[KeyInForce, ...] = ()
    users: Mapping[tuple[str, str], User | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allowance:
    """Limits for subjects that have none of their own."""

    rate: Rate = NO_RATE
    budgets: tuple[Budget, ...] = ()


@dataclass(frozen=True, slots=True)
class Defaults:
    """Limits of keys, users and tenants that have none of their own."""

    key: Allowance = Allowance()
    user: Allowance = Allowance()
    tenant: Allowance = Allowance()
    everyone: tuple[Bound, ...] = ()
    """What all keys share."""


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """Which keys to list. `tenants` are those that the asker may see, None for all; `after` is the last id seen."""

    tenants: frozenset[str] | None = None
    tenant: str | None = None
    user: str | None = None
    alias: str | None = None
    state: State | None = None
    after: str = ""
    skip: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Which users to list. `tenants` are those that the asker may see, None for all; empty `ids` are any."""

    tenants: frozenset[str] | None = None
    tenant: str | None = None
    ids: tuple[str, ...] = ()
    email: str | None = None
    skip: int = 0
    limit: int = 100


def configured_tenants(settings: Sequence[TenantSettings]) -> dict[str, Tenant]:
    """The tenants of the configuration file by id."""
    return {
        one.id: Tenant(
            one.id,
            one.name,
            Rights(
                allow=tuple(one.models.allow),
                deny=tuple(one.models.deny),
                rate=one.rate.rate,
                budgets=tuple(limit.budget for limit in one.budgets),
                environment=one.environment,
            ),
            metadata=one.metadata,
            configured=True,
        )
        for one in settings
    }


def with_changes(rights: Rights, change: KeyChange | TenantChange | UserChange) -> Rights:
    """The rights after a change: each field that was given replaces what was there, null by nothing.

    Of models and rates, what is left out stays, so that nobody allows everything by denying one thing more.
    """
    given = change.model_fields_set
    scopes, tags = rights.scopes, rights.tags
    if isinstance(change, KeyChange):
        scopes = frozenset(change.scopes or ()) if "scopes" in given else scopes
        tags = tuple(change.tags or ()) if "tags" in given else tags
    allow, deny, rate = rights.allow, rights.deny, rights.rate
    if "models" in given:
        models = change.models or _ALL_MODELS
        allow = tuple(models.allow) if "allow" in models.model_fields_set else allow
        deny = tuple(models.deny) if "deny" in models.model_fields_set else deny
    if "rate" in given:
        limits = change.rate or _NO_LIMITS
        named = {name: getattr(limits, name) or 0 for name in limits.model_fields_set}
        rate = replace(rate, **named)
    budgets = tuple(one.budget for one in change.budgets or ()) if "budgets" in given else rights.budgets
    environment = rights.environment
    if not isinstance(change, UserChange) and "environment" in given:
        environment = change.environment or ""
    return Rights(scopes, allow, deny, tags, rate, budgets, environment)


_ALL_MODELS = ModelAccess(allow=[], deny=[])
_NO_LIMITS = RateLimits(requests_per_minute=None, tokens_per_minute=None, streams=None)
