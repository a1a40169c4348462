"""The settings in force in LiteLLM's form. Secrets are references to variables, never the secrets themselves.

What LiteLLM's form has no word for is named in `Written.comments`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from headgate.config.draft import REFERENCE, Path_, leaves, shown, value_at
from headgate.config.load import Loaded
from headgate.config.secrets import holds_secret, may_be_secret
from headgate.routing.types import ModelSettings, PriceSettings, TargetSettings
from headgate.upstreams.registry import PROVIDERS
from headgate.upstreams.types import UpstreamSettings

_PREFIXES = {
    **{name: name for name in ("openai", "azure", "openrouter", "deepseek", "groq", "mistral", "xai", "cerebras")},
    **{name: name for name in ("perplexity", "gemini", "anthropic", "lm_studio", "litellm_proxy")},
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "nvidia": "nvidia_nim",
    "vllm": "hosted_vllm",
}
"""Providers that LiteLLM knows too, by its name for them; all others are written as addresses that speak OpenAI."""
_STRATEGIES = {
    "weighted": "simple-shuffle",
    "least_busy": "least-busy",
    "latency": "latency-based-routing",
    "cost": "cost-based-routing",
    "usage": "usage-based-routing-v2",
}
_MILLION = 1_000_000
_KINDS = ("audio_input", "audio_output", "image_input", "image_output")
_FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


@dataclass(slots=True)
class Written:
    """`data` is LiteLLM's file; `comments` say what stands in for a literal key, and what has no place in it."""

    data: dict[str, Any]
    comments: list[str] = field(default_factory=list)


def to_litellm(loaded: Loaded) -> Written:
    """The whole configuration."""
    return _Writer(loaded).write()


@dataclass(slots=True)
class _Writer:
    loaded: Loaded
    comments: list[str] = field(default_factory=list)
    told: set[Path_] = field(default_factory=set)

    def write(self) -> Written:
        settings = self.loaded.settings
        data: dict[str, Any] = {"model_list": [*self._models(), *self._wildcards()]}
        data["litellm_settings"] = {
            "drop_params": bool(settings.parameters.drop_unsupported),
            "set_verbose": self.loaded.streams,
        }
        if router := self._router():
            data["router_settings"] = router
        if settings.auth.required:
            data["general_settings"] = {"master_key": self._master_key()}
        self.told |= {("parameters", "drop_unsupported"), ("parameters", "reasoning_effort"), ("auth", "required")}
        self.told |= {("parameters", "defaults"), ("parameters", "drop")}
        self._name_the_rest()
        return Written(data, self.comments)

    def _models(self) -> list[dict[str, Any]]:
        upstreams = {one.name: (number, one) for number, one in enumerate(self.loaded.settings.upstreams)}
        entries = []
        for number, model in enumerate(self.loaded.settings.models):
            for at, target in enumerate(model.targets):
                place, upstream = upstreams[target.upstream]
                path: Path_ = ("models", number, "targets", at)
                self.told |= {(*path, "upstream"), (*path, "model"), ("models", number, "name")}
                if upstream.provider == "local":
                    self.comments.append(f"{shown(path)} is left out: LiteLLM cannot run the local model.")
                    continue
                params = self._params(place, upstream, target.model)
                params |= self._of_target(model, target, path)
                entry: dict[str, Any] = {"model_name": model.name, "litellm_params": params}
                if info := self._info(model, target, number, path):
                    entry["model_info"] = info
                entries.append(entry)
        return entries

    def _wildcards(self) -> list[dict[str, Any]]:
        """Upstreams that offer all they have."""
        entries = []
        for number, upstream in enumerate(self.loaded.settings.upstreams):
            self.told.add(("upstreams", number, "name"))
            if upstream.offer_all and upstream.provider != "local":
                self.told.add(("upstreams", number, "offer_all"))
                params = self._params(number, upstream, "*")
                entries.append({"model_name": f"{upstream.name}/*", "litellm_params": params})
        return entries

    def _params(self, number: int, upstream: UpstreamSettings, model: str) -> dict[str, Any]:
        """The fields that say where a call goes and with which key."""
        here: Path_ = ("upstreams", number)
        read = ("provider", "base_url", "api_key", "api_version", "headers", "options", "litellm_provider")
        self.told |= {(*here, name) for name in read}
        if upstream.provider == "mock":
            return {"model": f"openai/{model}", "mock_response": upstream.options.get("answer", "")}
        prefix = upstream.litellm_provider or _PREFIXES.get(upstream.provider, "openai")
        if upstream.base_url and prefix in ("gemini", "anthropic"):
            prefix = "openai"  # LiteLLM would speak the provider's own API to that address
        row = PROVIDERS.get(upstream.provider)
        known = upstream.provider in _PREFIXES or upstream.provider == "litellm" or row is None
        base = upstream.base_url or (None if known or row is None else row.base_url)
        params: dict[str, Any] = {"model": f"{prefix}/{model}"}
        if base:
            params["api_base"] = self._text(base, (*here, "base_url"), f"{_variable(upstream)}_API_BASE")
        if upstream.api_key:
            usual = row.key_variables[0] if row and row.key_variables else f"{_variable(upstream)}_API_KEY"
            params["api_key"] = self._secret((*here, "api_key"), usual)
        if upstream.api_version:
            params["api_version"] = upstream.api_version
        if upstream.headers:
            params["extra_headers"] = self._mapping(upstream.headers, (*here, "headers"), _variable(upstream))
        if upstream.timeouts.total != type(upstream.timeouts)().total:
            params["timeout"] = upstream.timeouts.total
            self.told.add((*here, "timeouts", "total"))
        return params | self._mapping(upstream.options, (*here, "options"), _variable(upstream))

    def _of_target(self, model: ModelSettings, target: TargetSettings, path: Path_) -> dict[str, Any]:
        """The fields that one target has besides its account."""
        top = self.loaded.settings.parameters
        levels = (top, model.parameters, target.parameters)
        params: dict[str, Any] = {}
        for level in levels:
            params |= level.defaults
        for effort in (one.reasoning_effort for one in reversed(levels) if one.reasoning_effort):
            params |= {} if effort == "none" else {"reasoning_effort": effort}
            break
        if dropped := list(dict.fromkeys(name for level in levels for name in level.drop)):
            params["additional_drop_params"] = dropped
        drops = next((one.drop_unsupported for one in reversed(levels[1:]) if one.drop_unsupported is not None), None)
        limits = target.limits
        found = {
            "drop_params": drops,
            "weight": target.weight,
            "order": target.order,
            "tags": target.tags or None,
            "timeout": target.timeout,
            "stream_timeout": target.stream_timeout,
            "rpm": limits.requests_per_minute,
            "tpm": limits.tokens_per_minute,
            "max_parallel_requests": limits.in_flight,
        }
        self.told |= {(*path, name) for name in ("weight", "order", "tags", "timeout", "stream_timeout", "limits")}
        for owner in (path, path[:2]):
            self.told |= {(*owner, "parameters", name) for name in ("defaults", "reasoning_effort", "drop")}
            self.told.add((*owner, "parameters", "drop_unsupported"))
        return params | {name: value for name, value in found.items() if value is not None}

    def _info(self, model: ModelSettings, target: TargetSettings, number: int, path: Path_) -> dict[str, Any]:
        can = model.capabilities
        found = {
            **model.info,
            "id": target.id,
            "mode": can.mode,
            "access_groups": model.groups or None,
            "max_input_tokens": target.context_window or can.context_window,
            "max_output_tokens": can.max_output_tokens,
            "supports_function_calling": can.tools,
            "supports_response_schema": can.json_schema,
            "supports_reasoning": can.reasoning,
            **_prices(target.price or model.price),
        }
        here: Path_ = ("models", number)
        self.told |= {(*here, "info"), (*here, "groups"), (*path, "id"), (*path, "context_window")}
        names = ("mode", "context_window", "max_output_tokens", "tools", "json_schema", "reasoning")
        self.told |= {(*here, "capabilities", name) for name in names}
        priced = ("input", "output", "cached_input", "cache_write", *_KINDS)
        self.told |= {(*owner, "price", name) for owner in (here, path) for name in priced}
        return {name: value for name, value in found.items() if value is not None}

    def _router(self) -> dict[str, Any]:
        settings = self.loaded.settings
        routing = settings.routing
        found: dict[str, Any] = {}
        for path, name, value in (
            (("balance",), "routing_strategy", _STRATEGIES.get(routing.balance)),
            (("retries",), "num_retries", routing.retries),
            (("timeout",), "timeout", routing.timeout),
            (("max_fallbacks",), "max_fallbacks", routing.max_fallbacks),
            (("cooldown", "failures"), "allowed_fails", max(0, routing.cooldown.failures - 1)),
            (("cooldown", "seconds"), "cooldown_time", routing.cooldown.seconds),
            (("tags",), "enable_tag_filtering", routing.tags),
            (("fallbacks",), "default_fallbacks", routing.fallbacks),
        ):
            if value is not None and self._is_set(("routing", *path)):
                found[name] = value
                self.told.add(("routing", *path))
        for kind in _FALLBACKS:
            if pairs := [{model.name: getattr(model, kind)} for model in settings.models if getattr(model, kind)]:
                found[kind] = pairs
            self.told |= {("models", number, kind) for number in range(len(settings.models))}
        if settings.aliases:
            found["model_group_alias"] = {
                one.name: {"model": one.model, "hidden": True} if one.hidden else one.model for one in settings.aliases
            }
            self.told.add(("aliases",))
        return found

    def _master_key(self) -> str:
        if self.loaded.settings.auth.master_key:
            return self._secret(("auth", "master_key"), "LITELLM_MASTER_KEY")
        place = self.loaded.data_dir / "master.key"
        self.comments.append(f"general_settings.master_key: set LITELLM_MASTER_KEY to the key that is kept in {place}.")
        return "os.environ/LITELLM_MASTER_KEY"

    def _secret(self, path: Path_, otherwise: str) -> str:
        """A reference to the variable that holds a secret; to `otherwise`, with a comment, when none does."""
        self.told.add(path)
        place = self.loaded.draft.place_of(path)
        found = REFERENCE.fullmatch(str(value_at(self.loaded.written, path)))
        name = found[2] if found else None
        if name is None and path in self.loaded.draft.places and place.source in ("environment", ".env"):
            name = place.name
        if name is None:
            self.comments.append(f"{shown(path)} holds a key itself: set {otherwise} to it.")
        elif name in self.loaded.draft.variables or (found and found[3]):
            self.comments.append(f"{shown(path)}: the file holds a value for {name}; set the variable to it.")
        return f"os.environ/{name or otherwise}"

    def _text(self, value: str, path: Path_, otherwise: str) -> str:
        """An address, or a reference where it holds a password."""
        self.told.add(path)
        return self._secret(path, otherwise) if holds_secret(value) or urlsplit(value).username else value

    def _mapping(self, values: Mapping[str, Any], path: Path_, prefix: str) -> dict[str, Any]:
        """Free fields, with references for those that may be secrets."""
        written = {}
        for name, value in values.items():
            is_text = isinstance(value, str)
            is_secret = is_text and (may_be_secret(name) or holds_secret(value) or self._is_reference((*path, name)))
            written[name] = self._secret((*path, name), _spelled(f"{prefix}_{name}")) if is_secret else value
        return written

    def _is_reference(self, path: Path_) -> bool:
        """Whether the value stands in a variable, and had better stay there."""
        return REFERENCE.fullmatch(str(value_at(self.loaded.written, path))) is not None

    def _is_set(self, path: Path_) -> bool:
        return value_at(self.loaded.draft.data, path) is not None

    def _name_the_rest(self) -> None:
        for path, value in leaves(self.loaded.written):
            is_told = path[:2] == ("auth", "master_key") or any(path[: len(told)] == told for told in self.told)
            if value not in (None, {}, []) and not is_told:
                self.comments.append(f"{shown(path)} has no place in LiteLLM's form.")


def _prices(price: PriceSettings | None) -> dict[str, float | None]:
    if price is None:
        return {}
    per_token = {
        "input_cost_per_token": price.input,
        "output_cost_per_token": price.output,
        "cache_read_input_token_cost": price.cached_input,
        "cache_creation_input_token_cost": price.cache_write,
        "input_cost_per_audio_token": price.audio_input,
        "output_cost_per_audio_token": price.audio_output,
        "input_cost_per_image_token": price.image_input,
        "output_cost_per_image_token": price.image_output,
    }
    return {name: None if value is None else float(value / _MILLION) for name, value in per_token.items()}


def _variable(upstream: UpstreamSettings) -> str:
    return _spelled(upstream.name)


def _spelled(name: str) -> str:
    spelled = "".join(letter if letter.isalnum() else "_" for letter in name).upper()
    return spelled if not spelled[0].isdigit() else f"_{spelled}"
