"""`headgate tenants …`: tenants of a running gateway."""

import json
from typing import Any

import click

from headgate.cli.keys import fields_of
from headgate.cli.remote import Remote, json_option, part, remote_options, show_json, show_table

_COLUMNS = ("id", "name", "blocked", "source")


@click.group("tenants")
def command() -> None:
    """Make, list and change tenants of a running gateway."""


@command.command("create")
@click.argument("tenant_id")
@click.option("--name", help="A name for people.")
@click.option("--model", "allow", multiple=True, help="A model its keys may use; * stands for any text.")
@click.option("--deny", multiple=True, help="A model they may not use.")
@click.option("--rpm", type=click.IntRange(1), help="Requests per minute of all its keys.")
@click.option("--tpm", type=click.IntRange(1), help="Tokens per minute of all its keys.")
@click.option("--streams", type=click.IntRange(1), help="Streams at once of all its keys.")
@click.option("--budget", "budgets", multiple=True, help="USD and period, as 10/month, 5/day or 100.")
@click.option("--environment", help="What it is for, as dev, eval or prod.")
@click.option("--metadata", help="Anything else, as a JSON object.")
@json_option
@remote_options
def create(remote: Remote, tenant_id: str, name: str | None, as_json: bool, **given: Any) -> None:
    """Make a tenant."""
    named = {"name": name} if name else {}
    _told(remote.call("POST", "/admin/tenants", {"id": tenant_id, **named, **fields_of(given)}), as_json, "is there")


@command.command("list")
@json_option
@remote_options
def list_(remote: Remote, as_json: bool) -> None:
    """List tenants."""
    found = list(remote.pages("/admin/tenants"))
    if as_json:
        show_json(found)
    else:
        rows = [[str(tenant[name]) for name in _COLUMNS] for tenant in found]
        show_table([name.upper() for name in _COLUMNS], rows)


@command.command("show")
@click.argument("tenant_id")
@remote_options
def show(remote: Remote, tenant_id: str) -> None:
    """Print all that is known of a tenant, as JSON."""
    show_json(remote.call("GET", f"/admin/tenants/{part(tenant_id)}"))


@command.command("delete")
@click.argument("tenant_id")
@json_option
@remote_options
def delete(remote: Remote, tenant_id: str, as_json: bool) -> None:
    """Forget a tenant that has no keys."""
    _told(remote.call("DELETE", f"/admin/tenants/{part(tenant_id)}"), as_json, "is forgotten")


@command.group("config")
def config() -> None:
    """See and change settings of a tenant; without --tenant, of the key's own."""


@config.command("get")
@click.argument("setting", required=False)
@click.option("--tenant", help="Whose settings.")
@json_option
@remote_options
def get(remote: Remote, setting: str | None, tenant: str | None, as_json: bool) -> None:
    """Show all settings, or one: what holds, and where that was set."""
    path = "/v1/tenant/config" if setting is None else f"/v1/tenant/config/{part(setting)}"
    _show_settings(remote.call("GET", path, tenant=tenant), as_json)


@config.command("set")
@click.argument("setting")
@click.argument("value")
@click.option("--tenant", help="Whose settings.")
@json_option
@remote_options
def set_(remote: Remote, setting: str, value: str, tenant: str | None, as_json: bool) -> None:
    """Set one to a value: JSON, or a plain text."""
    body = {"value": _value(value)}
    _show_settings(remote.call("PUT", f"/v1/tenant/config/{part(setting)}", body, tenant=tenant), as_json)


@config.command("unset")
@click.argument("setting")
@click.option("--tenant", help="Whose settings.")
@json_option
@remote_options
def unset(remote: Remote, setting: str, tenant: str | None, as_json: bool) -> None:
    """Take the tenant's own value away, so that the one above it holds again."""
    _show_settings(remote.call("DELETE", f"/v1/tenant/config/{part(setting)}", tenant=tenant), as_json)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show_settings(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    found = answer["settings"].values() if "settings" in answer else [answer]
    rows = [[one["key"], json.dumps(one["value"]), one["source"], "yes" if one["writable"] else "no"] for one in found]
    show_table(("SETTING", "VALUE", "SOURCE", "WRITABLE"), rows)


def _told(tenant: dict[str, Any], as_json: bool, what: str) -> None:
    if as_json:
        show_json(tenant)
    else:
        click.echo(f"{tenant['id']} {what}")
