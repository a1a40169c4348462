"""`headgate data …`: all that a running gateway keeps of a tenant or of one of its users."""

import shutil
import sys
from pathlib import Path

import click

from headgate.cli.remote import Remote, json_option, part, remote_options, show_json


@click.group("data")
def command() -> None:
    """Hand out or erase all that is kept of a tenant or of a user."""


@command.command("export")
@click.argument("tenant_id")
@click.option("--user", help="Only what is kept of this user.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file; else standard output.")
@remote_options
def export(remote: Remote, tenant_id: str, user: str | None, output: Path | None) -> None:
    """Write everything as JSON lines."""
    with remote.open("GET", _path(tenant_id, user)) as answer:
        if output is None:
            shutil.copyfileobj(answer, sys.stdout.buffer)
            return
        with output.open("wb") as file:
            shutil.copyfileobj(answer, file)
    with output.open("rb") as file:
        whole = file.read().rstrip().rpartition(b"\n")[2].startswith(b'{"type":"end"')
    if not whole:
        raise click.ClickException(f"The answer broke off: {output} does not hold everything.")


@command.command("delete")
@click.argument("tenant_id")
@click.option("--user", help="Only what is kept of this user.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@remote_options
def delete(remote: Remote, tenant_id: str, user: str | None, yes: bool, as_json: bool) -> None:
    """Erase everything, and end the keys. It cannot be undone."""
    whom = f"the tenant {tenant_id}" if user is None else f"the user {user} of the tenant {tenant_id}"
    if not yes:
        click.confirm(f"Erase all that is kept of {whom}?", abort=True)
    told = remote.call("DELETE", _path(tenant_id, user))
    if as_json:
        show_json(told)
        return
    for name, count in told["counts"].items():
        click.echo(f"{name:14} {count}")


def _path(tenant_id: str, user: str | None) -> str:
    return f"/admin/data/{part(tenant_id)}" + ("" if user is None else f"/{part(user)}")
