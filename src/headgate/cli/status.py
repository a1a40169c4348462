"""The bare command: what was found, and the next step."""

import click

from headgate.config import environment
from headgate.config.discovery import has_packaged_model
from headgate.config.load import data_dir, find_file, read_variables
from headgate.core.version import __version__
from headgate.upstreams.registry import PROVIDERS


def show() -> None:
    """Say what `headgate serve` would start with."""
    variables = read_variables()
    file = find_file(None, variables)
    keys = [name for row in PROVIDERS.values() for name in row.key_variables if variables.get(name)]
    click.echo(f"headgate {__version__}, one gate in front of every model")
    click.echo(f"  config       {file or 'none (looked for ./headgate.yaml and the user folder)'}")
    models = environment.model_keys(variables)
    if models and not file:
        click.echo(f"  models       {', '.join(models)} of the environment")
    click.echo(f"  keys         {', '.join(keys) or 'none in the environment'}")
    click.echo(f"  local model  {'installed' if has_packaged_model() else 'not installed'}")
    click.echo(f"  data         {data_dir(variables)}")
    click.echo()
    if file or keys or models or has_packaged_model():
        click.echo("Next: headgate serve")
    else:
        click.echo(
            "Next: set a provider's key, such as OPENAI_API_KEY, or install the local model, then: headgate serve"
        )
    click.echo("All commands: headgate --help")
