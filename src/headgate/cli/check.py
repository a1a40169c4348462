"""`headgate check`: everything that is wrong with a configuration, at once."""

import asyncio
import importlib
from collections.abc import Sequence
from pathlib import Path

import click

from headgate.cli.findings import summary, table
from headgate.cli.options import CONFIG
from headgate.config.load import gather, settle
from headgate.config.problems import ConfigError, Problem


@click.command("check")
@click.option(*CONFIG[0], **CONFIG[1])
@click.option("--quiet", is_flag=True, help="Of a LiteLLM file, show only the fields that are not honoured exactly.")
@click.option("--probe", is_flag=True, help="Also ask each upstream whether it is there and has the models.")
@click.pass_context
def command(ctx: click.Context, file: Path | None, quiet: bool, probe: bool) -> None:
    """Tell everything that is wrong with a configuration. Exits with 2 when something is."""
    try:
        gathered = gather(file)
        findings = gathered.draft.findings
        for line in table(findings, quiet=quiet):
            click.echo(line)
        for note in gathered.draft.notes:
            click.echo(f"note: {note}", err=True)
        loaded = settle(gathered)
    except ConfigError as error:
        _tell(ctx, error.problems)
        return
    if probe:
        probing = importlib.import_module("headgate.cli.probe")  # brings the whole gateway
        if problems := asyncio.run(probing.problems_of(loaded)):
            _tell(ctx, problems)
    settings = loaded.settings
    where = loaded.file or "the environment"
    if findings:
        click.echo(summary(findings), err=True)
    agents = f", {len(settings.agents)} agents" if settings.agents else ""
    click.echo(f"{where}: good; {len(settings.upstreams)} upstreams, {len(settings.models)} models{agents}", err=True)


def _tell(ctx: click.Context, problems: Sequence[Problem]) -> None:
    for problem in problems:
        click.echo(str(problem))
    click.echo(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}", err=True)
    ctx.exit(2)
