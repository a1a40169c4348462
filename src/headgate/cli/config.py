"""`headgate config …`: work with configuration files."""

import json

import click

from headgate.config.schema import json_schema


@click.group("config")
def command() -> None:
    """Work with configuration files."""


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of headgate.yaml, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
