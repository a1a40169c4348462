"""`headgate audit …`: what operators did with a running gateway."""

import json
from itertools import islice
from typing import Any

import click

from headgate.cli.remote import Remote, json_option, remote_options, show_json, show_table

_HEADS = ("SEQ", "AT", "BY", "FROM", "ACTION", "OBJECT", "OUTCOME")


@click.group("audit")
def command() -> None:
    """Read and check the audit log of a running gateway."""


@command.command("list")
@click.option("--action", help="Only this act, as key.created.")
@click.option("--by", "key", help="Only of the key with this id.")
@click.option("--object", "object", help="Only of the object with this id.")
@click.option("--tenant", help="Only of objects of this tenant.")
@click.option("--outcome", type=click.Choice(["done", "refused", "failed"]))
@click.option("--since", metavar="DAY", help="From this day or moment on, as 2026-01-31 (UTC).")
@click.option("--until", metavar="DAY", help="Up to this day, which is part of it, or moment.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The most to list.")
@json_option
@remote_options
def list_(remote: Remote, limit: int, as_json: bool, **asked: Any) -> None:
    """List acts, the newest first."""
    found = list(islice(remote.pages("/admin/audit", limit=min(limit, 1000), **asked), limit))
    if as_json:
        show_json(found)
    else:
        show_table(_HEADS, [_row(act) for act in found])


@command.command("verify")
@json_option
@remote_options
def verify(remote: Remote, as_json: bool) -> None:
    """Check that no row was altered, removed, put in or cut off; exit code 1 if one was."""
    verdict = remote.call("GET", "/admin/audit/verify")
    if as_json:
        show_json(verdict)
    else:
        click.echo(verdict["message"])
    if not verdict["ok"]:
        click.get_current_context().exit(1)


@command.command("export")
@click.option("--since", metavar="DAY", help="From this day or moment on, as 2026-01-31 (UTC).")
@click.option("--until", metavar="DAY", help="Up to this day, which is part of it, or moment.")
@remote_options
def export(remote: Remote, **asked: Any) -> None:
    """Print every act as a line of JSON, the oldest first, with the hashes that chain them."""
    for act in remote.pages("/admin/audit", limit=1000, order="asc", **asked):
        click.echo(json.dumps(act, ensure_ascii=False))


def _row(act: dict[str, Any]) -> list[object]:
    by, target = act["by"], act["target"]
    outcome = f"{act['outcome']}: {act['error']}" if act["error"] else act["outcome"]
    return [act["id"], act["at"], by["key"], by["address"], act["action"], f"{target['kind']} {target['id']}", outcome]
