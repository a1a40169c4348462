"""`headgate usage`: what a running gateway was used for and what it cost."""

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from headgate.cli.remote import Remote, json_option, remote_options, show_json, show_table

_BY = ("key", "tenant", "user", "model", "target", "component", "tag", "day")
_COUNTS = ("requests", "attempts", "failed", "prompt", "cached", "completion", "unpriced", "estimated")


class _ShowByDefault(click.Group):
    """`headgate usage` alone, or with options, shows it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group("usage", cls=_ShowByDefault)
def command() -> None:
    """Show what was used and what it cost, or compare it with a provider's export."""


@command.command("show")
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
def show(remote: Remote, by: str, as_csv: bool, as_json: bool, **given: str | None) -> None:
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


@command.command("reconcile")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--upstream", "upstreams", multiple=True, help="Only what went through this upstream; may be repeated.")
@click.option("--tolerance", default="0", show_default=True, metavar="PERCENT", help="What numbers may differ by.")
@click.option("--all", "show_all", is_flag=True, help="Also show the lines that agree.")
@json_option
@remote_options
def reconcile(remote: Remote, file: Path, show_all: bool, as_json: bool, **given: Any) -> None:
    """Compare a provider's export of usage or costs with the ledger, line by line.

    FILE is OpenAI's or Anthropic's export as JSON or CSV, or any CSV with the columns `date` (or `start` and `end`, or
    `run`), `model` and some of `prompt`, `completion`, `cached`, `cache_write`, `cost_usd`. The exit code is 0 if all
    agrees, else 1.
    """
    path = "/admin/usage/reconcile"
    asked = {"tolerance": given["tolerance"], "upstream": list(given["upstreams"]) or None}
    report = remote.call("POST", path, file.read_bytes(), **asked)
    if as_json:
        show_json(report)
    else:
        _show_reconciled(report, show_all=show_all)
    click.get_current_context().exit(0 if report["agrees"] else 1)


def _show_reconciled(report: dict[str, Any], *, show_all: bool) -> None:
    rows = [
        [
            line["verdict"].replace("_", " "),
            ",".join(map(str, line["lines"])),
            line["run"] or line["from"],
            line["model"] or "all",
            *_told(line),
        ]
        for line in report["lines"]
        if show_all or line["verdict"] != "matched"
    ]
    if rows:
        show_table(["VERDICT", "LINES", "FROM", "MODEL", "HERE", "THERE"], rows)
    counts = ("matched", "differing", "missing_here", "missing_there")
    click.echo(", ".join(f"{report[name]} {name.replace('_', ' ')}" for name in counts) + ".")
    here, there = report["sums"]["here"], report["sums"]["there"]
    for name in ("prompt", "completion", "usd"):
        click.echo(f"{name}: {here[name]} here, {there[name]} there")


def _told(line: dict[str, Any]) -> tuple[str, str]:
    """What differs, or all that there is where one side has nothing."""
    if line["differences"]:
        here, there = (
            " ".join(f"{one['what']}={one[side]}" for one in line["differences"]) for side in ("here", "there")
        )
        return here, there
    sides = (line["here"], line["there"] or {})
    here, there = (
        " ".join(f"{name}={side[name]}" for name in ("prompt", "completion", "usd") if side.get(name) is not None)
        for side in sides
    )
    return here, there


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
