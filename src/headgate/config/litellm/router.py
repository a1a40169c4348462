"""`router_settings`, and what the router reads of `litellm_settings`: how targets are chosen, and what if one fails."""

from collections.abc import Callable
from dataclasses import dataclass, field

from headgate.config.draft import Path_, Place
from headgate.config.litellm.budgets import take_provider_budgets
from headgate.config.litellm.fallbacks import KINDS, Fallbacks
from headgate.config.litellm.known_settings import ROUTER
from headgate.config.litellm.models import Models, take_retries
from headgate.config.litellm.policies import Policies
from headgate.config.litellm.targets import DEFAULTS
from headgate.config.litellm.translation import Field, Translation
from headgate.config.problems import did_you_mean

_BALANCE = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "usage-based-routing": "usage",
    "usage-based-routing-v2": "usage",
    "latency-based-routing": "latency",
    "cost-based-routing": "cost",
}
_PRE_CALL = {
    "prompt_caching": "prefix",
    "session_affinity": "session",
    "deployment_affinity": "session",
}
_CALL_CHECKS = {
    "enforce_model_rate_limits": "",
    "router_budget_limiting": "",
    "responses_api_deployment_check": "There is no Responses state here.",
    "encrypted_content_affinity": "There is no Responses state here.",
    "forward_client_headers_by_model_group": "Callers' headers stay here, but for traceparent.",
}
SHARED = (*KINDS, "default_fallbacks", "num_retries", "max_fallbacks", "allowed_fails", "cooldown_time")
"""Fields that may also stand under `litellm_settings`; those under `router_settings` win."""


def _turn(name: str) -> int:
    """Aliases come before what may name one; what refines a number comes after it."""
    return {"model_group_alias": 0, "retry_policy": 2, "disable_cooldowns": 2}.get(name, 1)


@dataclass(slots=True)
class Router:
    """Takes both sections; `limits_hold` says whether rpm and tpm are more than a hint."""

    to: Translation
    models: Models
    file: Place
    limits_hold: bool = False
    _fallbacks: Fallbacks = field(init=False)
    _policies: Policies = field(init=False)

    def __post_init__(self) -> None:
        self._fallbacks = Fallbacks(self.to, self.models)
        self._policies = Policies(self.to, self.models, self.file)

    def take(self, litellm: Field | None, own: Field | None) -> None:
        """LiteLLM's own defaults come first, then the fields, aliases before those that may name one."""
        self._put(("balance",), "weighted")
        self._put(("overrides", "fields"), True)
        chosen = self._chosen(litellm, own)
        self._timeouts(litellm.get("request_timeout") if litellm else None, chosen)
        handlers = self._handlers()
        for name in sorted(chosen, key=_turn):
            if handler := handlers.get(name):
                handler(chosen[name])
            elif name not in ("timeout", "stream_timeout"):
                self.to.judge(chosen[name], ROUTER, [*handlers, "timeout", "stream_timeout"])
        self._fallbacks.finish()
        self._policies.finish()
        self._put(("enforce_limits",), self.limits_hold)
        if self.to.draft.data["routing"]["balance"] == "weighted":
            self.models.weigh()

    def _chosen(self, litellm: Field | None, own: Field | None) -> dict[str, Field]:
        """The fields that count. What is not set is graded with the section it stands in."""
        chosen: dict[str, Field] = {}
        for section in (litellm, own):
            for member in section.members() if section else ():
                if member.value is None:
                    if section is own:
                        self.to.exact(member, "Not set.")
                elif section is own or member.name in SHARED:
                    former = chosen.get(member.name)
                    if former is not None and member.value == []:
                        self.to.exact(member, "Empty; what `litellm_settings` says counts.")
                        continue
                    if former is not None:
                        self.to.exact(former, "Not used: the same field of `router_settings` wins.")
                    chosen[member.name] = member
        if own is not None and not own.value:
            self.to.exact(own, "Empty.")
        return chosen

    def _put(self, path: Path_, value: object, at: Field | None = None) -> None:
        self.to.draft.put(("routing", *path), value, at.place if at else self.file)

    def _handlers(self) -> dict[str, Callable[[Field], None]]:
        policies = self._policies
        return {
            **dict.fromkeys(KINDS, self._fallbacks.take),
            "default_fallbacks": self._fallbacks.everywhere,
            "model_group_alias": self._fallbacks.alias,
            "routing_strategy": self._strategy,
            "num_retries": lambda field: take_retries(self.to, field, self.to.draft, ("routing", "retries")),
            "retry_after": self._pause,
            "max_fallbacks": lambda field: self.to.put(("routing", "max_fallbacks"), field),
            "allowed_fails": policies.fails,
            "cooldown_time": policies.rest,
            "disable_cooldowns": policies.no_rest,
            "retry_policy": policies.retries,
            "allowed_fails_policy": policies.fails_by_error,
            "model_group_retry_policy": policies.retries_by_model,
            "enable_pre_call_checks": self._checks_context,
            "enable_tag_filtering": lambda field: self.to.put(("routing", "tags"), field),
            "tag_filtering_match_any": self._any_tag,
            "optional_pre_call_checks": self._call_checks,
            "model_group_affinity_config": self._affinities,
            "provider_budget_config": lambda field: take_provider_budgets(self.to, field),
            "default_litellm_params": self._defaults,
            "default_max_parallel_requests": self._in_flight,
            "set_verbose": lambda field: self.to.put(("logging", "debug"), field),
            "debug_level": self._level,
        }

    def _strategy(self, field: Field) -> None:
        name = field.value if isinstance(field.value, str) else ""
        if name == "lar1":
            self.to.unsupported(field, "Targets are balanced by weight instead.")
        elif name not in _BALANCE:
            remedy = did_you_mean(name, _BALANCE, f"Strategies: {', '.join(_BALANCE)}.")
            self.to.wrong(field, "There is no such routing strategy.", remedy)
        else:
            self._put(("balance",), _BALANCE[name], field)
            self.limits_hold = self.limits_hold or _BALANCE[name] == "usage"
            self.to.exact(field, f"`balance: {_BALANCE[name]}`.")

    def _timeouts(self, request: Field | None, chosen: dict[str, Field]) -> None:
        """With both, the request's is for each try and the router's for all; alone, either is for each try."""
        each, whole = request or chosen.get("timeout"), chosen.get("timeout") if request else None
        for found, name in ((each, "timeout"), (chosen.get("stream_timeout"), "stream_timeout")):
            if found is not None:
                self.models.put_where_missing((name,), self.to.value(found), found.place)
                self.to.exact(found, "For every target without its own.")
        if whole is not None:
            self.to.put(("routing", "timeout"), whole, "Until an answer begins, all tries together.", near=True)

    def _pause(self, field: Field) -> None:
        self.to.put(("routing", "first_pause"), field, "The first pause; each further one is twice as long.", near=True)

    def _checks_context(self, field: Field) -> None:
        self.to.put(("routing", "check_context"), field, "Prompts' lengths are estimated; limits hold too.", near=True)
        self.limits_hold = self.limits_hold or field.value is True

    def _any_tag(self, field: Field) -> None:
        if field.value is True:
            self.to.exact(field, "One tag in common is enough.")
        else:
            self.to.unsupported(field, "One tag in common is always enough.")

    def _call_checks(self, section: Field) -> None:
        if not self.to.is_list(section):
            return
        if not section.value:
            self.to.exact(section, "Empty.")
        for check in section.items():
            name = check.value if isinstance(check.value, str) else ""
            if name in _PRE_CALL:
                if self.to.draft.data["routing"].get("affinity") != "prefix":
                    self._put(("affinity",), _PRE_CALL[name], check)
                self.to.approximate(check, f"`affinity: {_PRE_CALL[name]}`, found by the request; nothing is kept.")
            elif name == "enforce_model_rate_limits":
                self.limits_hold = True
                self.to.exact(check)
            elif name == "router_budget_limiting":
                self.to.exact(check, "Budgets of targets and providers always hold.")
            else:
                otherwise = did_you_mean(name, [*_PRE_CALL, *_CALL_CHECKS], "There is no such check.")
                self.to.unsupported(check, _CALL_CHECKS.get(name) or otherwise)

    def _affinities(self, section: Field) -> None:
        if self.to.is_mapping(section):
            if not section.value:
                self.to.exact(section, "Empty.")
            for member in section.members():
                piece = self.models.pieces.get(member.name)
                kinds = [_PRE_CALL[str(flag.value)] for flag in member.items() if str(flag.value) in _PRE_CALL]
                if piece is None or not kinds:
                    self.to.unsupported(member, "Needs the name of a model and affinities such as `session_affinity`.")
                else:
                    piece.put(("affinity",), "prefix" if "prefix" in kinds else "session", member.place)
                    self.to.approximate(member, "Found by the request; nothing is kept.")

    def _defaults(self, section: Field) -> None:
        if self.to.is_mapping(section):
            take = dict.fromkeys(DEFAULTS, self._default)
            self.to.each(section, {**take, "timeout": self._default_timeout}, {})

    def _default(self, field: Field) -> None:
        self.to.put(("parameters", "defaults", field.name), field, "Sent where the caller sends none.")

    def _default_timeout(self, field: Field) -> None:
        self.models.put_where_missing(("timeout",), self.to.value(field), field.place)
        self.to.exact(field, "For every target without its own.")

    def _in_flight(self, field: Field) -> None:
        self.models.put_where_missing(("limits", "in_flight"), self.to.value(field), field.place)
        self.to.approximate(field, "A target at its limit is passed over; LiteLLM lets calls wait for it.")

    def _level(self, field: Field) -> None:
        if field.value == "DEBUG":
            self.to.draft.put(("logging", "debug"), True, field.place)
        self.to.exact(field)
