"""`headgate launch`: start a client that talks to the gateway. Only the child process is told; no file of its user's
is written or changed.
"""

import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from headgate.cli.clients import CLIENTS, KEY, Client, Where
from headgate.cli.remote import Remote, part, place_of
from headgate.config.load import read_variables

_MOST_NAMES = 20
_NO_KEY = "no-key"
"""What clients are given that want a key, where the gateway asks for none."""


@click.command("launch", epilog="Everything after -- goes to the client: headgate launch claude -- -p 'Say hello'")
@click.argument("name", metavar="CLIENT", type=click.Choice(tuple(CLIENTS)))
@click.argument("given", metavar="[-- ARGUMENT...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--model", help="The model to ask for; may be left out where there is but one, or the client has a menu.")
@click.option("--url", help="Address of the gateway; else HEADGATE_URL, or this machine's port 8000.")
@click.option("--key-env", metavar="NAME", help="Variable that holds the key; else as for all commands.")
@click.option("--print", "shows", is_flag=True, help="Print the command for a shell, without starting anything.")
@click.option("--show-key", is_flag=True, help="With --print: print the key itself.")
@click.pass_context
def command(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    name: str,
    given: tuple[str, ...],
    model: str | None,
    url: str | None,
    key_env: str | None,
    shows: bool,
    show_key: bool,
) -> None:
    """Start a client that talks to the gateway; its own settings stay as they are.

    CLIENT is claude, codex, opencode, aider, llm, continue, cline, or any, with the program named after `--`.
    """
    client = CLIENTS[name]
    program, arguments = (client.program, given) if client.program else (given[0] if given else "", given[1:])
    if not program:
        raise click.UsageError("Name the program after --: headgate launch any -- python3 my_script.py")
    where = _where(client, url, _key(key_env), model or "")
    if shows:
        where = replace(where, file=f"headgate-{name}/{client.file_name}")
        _print(client, where, [program, *client.arguments(where), *arguments], show_key=show_key)
        return
    found = shutil.which(program)
    if found is None:
        how = f" Install it with: {client.install}" if client.install else ""
        raise click.ClickException(f"There is no program '{program}' on the PATH.{how}")
    with _with_file(client, where) as where:
        ctx.exit(_run([found, *client.arguments(where), *arguments], _environment(client, where)))


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = read_variables().get(variable)
    if not key:
        raise click.UsageError(f"The variable {variable} of --key-env is not set.")
    return key


def _where(client: Client, url: str | None, key: str | None, model: str) -> Where:
    """Asks the gateway, so that a wrong address, key or model is told before the client starts."""
    url, found = place_of(url, key)
    remote = Remote(url, found or _NO_KEY)
    listed = [one["id"] for one in remote.call("GET", "/v1/models")["data"]]
    names = [name for name in listed if "*" not in name]
    if model:
        remote.call("GET", f"/v1/models/{part(model)}")
    elif len(names) == 1:
        model = names[0]
    elif not client.chooses and not any(name.rpartition("/")[2].startswith(client.knows or "/") for name in names):
        known = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        raise click.UsageError(f"Choose with --model, from: {known or 'nothing, for this key may use no model'}.")
    return Where(remote.url, found or _NO_KEY, model, list(dict.fromkeys([*names, *([model] if model else ())])))


@contextmanager
def _with_file(client: Client, where: Where) -> Iterator[Where]:
    """The client's file lies in a folder that only its user may read, for as long as the client runs."""
    if client.file is None:
        yield where
        return
    with tempfile.TemporaryDirectory(prefix="headgate-") as folder:
        path = Path(folder) / client.file_name
        path.write_text(client.file(where))
        yield replace(where, file=str(path))


def _environment(client: Client, where: Where) -> dict[str, str]:
    kept = {name: value for name, value in read_variables().environment.items() if name not in client.unset}
    return {**kept, **client.variables(where)}


def _run(program: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit code. What is typed to interrupt is meant for the client, which has the terminal."""
    try:
        child = subprocess.Popen(program, env=environment)  # noqa: S603 - the client that the caller named
    except OSError as error:
        raise click.ClickException(f"{program[0]} cannot be started: {error.strerror}.") from None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        code = child.wait()
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    return code if code >= 0 else 128 - code


def _print(client: Client, where: Where, program: Sequence[str], *, show_key: bool) -> None:
    """Lines to paste into a shell. The key is the variable that commands take it from, unless it may be shown."""
    is_hidden = not show_key and where.key != _NO_KEY
    if client.file is not None:
        content = client.file(where)
        has_key = where.key in content and is_hidden
        end, content = ("END", content.replace(where.key, f"${KEY}")) if has_key else ("'END'", content)
        click.echo(f"mkdir -p {Path(where.file).parent}\ncat > {where.file} <<{end}\n{content}END")
    cleared = [part for name in client.unset for part in ("-u", name)]
    variables = [
        f'{name}="${KEY}"' if value == where.key and is_hidden else f"{name}={shlex.quote(value)}"
        for name, value in client.variables(where).items()
    ]
    click.echo(" \\\n  ".join([shlex.join(["env", *cleared]), *variables, shlex.join(program)]))
