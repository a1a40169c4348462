"""Where settings come from. The only reader of the environment.

Order, the first wins: command line, environment, `.env` in the working directory, configuration file, default. Every
source becomes a draft or is laid over one; the tree then reads the draft.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import platformdirs
from dotenv import dotenv_values

from headgate.config import document, environment, mcp, native, otel
from headgate.config.discovery import discover, fill_in, with_proxy
from headgate.config.draft import Draft, Path_, Place, literal
from headgate.config.folder import add_folder
from headgate.config.litellm import reader
from headgate.config.problems import ConfigError, Problem
from headgate.config.tree import Settings
from headgate.config.variables import Variables, overlay

_SDK_VARIABLES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
FLAGS: dict[str, tuple[Path_, str]] = {
    "host": (("server", "host"), "--host"),
    "port": (("server", "port"), "--port"),
    "workers": (("server", "workers"), "--workers"),
    "debug": (("logging", "debug"), "--debug"),
    "master_key": (("auth", "master_key"), "--master-key"),
    "auth_required": (("auth", "required"), "--no-master-key"),
    "drop_params": (("parameters", "drop_unsupported"), "--drop-params"),
    "reasoning_effort": (("parameters", "reasoning_effort"), "--reasoning-effort"),
}
"""Options of the command line that are settings: the path in the tree and the flag."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that was set anywhere, not checked yet. `file` is None when there is none."""

    draft: Draft
    variables: Variables
    file: Path | None
    streams: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, and the draft they were read from. `file` is None when there is none.

    `options` are those of the command line, `written` is the draft's data with its references, `streams` what a printed
    configuration says of streaming.
    """

    settings: Settings
    file: Path | None
    data_dir: Path
    draft: Draft
    written: Mapping[str, Any] = field(default_factory=dict)
    streams: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


def read_variables() -> Variables:
    """The process environment and `.env`; raises ConfigError for a `.env` that cannot be read."""
    try:
        dotenv = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        message = f"The file cannot be read: {error}."
        raise ConfigError([Problem(".env", 0, "", message, "Save it as UTF-8 text that this user may read.")]) from None
    return Variables(dict(os.environ), dotenv)


def prepare_sdk() -> None:
    """What the LiteLLM SDK finds in the environment, the one place where it takes such options, when it is imported.

    It must not fetch lists from the network nor look for a `.env` of its own; ours is put there instead.
    """
    for name, value in {**_SDK_VARIABLES, **read_variables().merged}.items():
        os.environ.setdefault(name, value)


def data_dir(variables: Variables) -> Path:
    """Where keys and databases lie: HEADGATE_DATA_DIR or the platform's folder for data."""
    return Path(variables.get("HEADGATE_DATA_DIR") or platformdirs.user_data_dir("headgate", appauthor=False))


def find_file(given: Path | None, variables: Variables) -> Path | None:
    """The configuration file: given, named by a variable, in the working directory or in the user's folder."""
    named = given or variables.get("HEADGATE_CONFIG") or variables.get("CONFIG_FILE_PATH")
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
    return replace(settle(gather(given, options)), options=options or {})


def gather(given: Path | None = None, options: Mapping[str, Any] | None = None) -> Gathered:
    """Lay all sources over each other. Raises ConfigError only when one cannot be read at all."""
    options = options or {}
    variables = read_variables()
    file = find_file(given, variables)
    draft = draft_of(file) if file else Draft()
    has_models = environment.add_models(draft, variables, options, beside_file=file is not None)
    if file is None and not has_models:
        discover(draft, variables)
    overlay(draft, variables)
    otel.overlay(draft, variables)
    for name, value in options.items():
        if value is not None and name not in environment.OPTIONS:
            path, flag = FLAGS[name]
            draft.put(path, literal(value) if isinstance(value, str) else value, Place("command line", flag))
    variables = replace(variables, file=draft.variables)
    add_folder(draft, file, variables)
    mcp.add_servers(draft, file, variables)
    fill_in(draft, variables)
    return Gathered(draft, variables, file, environment.streams(variables, options, draft))


def settle(gathered: Gathered) -> Loaded:
    """Check what was gathered; raises ConfigError with all that is wrong."""
    draft, variables = gathered.draft, gathered.variables
    written = draft.data
    draft.expand(variables.merged)
    settings = native.load(draft)
    if draft.problems or settings is None:
        raise ConfigError(draft.problems)
    proxied = [with_proxy(number, one, draft, variables) for number, one in enumerate(settings.upstreams)]
    settings = settings.model_copy(update={"upstreams": proxied})
    return Loaded(settings, gathered.file, data_dir(variables), draft, written, gathered.streams)


def draft_of(file: Path) -> Draft:
    """A file of any known form as a draft; raises ConfigError when it cannot be read at all."""
    read = document.read(file)
    return reader.draft_of(read) if reader.is_litellm(read.data) else read.draft()
