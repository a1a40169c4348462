"""LiteLLM's config.yaml into the tree: `model_list` and `general_settings.master_key`; the rest is named, not lost."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr, ValidationError

from headgate.config.document import Document, Path_
from headgate.config.tree import Settings
from headgate.identity.types import AuthSettings
from headgate.routing.types import ModelSettings, TargetSettings
from headgate.upstreams.registry import PROVIDERS
from headgate.upstreams.types import TimeoutSettings, UpstreamSettings

_REFERENCE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_ROWS = {
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "nvidia_nim": "nvidia",
    "hosted_vllm": "vllm",
    "litellm_proxy": "litellm_proxy",
    "custom_openai": "openai_compatible",
    "text-completion-openai": "openai",
    "openai_like": "openai_compatible",
}
_THEIR_NAMES = {"base_url": "api_base", "headers": "extra_headers", "read": "timeout", "total": "timeout"}
_READ_PARAMS = frozenset(
    ("model", "api_base", "api_key", "api_version", "timeout", "num_retries", "max_retries", "extra_headers")
)


def is_litellm(data: Mapping[str, Any]) -> bool:
    """Whether a file is LiteLLM's rather than ours."""
    return "model_list" in data


class Loader:
    """Reads one document. `unread` names every field that is not honoured."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._upstreams: dict[tuple[str, ...], UpstreamSettings] = {}
        self._models: dict[str, ModelSettings] = {}
        self.unread: list[str] = []

    def load(self) -> Settings | None:
        data = self._document.data
        entries = data.get("model_list")
        if not isinstance(entries, list):
            self._document.problem(
                ("model_list",), "`model_list` must be a list.", "Write one `- model_name:` per model."
            )
            return None
        for number, entry in enumerate(entries):
            self._add(entry, ("model_list", number))
        self._note_unread(data)
        master_key = self._master_key()
        if self._document.problems:
            return None
        return Settings(
            auth=AuthSettings(master_key=master_key),
            upstreams=list(self._upstreams.values()),
            models=list(self._models.values()),
        )

    def _add(self, entry: Any, here: Path_) -> None:
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        name = entry.get("model_name") if isinstance(entry, dict) else None
        if not (name and isinstance(name, str) and isinstance(params, dict) and isinstance(params.get("model"), str)):
            self._document.problem(here, "The entry has no `model_name` or no `litellm_params.model`.", "Give it both.")
            return
        if "*" in name:
            self.unread.append(f"{_shown(here)}.model_name: the wildcard '{name}'")
            return
        provider, slash, model_id = params["model"].partition("/")
        if not slash:
            provider, model_id = "openai", params["model"]
        where = (*here, "litellm_params")
        values = {key: self._resolved(value, (*where, key)) for key, value in params.items()}
        try:
            upstream = self._upstream(provider, values, where)
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                field = _THEIR_NAMES.get(str(one["loc"][0]), "model")
                self._document.problem((*where, field), f"{one['msg']}.", "Give it a value that LiteLLM documents.")
            return
        target = TargetSettings(upstream=upstream.name, model=model_id)
        model = self._models.get(name)
        if model is None:
            retries = values.get("num_retries", values.get("max_retries"))
            extra = {"retries": retries} if isinstance(retries, int) and 0 <= retries <= 10 else {}
            self._models[name] = ModelSettings(name=name, targets=[target], **extra)
        else:
            model.targets.append(target)
        self.unread += [f"{_shown(where)}.{key}" for key in params if key not in _READ_PARAMS]

    def _upstream(self, provider: str, values: dict[str, Any], here: Path_) -> UpstreamSettings:
        base_url, key = values.get("api_base"), values.get("api_key")
        timeout = values.get("timeout")
        further = (values.get("api_version"), values.get("extra_headers"))
        identity = tuple(map(str, (provider, base_url, key, timeout, *further)))
        if identity in self._upstreams:
            return self._upstreams[identity]
        row = _ROWS.get(provider, provider)
        speaks_openai = row in PROVIDERS
        made = UpstreamSettings(
            name=self._free_name(provider),
            provider=("openai_compatible" if row == "openai" and base_url else row) if speaks_openai else "litellm",
            base_url=base_url or self._own_address(row, here),
            api_key=SecretStr(str(key)) if key else self._own_key(row, here),
            api_version=values.get("api_version"),
            headers=values.get("extra_headers") or {},
            timeouts=TimeoutSettings(read=timeout, total=timeout)
            if isinstance(timeout, int | float)
            else TimeoutSettings(),
            litellm_provider=None if speaks_openai else provider,
        )
        self._upstreams[identity] = made
        return made

    def _own_key(self, row: str, here: Path_) -> SecretStr | None:
        """The key from the provider's usual variable, as LiteLLM finds it."""
        provider = PROVIDERS.get(row)
        if provider is None:
            return None
        for name in provider.key_variables:
            if value := self._environment.get(name):
                return SecretStr(value)
        if provider.needs_key:
            variables = " or ".join(provider.key_variables)
            self._document.problem(here, f"The provider '{row}' needs a key.", f"Set {variables}, or add `api_key:`.")
        return None

    def _own_address(self, row: str, here: Path_) -> str | None:
        """The address from the provider's usual variable; None where the provider's row has one."""
        provider = PROVIDERS.get(row)
        if provider is None:
            return None
        for name in provider.url_variables:
            if value := self._environment.get(name):
                return value
        if not provider.base_url:
            self._document.problem(here, f"The provider '{row}' has no address of its own.", "Add `api_base:`.")
        return None

    def _free_name(self, provider: str) -> str:
        taken = {upstream.name for upstream in self._upstreams.values()}
        name = re.sub(r"[^A-Za-z0-9._-]", "-", provider) or "upstream"
        number = 1
        while (candidate := name if number == 1 else f"{name}-{number}") in taken:
            number += 1
        return candidate

    def _resolved(self, value: Any, path: Path_) -> Any:
        found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return value
        if not self._environment.get(found[1]):
            self._document.problem(
                path, f"The variable {found[1]} is not set.", f"Set {found[1]} in the environment or in .env."
            )
            return None
        return self._environment[found[1]]

    def _master_key(self) -> SecretStr | None:
        general = self._document.data.get("general_settings")
        key = general.get("master_key") if isinstance(general, dict) else None
        resolved = self._resolved(key, ("general_settings", "master_key"))
        return SecretStr(str(resolved)) if resolved else None

    def _note_unread(self, data: Mapping[str, Any]) -> None:
        for section, content in data.items():
            if section == "model_list":
                continue
            fields = content if isinstance(content, dict) else {}
            names = [f"{section}.{key}" for key in fields if (section, key) != ("general_settings", "master_key")]
            self.unread += names if fields else [section]


def _shown(path: Path_) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
