"""`headgate completion`: what a shell needs to complete the command line."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion for a shell.

    For bash: headgate completion bash > ~/.local/share/bash-completion/completions/headgate
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    made = kind(ctx.find_root().command, {}, "headgate", "_HEADGATE_COMPLETE")
    click.echo(made.source_template % made.source_vars())
