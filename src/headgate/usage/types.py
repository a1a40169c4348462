"""What a call cost, as values: the ledger's entries, what reports say, and the settings section."""

from decimal import Decimal
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from headgate.core.money import Price
from headgate.core.tokens import Tokens

Measure = Literal["reported", "counted", "estimated"]
"""By the provider, by us with its tokenizer, or guessed from sizes."""
Outcome = Literal["ok", "error", "disconnected", "cancelled"]
Unwritten = Literal["refuse_budgeted", "refuse", "admit"]


class UsageSettings(BaseModel):
    """What is charged for what was spent."""

    model_config = ConfigDict(extra="forbid")

    markup: Decimal = Field(Decimal(1), ge=0, description="What is billed is the cost times this.")
    eur_per_usd: Decimal | None = Field(None, gt=0, description="Also show amounts in EUR, at this rate.")
    refuse_unpriced: bool = Field(False, description="Refuse calls of models whose price is not known.")
    if_unwritable: Unwritten = Field(
        "refuse_budgeted",
        description="Which calls are refused while what they cost cannot be written: those under hard budgets "
        "(refuse_budgeted), all (refuse) or none (admit).",
    )
    most_lag: float | None = Field(
        None,
        gt=0,
        description="Seconds that the ledger may wait for its database before that counts as not written. Without "
        "it, entries wait on disk for as long as it takes.",
    )


class Entry(NamedTuple):
    """One attempt, as the ledger keeps it: one row, flat, so that it is written without any conversion.

    `id` is unique without the run's, which the caller may have chosen. `run` and `parent` are run ids, `attempt` counts
    from 1, `final` is 1 for the last attempt of its run. `model` was asked for, `answered` is the model that was tried,
    `target` and `upstream` where, `provider_model` the provider's name for it. `tags` is a JSON array.
    Times are whole milliseconds: `started_at` since the epoch, `queued` from the run's start to the attempt's, the
    others from the attempt's start, None for what never came. `cost` is nano-USD, None where no price is known; the
    price is nano-USD per million tokens, as in core.money.Price. `bound`: by how many tokens an estimate may be off.
    `billed` is 0 for copies that the caller knows nothing of. `decision` is JSON, see pipeline/decision.py; it stands
    at the final attempt, and is empty where there was nothing to decide.
    """

    id: str
    run: str
    parent: str
    attempt: int
    final: int
    key: str
    tenant: str
    user: str
    model: str
    answered: str
    target: str
    upstream: str
    provider_model: str
    component: str
    route: str
    tags: str
    started_at: int
    queued: int
    first_byte: int | None
    first_token: int | None
    total: int
    prompt: int
    completion: int
    cached: int
    reasoning: int
    cache_write: int
    prompt_audio: int
    completion_audio: int
    prompt_image: int
    completion_image: int
    cost: int | None
    price_input: int | None
    price_output: int | None
    price_cached_input: int | None
    price_cache_write: int | None
    price_request: int | None
    measure: Measure
    bound: int
    outcome: Outcome
    error: str
    billed: int
    decision: str = ""
    price_audio_input: int | None = None
    price_audio_output: int | None = None
    price_image_input: int | None = None
    price_image_output: int | None = None

    @property
    def tokens(self) -> Tokens:
        return Tokens(
            self.prompt,
            self.completion,
            self.cached,
            self.reasoning,
            self.cache_write,
            self.prompt_audio,
            self.completion_audio,
            self.prompt_image,
            self.completion_image,
        )

    @property
    def price(self) -> Price | None:
        if self.price_input is None or self.price_output is None:
            return None
        return Price(
            self.price_input,
            self.price_output,
            self.price_cached_input,
            self.price_cache_write,
            self.price_request or 0,
            self.price_audio_input,
            self.price_audio_output,
            self.price_image_input,
            self.price_image_output,
        )


Dimension = Literal["key", "tenant", "user", "model", "target", "component", "tag", "day"]
DIMENSIONS: tuple[Dimension, ...] = ("key", "tenant", "user", "model", "target", "component", "tag", "day")


class Span(NamedTuple):
    """Attempts begun from one moment until before another, in milliseconds since the epoch; None for no bound."""

    since: int | None = None
    until: int | None = None


EVER = Span()


class Filter(NamedTuple):
    """Only attempts with these values; empty for any. `run` is a run's id, `tenants` those that may be seen."""

    key: str = ""
    tenant: str = ""
    user: str = ""
    model: str = ""
    run: str = ""
    tenants: frozenset[str] | None = None


ANY = Filter()


class Totals(NamedTuple):
    """Sums over attempts. `name` is the key, user, day or whatever they were summed by.

    `requests` are runs, by their last attempt. `cost` is nano-USD of what has a price, `chargeable` the part of it that
    is the caller's to pay, `unpriced` the number of attempts whose price is not known. The `estimated` attempts may be
    off by `bound` tokens together.
    """

    name: str
    requests: int = 0
    attempts: int = 0
    failed: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0
    cost: int = 0
    chargeable: int = 0
    unpriced: int = 0
    estimated: int = 0
    bound: int = 0
    apart: tuple[int, ...] = ()
    """Chargeable nano-USD of tenants with a markup of their own, for each such markup."""


class RunQuery(NamedTuple):
    """Which runs; empty for any. `model` was asked for or answered.

    `tenants` are those whose runs may be seen, beside those of the key `own`; None for all. `since` and `until` are
    milliseconds since the epoch. `after` is the id of a run's last entry: only older runs.
    """

    id: str = ""
    parent: str = ""
    model: str = ""
    key: str = ""
    user: str = ""
    tenant: str = ""
    tenants: tuple[str, ...] | None = None
    own: str = ""
    since: int | None = None
    until: int | None = None
    after: str = ""


def started_in(place: str) -> int:
    """When the attempt of an entry began, in milliseconds since the epoch, by the entry's id. Raises ValueError."""
    return int(place[:_DIGITS_OF_TIME], 16)


def span_in(place: str) -> str:
    """What tells runs apart that share an id, by the id of any of their entries."""
    return place[_DIGITS_OF_TIME:_END_OF_SPAN]


_DIGITS_OF_TIME = 12
_END_OF_SPAN = _DIGITS_OF_TIME + 17
"""Behind sixteen digits stands a mark for copies."""
