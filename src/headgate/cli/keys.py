"""`headgate keys …`: keys of a running gateway."""

import json
from collections.abc import Callable
from typing import Any

import click

from headgate.cli.remote import Remote, json_option, part, remote_options, show_json, show_table

ENVIRONMENTS = ("dev", "eval", "prod")
_COLUMNS = ("id", "alias", "tenant", "user", "state", "models", "budgets", "expires_at")


@click.group("keys")
def command() -> None:
    """Make, list and change keys of a running gateway."""


def fields_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What may be set of a key."""
    for option in reversed(
        (
            click.option("--alias", help="A name, unique in its tenant."),
            click.option("--user", help="The user it belongs to."),
            click.option("--scope", "scopes", multiple=True, help="A right beyond calling models, as keys:read."),
            click.option("--model", "allow", multiple=True, help="A model it may use; * stands for any text."),
            click.option("--deny", multiple=True, help="A model it may not use."),
            click.option("--rpm", type=click.IntRange(1), help="Requests per minute."),
            click.option("--tpm", type=click.IntRange(1), help="Tokens per minute."),
            click.option("--streams", type=click.IntRange(1), help="Streams at once."),
            click.option("--budget", "budgets", multiple=True, help="USD and period, as 10/month, 5/day or 100."),
            click.option("--environment", help="What it is for, as dev, eval or prod."),
            click.option("--tag", "tags", multiple=True, help="A tag for every request."),
            click.option("--metadata", help="Anything else, as a JSON object."),
            click.option("--expires", help="After a time, as 30d, or at an instant, as 2030-01-01T00:00:00Z."),
        )
    ):
        function = option(function)
    return function


@command.command("create")
@click.option("--tenant", help="Whose key it is.")
@fields_options
@json_option
@remote_options
def create(remote: Remote, as_json: bool, **given: Any) -> None:
    """Make a key and print it. It is shown this once."""
    _issued(remote.call("POST", "/admin/keys", fields_of(given)), as_json)


@command.command("list")
@click.option("--tenant")
@click.option("--user")
@click.option("--alias")
@click.option("--state", type=click.Choice(["active", "blocked", "expired", "revoked"]))
@json_option
@remote_options
def list_(remote: Remote, as_json: bool, **asked: Any) -> None:
    """List keys."""
    found = list(remote.pages("/admin/keys", limit=1000, **asked))
    if as_json:
        show_json(found)
    else:
        show_table([name.upper() for name in _COLUMNS], [[_cell(key, name) for name in _COLUMNS] for key in found])


@command.command("show")
@click.argument("key_id")
@remote_options
def show(remote: Remote, key_id: str) -> None:
    """Print all that is known of a key, as JSON."""
    show_json(remote.call("GET", f"/admin/keys/{part(key_id)}"))


@command.command("update")
@click.argument("key_id")
@fields_options
@json_option
@remote_options
def update(remote: Remote, key_id: str, as_json: bool, **given: Any) -> None:
    """Change what is given; an empty text empties a list."""
    _changed(remote.call("PATCH", f"/admin/keys/{part(key_id)}", fields_of(given)), as_json)


@command.command("setup")
@click.argument("environments", nargs=-1)
@click.option("--tenant", default="default", show_default=True, help="Whose keys they are.")
@json_option
@remote_options
def setup(remote: Remote, environments: tuple[str, ...], tenant: str, as_json: bool) -> None:
    """Make a key for each environment, dev, eval and prod if none is named, and print them as variables.

    They have no budget and no limits of their own. A key that is there already stays as it is.
    """
    listed = remote.pages("/admin/keys", limit=1000, tenant=tenant)
    there = {key["alias"] for key in listed if key["state"] != "revoked"}
    made = {}
    for name in environments or ENVIRONMENTS:
        if name in there:
            click.echo(f"The tenant {tenant} has a key {name} already.", err=True)
            continue
        body = {"alias": name, "tenant": tenant, "environment": name}
        made[name] = remote.call("POST", "/admin/keys", body)
        if not as_json:  # at once: should a later one fail, this one is shown nowhere else
            click.echo(f"HEADGATE_{name.upper().replace('-', '_')}_KEY={made[name]['key']}")
    if as_json:
        show_json(made)


@command.command("rotate")
@click.argument("key_id")
@click.option("--grace", help="How long the old text is still good; 1h if not given, 0s for not at all.")
@json_option
@remote_options
def rotate(remote: Remote, key_id: str, grace: str | None, as_json: bool) -> None:
    """Give a key a new text and print it. It is shown this once."""
    body = {"grace": grace} if grace else {}
    _issued(remote.call("POST", f"/admin/keys/{part(key_id)}/rotate", body), as_json)


@command.command("block")
@click.argument("key_id")
@json_option
@remote_options
def block(remote: Remote, key_id: str, as_json: bool) -> None:
    """Shut a key out until it is unblocked."""
    _changed(remote.call("POST", f"/admin/keys/{part(key_id)}/block"), as_json)


@command.command("unblock")
@click.argument("key_id")
@json_option
@remote_options
def unblock(remote: Remote, key_id: str, as_json: bool) -> None:
    """Let a blocked key in again."""
    _changed(remote.call("POST", f"/admin/keys/{part(key_id)}/unblock"), as_json)


@command.command("revoke")
@click.argument("key_id")
@json_option
@remote_options
def revoke(remote: Remote, key_id: str, as_json: bool) -> None:
    """End a key for good."""
    _changed(remote.call("POST", f"/admin/keys/{part(key_id)}/revoke"), as_json)


def fields_of(given: dict[str, Any]) -> dict[str, Any]:
    """Options as fields of the API: what was not given is left out, an empty text takes away."""
    fields: dict[str, Any] = {
        name: given[name] for name in ("alias", "user", "tenant", "environment") if given.get(name) is not None
    }
    fields |= {name: _without_empty(given[name]) for name in ("scopes", "tags") if given.get(name)}
    lists = {name: given[name] for name in ("allow", "deny") if given.get(name)}
    if lists:
        fields["models"] = {name: _without_empty(texts) for name, texts in lists.items()}
    rates = (("requests_per_minute", "rpm"), ("tokens_per_minute", "tpm"), ("streams", "streams"))
    if rate := {name: given[option] for name, option in rates if given.get(option)}:
        fields["rate"] = rate
    if given.get("budgets"):
        fields["budgets"] = [_budget(text) for text in _without_empty(given["budgets"])]
    if given.get("metadata") is not None:
        fields["metadata"] = _object(given["metadata"])
    if given.get("expires") is not None:
        end = given["expires"]
        fields["expires_at" if "T" in end or not end else "expires_in"] = end or None
    return fields


def _without_empty(texts: tuple[str, ...]) -> list[str]:
    return [text for text in texts if text]


def _budget(text: str) -> dict[str, Any]:
    usd, _, period = text.partition("/")
    return {"usd": usd, "period": period or "total"}


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise click.UsageError("--metadata takes a JSON object.")
    return found


def _issued(key: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(key)
        return
    click.echo(key["key"])
    click.echo(f"{key['id']} of tenant {key['tenant']}. Keep the key: it is not shown again.", err=True)


def _changed(key: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(key)
    else:
        click.echo(f"{key['id']} is {key['state']}")


def _cell(key: dict[str, Any], name: str) -> str:
    value = key[name]
    if name == "models":
        return ", ".join([*value["allow"], *(f"not {text}" for text in value["deny"])])
    if name == "budgets":
        return ", ".join(f"{one['usd']:g}/{one['period']}" for one in value)
    return str(value or "")
