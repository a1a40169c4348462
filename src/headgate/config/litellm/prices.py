"""Prices and budgets: LiteLLM counts USD for one token, we for a million."""

import re
from decimal import Decimal, DecimalException
from typing import Any

from headgate.config.draft import Draft
from headgate.config.litellm.translation import Field, Translation

_PER_MILLION = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
}
_PER_REQUEST = frozenset(("cost_per_query", "input_cost_per_query", "input_cost_per_request"))
_OTHER = re.compile(r".*(_cost(_|$)|cost_per_).*|tiered_pricing|.*uplift_multiplier.*")
_NO_PRICE = re.compile(r"tiered_pricing|.*uplift_multiplier.*|search_context_cost_per_query")
_LATER = "Kept and shown; calls are charged by their tokens and by the call."


def is_price(name: str) -> bool:
    """Whether a field is a price."""
    return name in _PER_MILLION or name in _PER_REQUEST or bool(_OTHER.fullmatch(name))


def take_price(to: Translation, field: Field, target: Draft) -> None:
    """A price into a target; `litellm_params` come first and win."""
    if _NO_PRICE.fullmatch(field.name):
        to.unsupported(field, "Only one price for each unit is counted; set `price` to the usual one.")
        return
    path = _path(field.name)
    if _has(target, path):
        to.approximate(field, "The price in `litellm_params` wins.")
        return
    found = _decimal(field.value)
    if found is None:
        to.wrong(field, f"`{field.name}` must be a price in USD.", "Write the number itself, such as 0.0000025.")
        return
    target.put(path, plain(found * 10**6 if field.name in _PER_MILLION else found), field.place)
    if path[1] == "further":
        to.approximate(field, _LATER)
    else:
        to.exact(field)


def take_budget(to: Translation, field: Field, params: Field, target: Draft) -> None:
    """What a deployment may spend."""
    if field.name == "budget_duration" and params.get("max_budget") is None:
        to.unsupported(field, "There is no `max_budget` beside it.")
        return
    target.put(("budget", "usd" if field.name == "max_budget" else "every"), to.value(field), field.place)
    to.approximate(field, "Holds for any such time on end, by the ledger; LiteLLM starts anew at each of its ends.")


def plain(number: Decimal) -> int | float | str:
    """A number as YAML has it, exactly; a text where a float would not do."""
    if number == number.to_integral_value():
        return int(number)
    text = f"{number.normalize():f}"
    return float(text) if Decimal(repr(float(text))) == number else text


def _path(name: str) -> tuple[str, ...]:
    if name in _PER_MILLION:
        return ("price", _PER_MILLION[name])
    return ("price", "request") if name in _PER_REQUEST else ("price", "further", name)


def _has(target: Draft, path: tuple[str, ...]) -> bool:
    here: Any = target.data
    for part in path:
        here = here.get(part) if isinstance(here, dict) else None
    return here is not None


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = Decimal(repr(value) if isinstance(value, float) else value)
        return found if found.is_finite() and abs(found.adjusted()) < 30 else None
    except DecimalException:
        return None
