"""LiteLLM's budgets and default limits of the whole proxy, of users and of keys, as our `limits`."""

from headgate.config.draft import Path_
from headgate.config.litellm.providers import ROWS
from headgate.config.litellm.translation import Field, Handler, Translation

PERIODS = {
    "1d": "day",
    "24h": "day",
    "7d": "week",
    "1w": "week",
    "30d": "month",
    "31d": "month",
    "1mo": "month",
}
"""Lengths that LiteLLM resets with the calendar as well: at midnight, on Monday, on the first, in UTC."""
_RATES = {"rpm_limit": "requests_per_minute", "tpm_limit": "tokens_per_minute", "max_parallel_requests": "streams"}
_OTHER_LENGTH = "Budgets hold for a day, a week or a month of the calendar, or in total: write 1d, 7d or 30d."
_ONE_KIND = "Every user of a tenant; internal and end users are one kind here."
_NO_OWN = "Every key without limits of its own, also those made before."
_STREAMS = "Counts streams at once."
_AT_KEY = "Give it with each key."
_ON_END = "Holds for any such time on end, by the ledger; LiteLLM starts anew at each of its ends."
_OF_PROVIDER = {"budget_limit": "usd", "max_budget": "usd", "time_period": "every", "budget_duration": "every"}


def handlers(to: Translation, section: Field) -> dict[str, Handler]:
    """Those of `litellm_settings`."""
    users = section.get("internal_user_budget_duration")
    return {
        "max_budget": lambda field: _budget(to, "gateway", field, section.get("budget_duration")),
        "budget_duration": lambda field: _beside(to, field, section, "max_budget"),
        "max_internal_user_budget": lambda field: _budget(to, "users", field, users, _ONE_KIND),
        "internal_user_budget_duration": lambda field: _beside(to, field, section, "max_internal_user_budget"),
        "max_end_user_budget": lambda field: _of_end_users(to, field, section),
        "default_key_generate_params": lambda field: _of_keys(to, field),
    }


def _of_end_users(to: Translation, field: Field, section: Field) -> None:
    if section.get("max_internal_user_budget") is not None:
        to.unsupported(field, "Not used: `max_internal_user_budget` holds for every user.")
    else:
        _budget(to, "users", field, None, _ONE_KIND)


def _of_keys(to: Translation, section: Field) -> None:
    if not to.is_mapping(section):
        return
    take: dict[str, Handler] = {
        "max_budget": lambda field: _budget(to, "keys", field, section.get("budget_duration"), _NO_OWN),
        "budget_duration": lambda field: _beside(to, field, section, "max_budget"),
    }
    for name, ours in _RATES.items():
        take[name] = _rate(to, ours, _STREAMS if ours == "streams" else _NO_OWN)
    further = ("models", "duration", "metadata", "team_id", "tags", "aliases", "user_id", "key_alias")
    to.each(section, take, dict.fromkeys(further, ("unsupported", _AT_KEY)))


def _rate(to: Translation, ours: str, remark: str) -> Handler:
    return lambda field: to.put(("limits", "keys", ours), field, remark, near=True)


def _budget(to: Translation, kind: str, field: Field, duration: Field | None, remark: str = "") -> None:
    """An amount and its period as one budget; exact where nothing has to be said."""
    length = None if duration is None else duration.value
    if (amount := to.number(field)) is None:
        return
    if length is not None and length not in PERIODS:
        to.unsupported(field, _OTHER_LENGTH)
        return
    path: Path_ = ("limits", kind, "budgets", 0)
    to.draft.put(path, {"usd": amount, "period": PERIODS.get(str(length), "total")}, field.place)
    to.grade("approximate" if remark else "exact", field, remark)


def _beside(to: Translation, field: Field, section: Field, name: str) -> None:
    """A length, which is read with the amount it is for."""
    if section.get(name) is None:
        to.unsupported(field, f"There is no `{name}` beside it.")
    elif field.value in PERIODS:
        to.exact(field)
    else:
        to.unsupported(field, _OTHER_LENGTH)


def take_provider_budgets(to: Translation, section: Field) -> None:
    """`router_settings.provider_budget_config`, by LiteLLM's names of providers."""
    if not to.is_mapping(section):
        return
    if not section.value:
        to.exact(section, "Empty.")
    for provider in section.members():
        if not to.is_mapping(provider):
            continue
        path: Path_ = ("routing", "provider_budgets", ROWS.get(provider.name) or provider.name)
        for member in provider.members():
            if member.name in _OF_PROVIDER and member.value is not None:
                to.draft.put((*path, _OF_PROVIDER[member.name]), to.value(member), member.place)
                to.approximate(member, _ON_END)
            else:
                to.unsupported(member, "Only an amount and a length are a budget.")
