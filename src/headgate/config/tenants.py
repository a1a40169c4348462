"""Every setting that a tenant can have, one row each, and what their values mean for requests.

A new setting is a row here. Where it acts, it is read from the `terms` of whoever asks: by its field there, or by its
key from their `values`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, JsonValue

from headgate.config.tree import Settings
from headgate.conversations.policy import MODES, Mode
from headgate.core.bounds import Budget, Rate
from headgate.core.money import nano
from headgate.core.terms import NO_TERMS, Parameters, Terms
from headgate.identity.types import Budgets, Environment, Pattern, Tag, Tenant
from headgate.routing.types import Effort
from headgate.settings.cascade import Cascade, Registry
from headgate.settings.narrow import BUDGETS, HIGHER, LOWER, STRICTER, not_after
from headgate.settings.types import AT_RUN_TIME, BY_OPERATOR, BY_TENANT, FIXED, IN_FILE, Setting, Standing

_Count = Annotated[int, Field(strict=True, ge=1, le=10**12)]
_Flag = Annotated[bool, Field(strict=True)]
_Patterns = Annotated[list[Pattern], Field(max_length=1000)]
_RATE = ("requests_per_minute", "tokens_per_minute", "streams")

LESSER = not_after(MODES)

REGISTRY = Registry(
    [
        Setting(
            "reasoning_effort",
            Effort,
            "Sent where neither the caller nor the model asks for an effort; `none` sends nothing.",
            path="parameters.reasoning_effort",
        ),
        Setting(
            "drop_unsupported",
            _Flag,
            "Whether fields that a model does not take are left out.",
            default=False,
            path="parameters.drop_unsupported",
        ),
        Setting(
            "defaults",
            Annotated[dict[Annotated[str, Field(max_length=128)], JsonValue], Field(max_length=50)],
            "Fields sent where the caller sends none, as an object.",
            default={},
            path="parameters.defaults",
        ),
        Setting(
            "retries",
            Annotated[int, Field(strict=True, ge=0, le=10)],
            "Further tries per target, 0 to 10, of models that say nothing themselves.",
            default=2,
            path="routing.retries",
            ceiling="routing.overrides.retries",
        ),
        Setting(
            "timeout",
            Annotated[float, Field(gt=0, le=86_400)],
            "Seconds until an answer begins, all tries together.",
            path="routing.timeout",
            narrowing=LOWER,
        ),
        Setting(
            "tags",
            Annotated[list[Tag], Field(max_length=20)],
            "Put on every request, for reports.",
            default=[],
            levels=BY_TENANT,
        ),
        Setting(
            "require_user",
            _Flag,
            "Whether every call has to name its end user in the header X-User-Id.",
            default=False,
            path="auth.require_user",
            narrowing=STRICTER,
        ),
        Setting(
            "refuse_unpriced",
            _Flag,
            "Whether calls of models are refused whose price is not known.",
            default=False,
            path="usage.refuse_unpriced",
            narrowing=STRICTER,
        ),
        Setting(
            "typical_answer",
            Annotated[int, Field(strict=True, ge=1, le=10_000_000)],
            "Tokens reserved for an answer that nobody bounds.",
            default=4096,
            path="limits.typical_answer",
            narrowing=HIGHER,
        ),
        Setting(
            "requests_per_minute",
            _Count,
            "Calls of all keys of the tenant in any minute.",
            path="limits.tenants.requests_per_minute",
            of_record=True,
            narrowing=LOWER,
        ),
        Setting(
            "tokens_per_minute",
            _Count,
            "Tokens of prompts and answers of all keys of the tenant in any minute.",
            path="limits.tenants.tokens_per_minute",
            of_record=True,
            narrowing=LOWER,
        ),
        Setting(
            "streams",
            Annotated[int, Field(strict=True, ge=1, le=10**9)],
            "Streams at once of all keys of the tenant.",
            path="limits.tenants.streams",
            of_record=True,
            narrowing=LOWER,
        ),
        Setting(
            "budgets",
            Budgets,
            "What all keys of the tenant may spend: a list of `usd`, `period` and `hard`; those above hold too.",
            default=[],
            path="limits.tenants.budgets",
            of_record=True,
            narrowing=BUDGETS,
        ),
        Setting(
            "models.only",
            _Patterns,
            "Only these models, within those that are allowed; `*` stands for any text, an empty list for all.",
            default=[],
            levels=AT_RUN_TIME,
        ),
        Setting(
            "models.except",
            _Patterns,
            "None of these models, besides those that are denied.",
            default=[],
            levels=AT_RUN_TIME,
        ),
        Setting(
            "compaction.mode",
            Mode,
            "What may become of stored conversations that grow too long: none, trim or compact.",
            "compact",
            BY_TENANT,
            narrowing=LESSER,
        ),
        Setting(
            "compaction.at",
            Annotated[float, Field(gt=0, le=1)],
            "Share of a model's room at which a conversation is compacted at the latest.",
            1.0,
            BY_TENANT,
            narrowing=LOWER,
        ),
        Setting("models.allow", _Patterns, "Models that may be used; all, if empty.", [], IN_FILE, of_record=True),
        Setting("models.deny", _Patterns, "Models that may not be used.", [], IN_FILE, of_record=True),
        Setting(
            "markup",
            Annotated[Decimal, Field(ge=0, le=10**6)],
            "What is billed is the cost times this.",
            "1",
            BY_OPERATOR,
            "usage.markup",
        ),
        Setting(
            "log_requests",
            _Flag,
            "Whether the tenant's requests are logged, a line each, without prompt text.",
            True,
            BY_OPERATOR,
            "logging.requests",
        ),
        Setting(
            "environment",
            Environment,
            "What the tenant is for: dev, eval, prod or another.",
            "",
            IN_FILE,
            of_record=True,
        ),
        Setting("user_header", str, "The header that names the end user.", "X-User-Id", FIXED),
    ]
)


def cascade_of(tree: Settings) -> Cascade:
    """The cascade over a tree of settings; raises StartupError for values of the file that cannot be."""
    rows = REGISTRY.settings.values()
    process = {one.key: value for one in rows if one.path and (value := _set_at(tree, one.path)) is not None}
    ceilings = {one.key: _at(tree, one.ceiling) for one in rows if one.ceiling}
    return Cascade(REGISTRY, terms_of, process, {one.id: one.settings for one in tree.tenants}, ceilings)


def standing_of(tenant: Tenant) -> Standing:
    """What a tenant's own record says, by the keys of the settings."""
    rights, values = tenant.rights, dict[str, Any]()
    if rights.rate != Rate():  # all three or none: where a tenant has a rate of its own, the common one does not hold
        values |= {name: getattr(rights.rate, name) or None for name in _RATE}
    if rights.budgets:
        values["budgets"] = [_budget(one) for one in rights.budgets]
    lists = {"models.allow": rights.allow, "models.deny": rights.deny}
    values |= {key: list(patterns) for key, patterns in lists.items() if patterns}
    if rights.environment:
        values["environment"] = rights.environment
    return Standing("yaml" if tenant.configured else "operator", values)


def terms_of(values: Mapping[str, Any], own: Mapping[str, Any]) -> Terms:
    """Settings as what requests are served by. `own` are the tenant's, which meet those of its record elsewhere."""
    if not (values or own):
        return NO_TERMS
    said = {key: value for key, value in own.items() if REGISTRY.settings[key].of_record}
    parameters = None
    if {"reasoning_effort", "drop_unsupported", "defaults"} & values.keys():
        parameters = Parameters(*(values.get(key) for key in ("reasoning_effort", "drop_unsupported", "defaults")))
    return Terms(
        requires_user=values.get("require_user"),
        refuses_unpriced=values.get("refuse_unpriced"),
        typical_answer=values.get("typical_answer", 0),
        retries=values.get("retries"),
        timeout=values.get("timeout", 0.0),
        is_logged=values.get("log_requests"),
        tags=tuple(values.get("tags", ())),
        allow=tuple(values.get("models.only", ())),
        deny=tuple(values.get("models.except", ())),
        rate=Rate(*(said.get(name) or 0 for name in _RATE)),
        budgets=tuple(
            Budget(nano(Decimal(str(one["usd"]))), one["period"], one["hard"]) for one in said.get("budgets", ())
        ),
        parameters=parameters,
        values=values,
    )


def markups_of(cascade: Cascade) -> dict[str, Decimal]:
    """Factors of tenants that have one of their own."""
    return {tenant: Decimal(value) for tenant, value in cascade.file_values("markup").items()}


def _at(tree: Settings, path: str) -> Any:
    here: Any = tree
    for part in path.split("."):
        here = getattr(here, part)
    return here


def _set_at(tree: Settings, path: str) -> Any:
    """What somebody set there, as JSON data; None for a default."""
    section, _, name = path.rpartition(".")
    model = _at(tree, section)
    return model.model_dump(mode="json")[name] if name in model.model_fields_set else None


def _budget(one: Budget) -> dict[str, Any]:
    return {"usd": f"{Decimal(one.nano_usd) / 10**9:f}", "period": one.period, "hard": one.hard}
