"""Models, their targets and how one is chosen: as set in the configuration and as used at run time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from headgate.core.bounds import Bound
from headgate.core.money import Price, dearest
from headgate.core.terms import Parameters

_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Balance = Literal["ordered", "weighted", "least_busy", "latency", "cost", "usage"]
Affinity = Literal["none", "session", "prefix"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
Mode = Literal[
    "chat",
    "completion",
    "embedding",
    "image_generation",
    "audio_transcription",
    "audio_speech",
    "moderation",
    "rerank",
    "responses",
    "batch",
    "realtime",
    "ocr",
]


class PriceSettings(BaseModel):
    """Prices in USD per million tokens. Without them the packaged price list is asked."""

    model_config = ConfigDict(extra="forbid")

    input: Decimal = Field(Decimal(0), ge=0, description="A million tokens of the prompt.")
    output: Decimal = Field(Decimal(0), ge=0, description="A million tokens of the answer.")
    cached_input: Decimal | None = Field(None, ge=0, description="A million prompt tokens read from a cache.")
    cache_write: Decimal | None = Field(None, ge=0, description="A million prompt tokens written to a cache.")
    request: Decimal = Field(Decimal(0), ge=0, description="Each call, whatever its size.")
    audio_input: Decimal | None = Field(None, ge=0, description="A million prompt tokens of sound, if others.")
    audio_output: Decimal | None = Field(None, ge=0, description="A million answer tokens of sound, if others.")
    image_input: Decimal | None = Field(None, ge=0, description="A million prompt tokens of pictures, if others.")
    image_output: Decimal | None = Field(None, ge=0, description="A million answer tokens of pictures, if others.")
    further: dict[str, Decimal] = Field(
        default_factory=dict, description="Prices of other units in USD each, such as `image` or `second_of_audio`."
    )


class BudgetSettings(BaseModel):
    """What may be spent in a period."""

    model_config = ConfigDict(extra="forbid")

    usd: Decimal = Field(ge=0, description="USD per period.")
    every: str = Field("30d", pattern=r"^\d+(s|m|h|d|w|mo)$", description="The period: 30s, 30m, 1h, 7d, 4w or 1mo.")


class TargetLimitSettings(BaseModel):
    """What one target may be given. A target at its limit is passed over."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: int | None = Field(None, ge=1, description="Calls in any minute.")
    tokens_per_minute: int | None = Field(None, ge=1, description="Tokens of prompts and answers in any minute.")
    in_flight: int | None = Field(None, ge=1, description="Calls at once.")


class ParameterSettings(BaseModel):
    """What is done to the fields of a request. A target's settings win over its model's, and those over the top's."""

    model_config = ConfigDict(extra="forbid")

    defaults: dict[str, JsonValue] = Field(default_factory=dict, description="Fields sent where the caller sends none.")
    reasoning_effort: Effort | None = Field(
        None, description="Sent where the caller asks for no effort; `none` sends nothing."
    )
    drop_unsupported: bool | None = Field(
        None, description="Leave out fields the model does not take, and say so; else they are passed on."
    )
    drop: list[str] = Field(default_factory=list, description="Fields that are never passed on.")
    unsupported: list[str] | None = Field(
        None, description="Fields the model does not take, where the packaged list is wrong or silent."
    )


class TargetSettings(BaseModel):
    """One place where a model's calls may go."""

    model_config = ConfigDict(extra="forbid")

    upstream: str = Field(description="Name of an upstream.")
    model: str = Field(
        pattern=_PRINTABLE, description="The provider's own id; `*` stands for what the model's `*` matched."
    )
    id: str | None = Field(None, pattern=_PRINTABLE, description="A name for this target in headers and listings.")
    order: int | None = Field(None, description="Lower ones are tried first; targets of one order are balanced.")
    weight: float | None = Field(None, ge=0, description="Share of the calls with `balance: weighted`; 1 if not set.")
    tags: list[str] = Field(default_factory=list, description="Only for requests with one of these tags; see routing.")
    limits: TargetLimitSettings = Field(default_factory=TargetLimitSettings)
    timeout: float | None = Field(None, gt=0, description="Seconds for a whole answer, or until a stream begins.")
    stream_timeout: float | None = Field(None, gt=0, description="Seconds until a stream begins, if others.")
    context_window: int | None = Field(None, ge=1, description="Tokens of prompt and answer together, if others.")
    parameters: ParameterSettings = Field(default_factory=ParameterSettings)
    price: PriceSettings | None = Field(None, description="What tokens cost; else the packaged list is asked.")
    budget: BudgetSettings | None = Field(None, description="What may be spent on it; then it is passed over.")


class ConstraintSettings(BaseModel):
    """What a model cannot do."""

    model_config = ConfigDict(extra="forbid")

    accepts_image_url: bool = Field(True, description="Off: requests with image parts are refused.")
    min_max_tokens: int = Field(0, ge=0, description="A smaller `max_tokens` is raised to this.")
    typical_response_seconds: float | None = Field(None, gt=0, description="Shown in GET /v1/info.")


class CapabilitySettings(BaseModel):
    """What a model can do, for GET /v1/info. What is not set is taken from the packaged list, if it knows the model."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode | None = Field(None, description="The kind of API it answers.")
    family: str | None = Field(None, description="What it descends from, such as `qwen3`.")
    license: str | None = Field(None, description="Under which terms its weights may be used.")
    input: list[str] | None = Field(None, description="Kinds of input: text, image, audio, file.")
    output: list[str] | None = Field(None, description="Kinds of output: text, image, audio, embedding.")
    tools: bool | None = Field(None, description="Whether it calls tools.")
    json_schema: bool | None = Field(None, description="Whether it keeps to a JSON Schema in `response_format`.")
    reasoning: bool | None = Field(None, description="Whether it takes `reasoning_effort`.")
    context_window: int | None = Field(None, ge=1, description="Tokens of prompt and answer together.")
    max_output_tokens: int | None = Field(None, ge=1, description="Tokens of the longest answer.")


class MirrorSettings(BaseModel):
    """A copy of the traffic for another model, whose answers nobody sees."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="Name of the model that gets the copies.")
    share: float = Field(1.0, gt=0, le=1, description="Share of the requests that are copied.")


class ModelCompactionSettings(BaseModel):
    """How conversations with this model are compacted; what is not set is taken from the section `compaction`."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["none", "trim", "compact"] | None = Field(None, description="none, trim or compact.")
    at: float | None = Field(None, gt=0, le=1, description="Share of the room at which it begins.")
    keep_turns: int | None = Field(None, ge=1, le=1000, description="Last turns that stay word by word.")
    user_text_tokens: int | None = Field(None, ge=0, description="Tokens of the user's earlier words that stay.")
    model: str | None = Field(None, description="The model that writes the summary.")
    read_history: bool | None = Field(None, description="Whether the model can read what was covered.")


class ModelSettings(BaseModel):
    """A public name with its targets."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        pattern=_PRINTABLE, max_length=512, description="The name callers use; `*` in it matches any text."
    )
    targets: list[TargetSettings] = Field(min_length=1)
    balance: Balance | None = Field(None, description="How one of several targets is chosen; see routing.")
    affinity: Affinity | None = Field(None, description="What keeps requests on the same target; see routing.")
    retries: int | None = Field(None, ge=0, le=10, description="Further tries per target; see routing.")
    fallbacks: list[str] = Field(default_factory=list, description="Models that answer when no target of this one can.")
    context_window_fallbacks: list[str] = Field(default_factory=list, description="… when the prompt is too long.")
    content_policy_fallbacks: list[str] = Field(
        default_factory=list, description="… when the provider's filter says no."
    )
    mirror: MirrorSettings | None = Field(None, description="A copy of the traffic for another model.")
    hidden: bool = Field(False, description="Callable, but not listed.")
    groups: list[str] = Field(default_factory=list, description="Names under which keys may be given this model.")
    capabilities: CapabilitySettings = Field(default_factory=CapabilitySettings)
    constraints: ConstraintSettings = Field(default_factory=ConstraintSettings)
    parameters: ParameterSettings = Field(default_factory=ParameterSettings)
    price: PriceSettings | None = Field(None, description="What tokens cost; else the packaged list is asked.")
    compaction: ModelCompactionSettings = Field(default_factory=ModelCompactionSettings)
    info: dict[str, Any] = Field(default_factory=dict, description="Further facts, shown in GET /model/info.")


class AliasSettings(BaseModel):
    """Another name for a model."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=_PRINTABLE, max_length=512)
    model: str = Field(description="Name of the model it means.")
    hidden: bool = Field(False, description="Callable, but not listed.")


class CooldownSettings(BaseModel):
    """When a target that fails is left alone. It is then tried last, never not at all."""

    model_config = ConfigDict(extra="forbid")

    failures: int = Field(3, ge=0, description="Failures in a row after which a target rests; 0 for never.")
    failures_by_error: dict[str, int] = Field(
        default_factory=dict, description="Other numbers for single error codes, such as `upstream_timeout: 1`."
    )
    seconds: float = Field(5.0, ge=0, description="The first rest; each further one in a row takes twice as long.")
    longest: float = Field(60.0, ge=0, description="The longest rest, in seconds.")


class ProbeSettings(BaseModel):
    """Asking upstreams how they are when no caller does."""

    model_config = ConfigDict(extra="forbid")

    every: float = Field(0.0, ge=0, description="Seconds between two probes of resting targets' upstreams; 0 for none.")


class OverrideSettings(BaseModel):
    """What callers may decide for their own request, by headers."""

    model_config = ConfigDict(extra="forbid")

    retries: int = Field(5, ge=0, le=10, description="The most further tries a caller may ask for.")
    timeout: float = Field(
        1800.0, ge=0, description="The longest timeout a caller may ask for, in seconds; 0 for none."
    )
    fields: bool = Field(
        False, description="Also take `num_retries`, `timeout`, `fallbacks` and `disable_fallbacks` from the body."
    )


class RoutingSettings(BaseModel):
    """How targets are chosen where a model does not say otherwise, and what happens when one fails."""

    model_config = ConfigDict(extra="forbid")

    provider_budgets: dict[str, BudgetSettings] = Field(
        default_factory=dict, description="What may be spent with a provider; then its targets are passed over."
    )
    balance: Balance = Field(
        "ordered",
        description="ordered: as listed. weighted: at random by `weight`. least_busy: fewest calls in flight. "
        "latency: soonest first byte. cost: lowest price. usage: least of its limits used this minute.",
    )
    affinity: Affinity = Field(
        "none",
        description="session: requests of one session stay on one target. prefix: also those that begin alike, "
        "so that the target's prompt cache serves them.",
    )
    retries: int = Field(
        2, ge=0, le=10, description="Further tries per target, before the first byte was sent, when that may help."
    )
    retries_by_error: dict[str, int] = Field(
        default_factory=dict, description="Other numbers for single error codes, such as `upstream_rate_limited: 4`."
    )
    first_pause: float = Field(0.25, ge=0, description="Seconds before the second try of a target; doubled each time.")
    timeout: float | None = Field(None, gt=0, description="Seconds until an answer begins, all tries together.")
    fallbacks: list[str] = Field(
        default_factory=list, description="Models that answer for any model without fallbacks of its own."
    )
    max_fallbacks: int = Field(5, ge=0, description="The most fallback models tried for one request.")
    cooldown: CooldownSettings = Field(default_factory=CooldownSettings)
    probes: ProbeSettings = Field(default_factory=ProbeSettings)
    tags: bool = Field(False, description="Whether the tags of requests and targets have to meet.")
    enforce_limits: bool = Field(True, description="Refuse when all targets are at their limits; else use one anyway.")
    check_context: bool = Field(False, description="Pass over targets whose context window is too small for a prompt.")
    overrides: OverrideSettings = Field(default_factory=OverrideSettings)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one target, 0 for none."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    in_flight: int = 0
    bounds: tuple[float, float, float] = field(init=False, repr=False, compare=False)
    """Calls in flight, requests and tokens that are too many, infinite where there is no bound."""

    def __post_init__(self) -> None:
        bounds = (self.in_flight or inf, self.requests_per_minute or inf, self.tokens_per_minute or inf)
        object.__setattr__(self, "bounds", bounds)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is done to the fields of a request for one target.

    `no_none`: a caller's `reasoning_effort: none` is met by sending no effort.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    effort: str | None = None
    drop: frozenset[str] = frozenset()
    unsupported: frozenset[str] = frozenset()
    drop_unsupported: bool = False
    floor: int = 0
    no_none: bool = False

    @property
    def usual_answer(self) -> int:
        """Tokens that an answer may have whose caller set no bound; 0 if nothing is set."""
        told = (self.defaults.get("max_tokens"), self.defaults.get("max_completion_tokens"))
        return max((most for most in told if type(most) is int), default=0)

    @property
    def idle(self) -> bool:
        """Whether requests pass as they are."""
        return not (self.defaults or self.effort or self.drop or self.floor or self.no_none) and not (
            self.drop_unsupported and self.unsupported
        )


AS_IT_IS = Rules()


class Layers(Protocol):
    """A target's rules under the parameters of a tenant."""

    def under(self, parameters: Parameters) -> Rules | None:
        """The rules; None when requests pass as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """`upstream` is an upstream's name, `model` the provider's id.

    `key` names its health, load and limits; targets made from one pattern share a key, for callers invent their ids.
    `context` is tokens of prompt and answer, 0 if unknown. Timeouts in seconds, 0.0 for the upstream's own.
    """

    upstream: str
    model: str
    name: str = ""
    key: str = ""
    order: int = 0
    weight: float = 1.0
    tags: frozenset[str] = frozenset()
    limits: Limits | None = None
    timeout: float = 0.0
    stream_timeout: float = 0.0
    context: int = 0
    longest: int = 0
    """Tokens of the longest answer that it gives; 0 if unknown."""
    price: Price | None = None
    """As configured; None where the list's counts."""
    list_price: Price | None = None
    """The list's for short prompts, where the price decides."""
    rules: Rules | None = None
    layers: "Layers | None" = None
    """What the rules were made of, to make those of a tenant with parameters of its own."""

    def __post_init__(self) -> None:
        name = self.name or f"{self.upstream}/{self.model}"
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "key", self.key or name)


@dataclass(frozen=True, slots=True)
class Mirror:
    """`share` of the requests go to `model` as well."""

    model: str
    share: float


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """Names of models to turn to, by what went wrong."""

    any: tuple[str, ...] = ()
    context_window: tuple[str, ...] = ()
    content_policy: tuple[str, ...] = ()


NO_FALLBACKS = Fallbacks()


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A public model. `label` names it in metrics; found models share their upstream's label."""

    name: str
    targets: tuple[Target, ...]
    balance: Balance = "ordered"
    affinity: Affinity = "none"
    retries: int = 2
    fallbacks: Fallbacks = NO_FALLBACKS
    mirror: Mirror | None = None
    hidden: bool = False
    accepts_image_url: bool = True
    owned_by: str = "headgate"
    label: str = ""
    bounds: tuple[Bound, ...] = ()
    """What all callers together may ask of it."""
    settings: ModelSettings | None = None
    """As configured, for listings; None for found models."""
    dearest: Price | None = field(init=False)
    """A price below none of its targets'; None where one has none of its own, and the list's counts."""

    def __post_init__(self) -> None:
        own = [target.price for target in self.targets if target.price is not None]
        object.__setattr__(self, "dearest", dearest(own) if len(own) == len(self.targets) else None)

    @property
    def known_as(self) -> tuple[str, ...]:
        """The names by which keys may be given or denied it, besides the one asked for: its own, and its groups."""
        return (self.name, self.settings.name, *self.settings.groups) if self.settings else (self.name,)
