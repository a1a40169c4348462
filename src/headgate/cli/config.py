"""`headgate config …`: work with configuration files."""

import json
from pathlib import Path
from typing import Any

import click

from headgate.cli.findings import inexact, summary
from headgate.cli.options import options_of, settings_options
from headgate.config.draft import DEFAULT
from headgate.config.effective import effective
from headgate.config.load import draft_of, load
from headgate.config.native_writer import literal_secrets, to_yaml
from headgate.config.problems import ConfigError
from headgate.config.schema import json_schema


@click.group("config")
def command() -> None:
    """Work with configuration files."""


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of headgate.yaml, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with all defaults.")
@settings_options
def show(as_json: bool, **given: Any) -> None:
    """Print every setting in force, with its value and where it was set. Takes the flags of serve."""
    values = list(effective(load(given["file"], options_of(given))))
    if as_json:
        click.echo(json.dumps({one.path: {"value": one.value, "source": str(one.place)} for one in values}, indent=2))
        return
    for one in values:
        if one.place != DEFAULT or one.value not in (None, [], {}):
            text = one.value if isinstance(one.value, str) else json.dumps(one.value)
            click.echo(f"{one.path} = {text}  ({one.place})")


@command.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
def convert(file: Path) -> None:
    """Print a configuration of any known form as headgate.yaml."""
    draft = draft_of(file)
    if draft.problems:
        raise ConfigError(draft.problems)
    text = to_yaml(draft)
    for note in draft.notes:
        click.echo(f"note: {note}", err=True)
    for path in literal_secrets(draft):
        click.echo(f"warning: {path} holds a secret itself; a ${{VARIABLE}} in its place keeps it out.", err=True)
    if draft.findings:
        click.echo(f"{file}: {summary(draft.findings)}", err=True)
        for line in inexact(draft.findings):
            click.echo(f"  {line}", err=True)
    click.echo(text, nl=False)
