"""`headgate tenants …`: tenants of a running gateway."""

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


def _told(tenant: dict[str, Any], as_json: bool, what: str) -> None:
    if as_json:
        show_json(tenant)
    else:
        click.echo(f"{tenant['id']} {what}")
