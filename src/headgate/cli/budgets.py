"""`headgate budgets …`: what a running gateway's budgets have left."""

from typing import Any

import click

from headgate.cli.remote import Remote, json_option, remote_options, show_json, show_table

_KINDS = ("key", "user", "tenant", "model")
_PERIODS = ("day", "week", "month", "total")


@click.group("budgets")
def command() -> None:
    """Show what a running gateway's budgets have left."""


@command.command("list")
@click.option("--kind", type=click.Choice(_KINDS), help="Only of keys, users, tenants or models.")
@click.option("--tenant", help="Only of this tenant.")
@click.option("--period", type=click.Choice(_PERIODS), help="Only of this period.")
@json_option
@remote_options
def list_(remote: Remote, as_json: bool, **asked: str | None) -> None:
    """List all budgets: what is used and left of each, and when its period ends."""
    _told(list(remote.pages("/admin/budgets", **asked)), as_json)


@command.command("show")
@click.argument("subject")
@json_option
@remote_options
def show(remote: Remote, subject: str, as_json: bool) -> None:
    """Show the budgets of one subject: key:ID, user:TENANT/USER, tenant:ID or model:NAME."""
    found = list(remote.pages("/admin/budgets", subject=subject))
    if not found:
        raise click.ClickException(f"'{subject}' has no budget. Subjects are written as key:ID or tenant:ID.")
    _told(found, as_json)


def _told(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    heads = ("SUBJECT", "PERIOD", "KIND", "BUDGET USD", "SPENT USD", "RESERVED USD", "LEFT USD", "RESETS AT")
    show_table(heads, [_row(one) for one in found])


def _row(one: dict[str, Any]) -> list[object]:
    amounts = [round(float(one[f"{name}_usd"]), 6) for name in ("budget", "spent", "reserved", "left")]
    return [one["subject"], one["period"], "hard" if one["hard"] else "soft", *amounts, one["resets_at"]]
