"""What each client needs so that it talks to a gateway, as rows: variables, arguments and at most one file.

Nothing here is run. Every row was tried with the real client; `docs/clients/` says with which version.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEY = "HEADGATE_KEY"
"""The variable in which clients find the key that read it from a variable of any name."""


@dataclass(frozen=True, slots=True)
class Where:
    """The gateway as a client is to see it. `url` has no `/v1`; `model` is empty where the client chooses itself.

    `models` are all that may be offered; `file` is the path of the client's file, if it has one.
    """

    url: str
    key: str
    model: str
    models: Sequence[str]
    file: str = ""

    @property
    def v1(self) -> str:
        return f"{self.url}/v1"


def _nothing(_: Where) -> Mapping[str, str]:
    return {}


def _no_arguments(_: Where) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Client:
    """One client. `program` is empty where the caller names it; `install` is the command that installs it.

    `unset` are variables that would win over ours. `knows`: how the names of models begin that it asks for by itself.
    `chooses`: it lets its user choose among all models.
    """

    title: str
    program: str
    install: str
    variables: Callable[[Where], Mapping[str, str]] = _nothing
    arguments: Callable[[Where], Sequence[str]] = _no_arguments
    unset: tuple[str, ...] = ()
    file_name: str = ""
    file: Callable[[Where], str] | None = None
    knows: tuple[str, ...] = ()
    chooses: bool = False


def _named(value: str, *names: str) -> dict[str, str]:
    """Variables of one value; none where it is empty."""
    return dict.fromkeys(names, value) if value else {}


def _claude(where: Where) -> Mapping[str, str]:
    return {
        "ANTHROPIC_BASE_URL": where.url,
        "ANTHROPIC_AUTH_TOKEN": where.key,
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
        **_named(
            where.model,
            "ANTHROPIC_MODEL",
            "ANTHROPIC_DEFAULT_OPUS_MODEL",
            "ANTHROPIC_DEFAULT_SONNET_MODEL",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        ),
    }


def _codex(where: Where) -> Sequence[str]:
    """Settings on the command line lie over those of its file; the key stands in a variable alone."""
    provider = {
        "model_provider": "headgate",
        "model_providers.headgate.name": "Headgate",
        "model_providers.headgate.base_url": where.v1,
        "model_providers.headgate.env_key": KEY,
        "model_providers.headgate.wire_api": "responses",
    }
    settings = [part for name, value in provider.items() for part in ("-c", f"{name}={value}")]
    return [*settings, *(("-m", where.model) if where.model else ())]


def _opencode(where: Where) -> Mapping[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Headgate",
        "options": {"baseURL": where.v1, "apiKey": f"{{env:{KEY}}}"},
        "models": {name: {} for name in where.models},
    }
    chosen = _named(f"headgate/{where.model}" if where.model else "", "model", "small_model")
    config = {"provider": {"headgate": provider}, **chosen}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(config), KEY: where.key}


def _aider(where: Where) -> Mapping[str, str]:
    model = f"openai/{where.model}" if where.model else ""
    return {
        "OPENAI_API_BASE": where.v1,
        "OPENAI_API_KEY": where.key,
        **_named(model, "AIDER_MODEL", "AIDER_WEAK_MODEL"),
    }


def _llm(where: Where) -> Sequence[str]:
    return ["openai", "endpoint", where.v1, *(("-m", where.model) if where.model else ())]


def _continue(where: Where) -> str:
    """YAML takes JSON. The key stands in a variable, not here."""
    names = dict.fromkeys([*([where.model] if where.model else ()), *where.models])
    models = [
        {"name": name, "provider": "openai", "model": name, "apiBase": where.v1, "apiKey": f"${{{{ secrets.{KEY} }}}}"}
        for name in names
    ]
    return _pretty({"name": "Headgate", "version": "0.0.1", "schema": "v1", "models": models})


def _cline(where: Where) -> str:
    """Without a key, for which it then looks in OPENAI_API_KEY."""
    name = "openai-compatible"
    settings = {"provider": name, "model": where.model, "baseUrl": where.v1}
    provider = {"settings": settings, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}
    return _pretty({"version": 1, "lastUsedProvider": name, "modes": {}, "providers": {name: provider}})


def _pretty(content: Any) -> str:
    return json.dumps(content, indent=2) + "\n"


def _any(where: Where) -> Mapping[str, str]:
    return {
        "OPENAI_BASE_URL": where.v1,
        "OPENAI_API_BASE": where.v1,
        "OPENAI_API_KEY": where.key,
        "ANTHROPIC_BASE_URL": where.url,
        "ANTHROPIC_API_KEY": where.key,
        "OLLAMA_HOST": where.url,
        "OLLAMA_API_KEY": where.key,
        KEY: where.key,
    }


CLIENTS = {
    "claude": Client(
        "Claude Code",
        "claude",
        "npm install -g @anthropic-ai/claude-code",
        _claude,
        unset=("ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"),
        knows=("claude",),
    ),
    "codex": Client(
        "Codex",
        "codex",
        "npm install -g @openai/codex",
        lambda where: {KEY: where.key},
        _codex,
        knows=("gpt-",),
    ),
    "opencode": Client("opencode", "opencode", "npm install -g opencode-ai", _opencode, chooses=True),
    "aider": Client("aider", "aider", "python3 -m pip install aider-chat", _aider),
    "llm": Client("llm", "llm", "python3 -m pip install llm", lambda where: {"OPENAI_API_KEY": where.key}, _llm),
    "continue": Client(
        "Continue",
        "cn",
        "npm install -g @continuedev/cli",
        lambda where: {KEY: where.key},
        lambda where: ["--config", where.file],
        file_name="continue.yaml",
        file=_continue,
        chooses=True,
    ),
    "cline": Client(
        "Cline",
        "cline",
        "npm install -g cline",
        lambda where: {"OPENAI_API_KEY": where.key, "CLINE_PROVIDER_SETTINGS_PATH": where.file},
        lambda where: ["-P", "openai-compatible", "-m", where.model],
        file_name="cline.json",
        file=_cline,
    ),
    "any": Client("Any program, named after `--`", "", "", _any, unset=("ANTHROPIC_AUTH_TOKEN",), chooses=True),
}
