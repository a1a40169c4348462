"""`headgate serve`: read the configuration, start the local model and the workers, say where everything is."""

import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import uvloop

from headgate import app
from headgate.api.server import listen
from headgate.cli.banner import banner
from headgate.cli.workers import Supervisor
from headgate.config.load import load
from headgate.config.tree import Settings
from headgate.core.errors import StartupError

_GREETING_SECONDS = 2.0


@click.command("serve")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file. [env: HEADGATE_CONFIG]")
@click.option("--host", help="Address to listen on; 127.0.0.1 by default. [env: HEADGATE_HOST]")
@click.option("--port", type=int, help="Port to listen on; 8000 by default, 0 for any. [env: HEADGATE_PORT]")
@click.option("--workers", type=int, help="Processes that serve side by side. [env: HEADGATE_WORKERS]")
@click.option("--insecure", is_flag=True, help="Accept weak keys, or none, on any address.")
def command(file: Path | None, host: str | None, port: int | None, workers: int | None, insecure: bool) -> None:
    """Start the gateway."""
    loaded = load(file, {"host": host, "port": port, "workers": workers})
    for note in loaded.notes:
        _say(f"note: {note}")
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
