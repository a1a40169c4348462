"""`headgate runs …`: runs of a running gateway, in flight and ended."""

from itertools import islice
from typing import Any

import click

from headgate.cli.remote import Remote, json_option, part, remote_options, show_json, show_table

_COLUMNS = ("id", "status", "model", "answered_by", "key", "tries", "duration_ms", "cost_usd", "error", "started_at")
_STATUSES = ("running", "completed", "failed", "cancelled", "disconnected")


@click.group("runs")
def command() -> None:
    """List, show and cancel runs of a running gateway."""


@command.command("list")
@click.option("--status", type=click.Choice(_STATUSES), help="Only in this state.")
@click.option("--model", help="Only of this model, asked for or answering.")
@click.option("--of-key", help="Only of the key with this id.")
@click.option("--tenant", help="Only of this tenant.")
@click.option("--user", help="Only of this user.")
@click.option("--since", metavar="DAY", help="From this day or moment on, as 2026-01-31 (UTC).")
@click.option("--until", metavar="DAY", help="Up to this day, which is part of it, or moment.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The most to list.")
@json_option
@remote_options
def list_(remote: Remote, of_key: str | None, limit: int, as_json: bool, **asked: Any) -> None:
    """List runs, the newest first."""
    pages = remote.pages("/v1/runs", limit=min(limit, 1000), key=of_key, **asked)
    found = list(islice(pages, limit))
    if as_json:
        show_json(found)
    else:
        show_table([name.upper() for name in _COLUMNS], [[run[name] for name in _COLUMNS] for run in found])


@command.command("show")
@click.argument("run_id")
@json_option
@remote_options
def show(remote: Remote, run_id: str, as_json: bool) -> None:
    """Show a run: its attempts, and why its targets were chosen."""
    run = remote.call("GET", f"/v1/runs/{part(run_id)}")
    if as_json:
        show_json(run)
        return
    for name in (*_COLUMNS, "tenant", "user", "first_token_ms", "prompt_tokens", "completion_tokens", "parent"):
        click.echo(f"{name:18} {'-' if run[name] in (None, '') else run[name]}")
    for model in run["decision"]["models"]:
        click.echo(f"\n{model['model']}: {model['rule']}")
        rows = [[one["place"], one["target"], one["result"], one["reason"]] for one in model["candidates"]]
        show_table(("PLACE", "TARGET", "RESULT", "REASON"), rows)
    click.echo()
    heads = ("number", "target", "outcome", "error", "queued_ms", "duration_ms")
    rows = [[one[name] for name in heads] for one in run["attempts"]]
    show_table([name.upper() for name in heads], rows)


@command.command("cancel")
@click.argument("run_id")
@json_option
@remote_options
def cancel(remote: Remote, run_id: str, as_json: bool) -> None:
    """Stop a run in flight; its caller gets an error that says so."""
    run = remote.call("POST", f"/v1/runs/{part(run_id)}/cancel")
    if as_json:
        show_json(run)
    else:
        click.echo(f"{run['id']} is {run['status']}")
