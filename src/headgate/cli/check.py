"""`headgate check`: everything that is wrong with a configuration, at once."""

from pathlib import Path

import click

from headgate.config.load import load
from headgate.config.problems import ConfigError


@click.command("check")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file. [env: HEADGATE_CONFIG]")
@click.pass_context
def command(ctx: click.Context, file: Path | None) -> None:
    """Tell everything that is wrong with a configuration. Exits with 2 when something is."""
    try:
        loaded = load(file)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem))
        click.echo(f"{len(error.problems)} problem{'s' if len(error.problems) > 1 else ''}", err=True)
        ctx.exit(2)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    settings = loaded.settings
    where = loaded.file or "the environment"
    click.echo(f"{where}: good; {len(settings.upstreams)} upstreams, {len(settings.models)} models", err=True)
