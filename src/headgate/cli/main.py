"""The command line: which commands there are. Each is loaded only when it is called, so that the rest feels instant."""

import gc
import importlib
import sys

import click

from headgate.core.errors import HeadgateError
from headgate.core.version import __version__

_COMMANDS = {
    "serve": "Start the gateway.",
    "check": "Tell everything that is wrong with a configuration.",
    "config": "Work with configuration files.",
    "keys": "Make, list and change keys of a running gateway.",
    "tenants": "Make, list and change tenants of a running gateway.",
    "runs": "List, show and cancel runs of a running gateway.",
    "audit": "Read and check the audit log of a running gateway.",
    "budgets": "Show what a running gateway's budgets have left.",
    "mcp": "Look at the MCP servers of a running gateway, and log in to them.",
    "demo-mcp": "Run a small MCP server with made-up tools, to try things out.",
    "data": "Hand out or erase all that is kept of a tenant or of a user.",
    "usage": "Show what a running gateway was used for and what it cost.",
    "launch": "Start a client, such as Claude Code or Codex, that talks to a running gateway.",
    "completion": "Print the completion for a shell.",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        gc.disable()  # what is imported stays: walking it again and again takes a tenth of a start
        try:
            command: click.Command = importlib.import_module(f"headgate.cli.{cmd_name.replace('-', '_')}").command
        finally:
            gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", "-V", prog_name="headgate")
@click.option("--debug", is_flag=True, help="Log more, and show tracebacks.")
@click.pass_context
def command(ctx: click.Context, debug: bool) -> None:
    """One gate in front of every model."""
    if ctx.invoked_subcommand is None:
        importlib.import_module("headgate.cli.status").show()


def main(args: list[str] | None = None) -> None:
    """Run a command. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration."""
    given = sys.argv[1:] if args is None else args
    ours = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:ours]
    try:
        # --debug may stand anywhere before `--`, also behind commands that do not know it
        args = ["--debug", *(arg for arg in given[:ours] if arg != "--debug"), *given[ours:]] if debug else given
        status = command.main(args=args, standalone_mode=False)  # what `ctx.exit` was given, else None
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        _explain(error)
    else:
        sys.exit(status)


def _explain(error: Exception) -> None:
    click.echo(f"error: {error}", err=True)
    if not isinstance(error, HeadgateError):
        click.echo("This is a fault of headgate; run again with --debug for the traceback.", err=True)
    sys.exit(2 if isinstance(error, HeadgateError) else 1)
