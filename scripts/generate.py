"""Write the reference pages and the JSON Schema from the code. `--check` only tells whether they are up to date."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from headgate.cli.main import command
from headgate.config.agents import agent_schema
from headgate.config.schema import json_schema
from headgate.config.tenants import LESSER, REGISTRY
from headgate.core.catalogue import catalogue
from headgate.core.surfaces import SURFACES
from headgate.settings.narrow import BUDGETS, HIGHER, LOWER, STRICTER
from headgate.telemetry.exposition import SERIES
from headgate.upstreams.registry import PROVIDERS

ROOT = Path(__file__).parent.parent
NOTE = "<!-- Written by scripts/generate.py from the code; change it there. -->\n"


def errors() -> str:
    lines = ["# Errors", NOTE, "Every error is OpenAI's envelope:", ""]
    lines += [
        "```json",
        '{"error": {"message": "…", "type": "…", "param": null, "code": "…", "request_id": "req_…"}}',
        "```",
    ]
    lines += [
        "",
        "The header `x-headgate-error` always carries one of these codes. In the body, a request that the provider",
        "itself refused (`upstream_rejected`, `upstream_not_found`) keeps the provider's own `type` and `code`, for",
        "clients switch on them. After the first byte of a stream an error is the last event:",
        '`data: {"error": …}` without `[DONE]`.',
        "`GET /errors` gives this list as JSON.",
    ]
    for kind in catalogue():
        lines += ["", f"## {kind.code}", "", f"{kind.status} · `{kind.type}` · {kind.title}.", "", kind.remedy]
    return "\n".join(lines) + "\n"


def providers() -> str:
    lines = ["# Providers", NOTE, "Hosts that speak OpenAI's API are rows of `src/headgate/upstreams/registry.py`.", ""]
    lines += ["| provider | address | key from | usage in streams | lists models |", "| --- | --- | --- | --- | --- |"]
    for row in PROVIDERS.values():
        keys = ", ".join(f"`{name}`" for name in row.key_variables) or "none needed"
        address = f"`{row.base_url}`" if row.base_url else "set `base_url`"
        lines.append(f"| `{row.name}` | {address} | {keys} | {_yes(row.usage_in_streams)} | {_yes(row.lists_models)} |")
    lines += [
        "",
        "`local` is the packaged model (extra `local`); `litellm` reaches every provider that LiteLLM's SDK knows",
    ]
    lines += ["(extra `litellm`, set `litellm_provider`)."]
    return "\n".join(lines) + "\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def configuration() -> str:
    lines = [
        "# Settings",
        NOTE,
        "Every setting of `headgate.yaml`. Any string may hold `${VARIABLE}` or `${VARIABLE:-default}`.",
        "",
    ]
    lines += ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    schema = json_schema()
    lines += [
        f"| `{path}` | {kind} | {default} | {text} |" for path, kind, default, text in _settings(schema, schema, "")
    ]
    return "\n".join(lines) + "\n"


def _settings(node: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[tuple[str, str, str, str]]:
    for name, entry in node.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        target = _followed(entry, schema)
        if target.get("type") == "array" and "$ref" in target.get("items", {}):
            yield here, "list", "empty", _text(entry)
            yield from _settings(_followed(target["items"], schema), schema, f"{here}[]")
        elif "properties" in target:
            yield from _settings(target, schema, here)
        else:
            default = f"`{json.dumps(entry['default'])}`" if entry.get("default") is not None else ""
            yield here, _type(entry), default, _text(entry)


def _followed(entry: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for option in entry.get("anyOf", [entry]):
        if "$ref" in option:
            found: dict[str, Any] = schema["$defs"][option["$ref"].rpartition("/")[2]]
            return found
    return entry


def _type(entry: dict[str, Any]) -> str:
    kinds = [option.get("type", "object") for option in entry.get("anyOf", [entry])]
    return " or ".join(kind for kind in kinds if kind != "null")


def _text(entry: dict[str, Any]) -> str:
    return str(entry.get("description", "")).replace("|", "\\|")


def commands() -> str:
    lines = ["# Commands", NOTE]
    for path, found in _walk(command, ("headgate",)):
        context = click.Context(found, info_name=" ".join(path))
        lines += ["", f"## {' '.join(path)}", "", "```", found.get_help(context), "```"]
    return "\n".join(lines) + "\n"


def _walk(found: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, found
    if isinstance(found, click.Group):
        context = click.Context(found)
        for name in found.list_commands(context):
            child = found.get_command(context, name)
            if child is not None:
                yield from _walk(child, (*path, name))


def routes() -> str:
    lines = [
        "# Routes",
        NOTE,
        "Model routes, each also without `/v1`:",
        "",
        "| route | body | streams |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| `POST /v1{surface.path}` | {'form' if surface.form else 'JSON'} | {_yes(surface.streams)} |"
        for surface in SURFACES
    ]
    lines += ["", "Control routes:", "", "| route | key | what |", "| --- | --- | --- |"]
    lines += [
        f"| `{methods} {path}` | {'no' if public else 'yes'} | {text} |" for methods, path, public, text in _controls()
    ]
    lines += ["", "Metrics at `GET /metrics`:", "", "| metric | labels | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {', '.join(labels) or 'none'} | {text} |" for name, text, labels in SERIES]
    return "\n".join(lines) + "\n"


def _controls() -> Iterator[tuple[str, str, bool, str]]:
    from headgate.api.routes import control_routes  # noqa: PLC0415

    class Shown:
        metrics_public = False
        reports = None
        list_price = None

    for route in control_routes(Shown()):  # type: ignore[arg-type]
        text = (route.handler.__doc__ or type(route.handler).__doc__ or "").strip().splitlines()[0]
        yield " ".join(route.methods), route.path, route.public, text


def tenant_settings() -> str:
    lines = [
        "# Settings of tenants",
        NOTE,
        "What `/v1/tenant/config` shows; see [settings.md](../settings.md). Of the levels, the last that says",
        "something wins: `builtin`, `process` (the setting of `headgate.yaml` named here), `yaml` (the tenant's own",
        "there), `db`.",
        "",
        "| setting | default | levels | process | at run time | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rules = {
        LOWER: "only lower",
        HIGHER: "only higher",
        STRICTER: "only stricter",
        BUDGETS: "only stricter",
        LESSER: "only less",
    }
    for one in REGISTRY.settings.values():
        default = f"`{json.dumps(one.default)}`" if one.default is not None else ""
        rule = (rules.get(one.narrowing, "only less") if one.narrowing else "free") if one.is_writable else "read-only"
        rule = f"up to `{one.ceiling}`" if one.ceiling else rule
        process = f"`{one.path}`" if one.path else ""
        cells = (f"`{one.key}`", default, ", ".join(one.levels), process, rule, one.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/errors.md": errors,
    "docs/reference/providers.md": providers,
    "docs/reference/configuration.md": configuration,
    "docs/reference/commands.md": commands,
    "docs/reference/routes.md": routes,
    "docs/reference/tenant-settings.md": tenant_settings,
    "conf/agent.schema.json": lambda: json.dumps(agent_schema(), indent=2) + "\n",
    "conf/headgate.schema.json": lambda: json.dumps(json_schema(), indent=2) + "\n",
}


def main() -> None:
    stale = []
    for name, write in PAGES.items():
        path = ROOT / name
        text = write()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    print(*(f"{'stale' if '--check' in sys.argv else 'written'}: {name}" for name in stale), sep="\n")
    sys.exit(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    main()
