"""What `litellm_params` say about one deployment, apart from its account: limits, timeouts, parameters, prices."""

from collections.abc import Callable
from typing import get_args

from headgate.config.draft import Draft, Path_
from headgate.config.litellm.accounts import is_of_account
from headgate.config.litellm.known import PARAMS
from headgate.config.litellm.prices import is_price, take_budget, take_price
from headgate.config.litellm.translation import Field, Translation
from headgate.routing.types import Effort

_SAME: dict[str, Path_] = {
    "weight": ("weight",),
    "order": ("order",),
    "rpm": ("limits", "requests_per_minute"),
    "tpm": ("limits", "tokens_per_minute"),
    "timeout": ("timeout",),
    "stream_timeout": ("stream_timeout",),
    "tags": ("tags",),
    "drop_params": ("parameters", "drop_unsupported"),
}
DEFAULTS = frozenset(
    """
    temperature top_p top_k min_p n stop max_tokens max_completion_tokens presence_penalty frequency_penalty
    repetition_penalty logit_bias user seed tools tool_choice parallel_tool_calls functions function_call
    response_format logprobs top_logprobs modalities audio prediction thinking verbosity service_tier
    web_search_options safety_identifier prompt_cache_key prompt_cache_retention store dimensions encoding_format
    input_type language timestamp_granularities voice speed size quality style background output_format
    output_compression moderation suffix echo best_of stream_options chat_template_kwargs guided_json guided_regex
    guided_choice guided_grammar num_ctx keep_alive provider transforms route models plugins top_n
    safety_settings max_tokens_per_doc return_documents include_reasoning reasoning format mirostat num_predict
    num_gpu think
    """.split()  # noqa: SIM905 - ninety quoted names would read worse
)
"""Fields of a request that LiteLLM sends where the caller sends none."""
_OF_MODEL = ("model", "custom_llm_provider", "litellm_credential_name", "num_retries", "max_retries", "silent_model")
_MOCKS = ("mock_response",)


def names() -> list[str]:
    """Every field of `litellm_params` that is honoured, for remedies."""
    further = ("api_base", "api_key", "api_version", "extra_headers", "organization", "max_parallel_requests")
    prices = ("input_cost_per_token", "output_cost_per_token", "max_budget", "budget_duration")
    return [*_SAME, *_LISTS, *_OF_MODEL, *_MOCKS, *DEFAULTS, *further, *prices, "extra_body", "reasoning_effort"]


def take(to: Translation, params: Field, target: Draft) -> None:
    """Every field but those of the account and of the model as a whole."""
    for field in params.members():
        name = field.name
        if field.value is None:
            to.exact(field, "Not set.")
        elif name in _SAME:
            target.put(_SAME[name], to.value(field), field.place)
            to.exact(field)
        elif handler := _LISTS.get(name):
            handler(to, field, target)
        elif name in DEFAULTS:
            target.put(("parameters", "defaults", name), to.value(field), field.place)
            to.exact(field, "Sent where the caller sends none.")
        elif is_price(name):
            take_price(to, field, target)
        elif name in ("max_budget", "budget_duration"):
            take_budget(to, field, params, target)
        elif not (name in _OF_MODEL or name in _MOCKS or is_of_account(name)):
            to.judge(field, PARAMS, names())


def _in_flight(to: Translation, field: Field, target: Draft) -> None:
    target.put(("limits", "in_flight"), to.value(field), field.place)
    to.approximate(field, "A target at its limit is passed over; LiteLLM lets calls wait for it.")


def _drop(to: Translation, field: Field, target: Draft) -> None:
    if not isinstance(field.value, list):
        to.is_list(field)
        return
    inner = [name for name in field.value if not isinstance(name, str) or set(name) & set(".[")]
    target.put(("parameters", "drop"), [name for name in field.value if name not in inner], field.place)
    if inner:
        to.approximate(field, f"Only whole fields are left out, not {', '.join(map(str, inner))}.")
    else:
        to.exact(field)


def _allowed(to: Translation, field: Field, target: Draft) -> None:
    to.approximate(
        field, "Fields are passed on anyway; where `drop_params` is on, set the target's `parameters.unsupported`."
    )


def _effort(to: Translation, field: Field, target: Draft) -> None:
    if field.value in get_args(Effort):
        target.put(("parameters", "reasoning_effort"), field.value, field.place)
    else:
        target.put(("parameters", "defaults", field.name), to.value(field), field.place)
    to.exact(field, "Sent where the caller sends none.")


def _body(to: Translation, field: Field, target: Draft) -> None:
    if to.is_mapping(field):
        for member in field.members():
            target.put(("parameters", "defaults", member.name), to.value(member), member.place)
        to.approximate(field, "Sent where the caller sends none; LiteLLM's `extra_body` wins over the caller.")


_LISTS: dict[str, Callable[[Translation, Field, Draft], None]] = {
    "max_parallel_requests": _in_flight,
    "additional_drop_params": _drop,
    "allowed_openai_params": _allowed,
    "reasoning_effort": _effort,
    "extra_body": _body,
}
