"""`headgate usage`: what a running gateway was used for and what it cost."""

import shutil
import sys
from typing import Any

import click

from headgate.cli.remote import Remote, json_option, remote_options, show_json, show_table

_BY = ("key", "tenant", "user", "model", "target", "component", "tag", "day")
_COUNTS = ("requests", "attempts", "failed", "prompt", "cached", "completion", "unpriced", "estimated")


@click.command("usage")
@click.option("--by", type=click.Choice(_BY), default="model", show_default=True, help="What to sum up by.")
@click.option("--from", "since", metavar="DAY", help="From this day or moment on, as 2026-01-31 (UTC).")
@click.option("--to", "until", metavar="DAY", help="Up to this day, which is part of it, or moment.")
@click.option("--of-key", help="Only of the key with this id.")
@click.option("--tenant", help="Only of this tenant.")
@click.option("--user", help="Only of this user.")
@click.option("--model", help="Only of this model.")
@click.option("--csv", "as_csv", is_flag=True, help="Every attempt, as CSV.")
@json_option
@remote_options
def command(remote: Remote, by: str, as_csv: bool, as_json: bool, **given: str | None) -> None:
    """Show what was used and what it cost."""
    asked: dict[str, Any] = {
        "from": given["since"],
        "to": given["until"],
        "key": given["of_key"],
        **{name: given[name] for name in ("tenant", "user", "model")},
    }
    if as_csv:
        with remote.open("GET", "/admin/usage/export", format="csv", **asked) as answer:
            shutil.copyfileobj(answer, sys.stdout.buffer)
        return
    report = remote.call("GET", "/admin/usage", by=by, **asked)
    if as_json:
        show_json(report)
    else:
        _show(report)


def _show(report: dict[str, Any]) -> None:
    money = ["cost_usd", "billed_usd", *(["billed_eur"] if report["eur_per_usd"] else [])]
    rows = [[row["name"], *_numbers(row, money)] for row in report["rows"]]
    total = ["total", *_numbers(report["total"], money)]
    heads = [name.upper().replace("_", " ") for name in (report["by"], *_COUNTS, *money)]
    show_table(heads, [*rows, total])
    if report["total"]["unpriced"]:
        click.echo("Attempts without a known price are not in the cost; set `price` for their models.", err=True)


def _numbers(row: dict[str, Any], money: list[str]) -> list[int | float]:
    return [row[name] for name in _COUNTS] + [round(float(row[name] or 0), 6) for name in money]
