"""What `headgate serve` says when it is ready: where it is, the key, and a first call to paste."""

import json
import shlex

from headgate.config.load import Loaded
from headgate.config.tree import Settings
from headgate.core.version import __version__

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - only shown


def banner(loaded: Loaded, master_key: str, port: int) -> str:
    """The lines to show. A key that was configured is not repeated; a generated one is."""
    settings = loaded.settings
    host = settings.server.host
    url = f"http://{_EVERY_ADDRESS.get(host, f'[{host}]' if ':' in host else host)}:{port}"
    lines = [
        f"headgate {__version__} is ready",
        f"  API     {url}/v1",
        f"  Key     {_key_line(loaded, master_key)}",
        f"  Config  {loaded.file or 'none: offered is what this environment has'}",
        *(f"  Model   {name}" for name in _offered(settings)),
    ]
    if not settings.upstreams:
        return "\n".join(
            [*lines, "  No upstream yet: set a provider's key, such as OPENAI_API_KEY, or write headgate.yaml."]
        )
    shown_key = "YOUR_KEY" if settings.auth.master_key else master_key
    return "\n".join([*lines, "", "Try it:", _first_call(url, shown_key, settings)])


def _key_line(loaded: Loaded, master_key: str) -> str:
    if not loaded.settings.auth.required:
        return "none needed"
    if loaded.settings.auth.master_key:
        return "the configured master key"
    return f"{master_key}  (kept in {loaded.data_dir / 'master.key'})"


def _offered(settings: Settings) -> list[str]:
    return [model.name for model in settings.models] + [f"{one.name}/…" for one in settings.upstreams if one.offer_all]


def _first_call(url: str, key: str, settings: Settings) -> str:
    model = settings.models[0].name if settings.models else f"{settings.upstreams[0].name}/MODEL"
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Say hello."}]})
    words = (f"Authorization: Bearer {key}", "Content-Type: application/json", body)
    bearer, content_type, data = map(shlex.quote, words)
    return f"""  curl {shlex.quote(f"{url}/v1/chat/completions")} \\
    -H {bearer} -H {content_type} \\
    -d {data}"""
