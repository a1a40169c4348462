"""`headgate serve`: read the configuration, start the local model and the workers, say where everything is."""

import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvloop
import yaml

from headgate import app
from headgate.api.server import listen
from headgate.cli.banner import banner
from headgate.cli.findings import inexact, summary
from headgate.cli.options import options_of, settings_options
from headgate.cli.workers import Supervisor
from headgate.config.litellm_writer import to_litellm
from headgate.config.load import Loaded, load
from headgate.config.tree import Settings
from headgate.core.errors import StartupError

_GREETING_SECONDS = 2.0


@click.command("serve")
@settings_options
@click.option("--insecure", is_flag=True, help="Accept weak keys, or none, on any address.")
@click.option("--print-config", is_flag=True, help="Print the configuration in LiteLLM's form, without starting.")
def command(insecure: bool, print_config: bool, **given: Any) -> None:
    """Start the gateway."""
    loaded = load(given["file"], options_of(given))
    _tell_what_was_read(loaded)
    if print_config:
        written = to_litellm(loaded)
        for comment in written.comments:
            _say(f"# {comment}")
        click.echo(yaml.safe_dump(written.data, sort_keys=False, allow_unicode=True), nl=False)
    else:
        _start(loaded, insecure=insecure)


def _tell_what_was_read(loaded: Loaded) -> None:
    """Notes, and of a foreign format what is not honoured as it stands there."""
    for note in loaded.draft.notes:
        _say(f"note: {note}")
    if loaded.draft.findings:
        _say(f"{loaded.file}: {summary(loaded.draft.findings)}")
        for line in inexact(loaded.draft.findings):
            _say(f"  {line}")


def _start(loaded: Loaded, *, insecure: bool) -> None:
    settings = loaded.settings
    with _local_models(settings) as processes:
        addresses = {name: process.address for name, process in processes.items()}
        prepared = app.prepare(loaded, addresses, insecure=insecure)
        try:
            listening = listen(settings.server.host, settings.server.port)
        except OSError as error:
            where = f"{settings.server.host}:{settings.server.port}"
            raise StartupError(f"Cannot listen on {where}: {error.strerror}. Choose another --port.") from None
        ready = banner(loaded, prepared.keys[0][0], listening.getsockname()[1])
        greet = partial(_greet, ready, processes.values())
        if settings.server.workers == 1:
            uvloop.run(app.serve(prepared, listening, greet))
        else:
            uvloop.run(app.bring_up_to_date(prepared))
            with _metrics_folder(loaded.data_dir) as folder:
                Supervisor(replace(prepared, metrics_folder=folder), listening, greet).run()


@contextmanager
def _local_models(settings: Settings) -> Iterator[dict[str, app.LocalProcess]]:
    processes = app.local_processes(settings, lambda text: _say(f"  {text}"))
    for name, process in processes.items():
        _say(f"  loading local model '{name}' …")
        process.start()
    try:
        yield processes
    finally:
        for process in processes.values():
            process.stop()


def _greet(text: str, models: Iterable[app.LocalProcess]) -> None:
    """Say that the gateway is ready; last, so that the call to paste is the last thing seen, if models load quickly."""

    def say_when_models_are_known() -> None:
        for model in models:
            model.tried.wait(_GREETING_SECONDS)
        _say(text)

    threading.Thread(target=say_when_models_are_known, daemon=True).start()


@contextmanager
def _metrics_folder(data_dir: Path) -> Iterator[Path]:
    run = data_dir / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=run))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _say(text: str) -> None:
    click.echo(text, err=True)
