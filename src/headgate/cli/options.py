"""The flags that set something: one table for every command that takes them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Flag = tuple[tuple[str, ...], dict[str, Any]]

CONFIG: _Flag = (
    ("--config", "file"),
    {"type": click.Path(path_type=Path), "help": "Configuration file. [env: HEADGATE_CONFIG]"},
)
_FLAGS: tuple[_Flag, ...] = (
    CONFIG,
    (
        ("--model-spec",),
        {
            "multiple": True,
            "metavar": "SPEC",
            "help": "A model, as key=…,upstream=…[,alias=…][,base=…][,key_env=…][,reasoning=…]; may be repeated.",
        },
    ),
    (("--alias",), {"help": "Name under which the model of --model is offered."}),
    (("--model",), {"help": "The provider's id of a single model to offer."}),
    (("--upstream-base",), {"help": "Default address for such models. [env: OPENAI_BASE_URL]"}),
    (
        ("--upstream-key-env",),
        {"help": "Variable that holds the default key; blank for none. OPENAI_API_KEY if not given."},
    ),
    (("--master-key",), {"help": "The key with every right. [env: HEADGATE_MASTER_KEY]"}),
    (("--no-master-key",), {"is_flag": True, "help": "Ask for no key at all; on loopback only."}),
    (("--host",), {"help": "Address to listen on; 127.0.0.1 by default. [env: HEADGATE_HOST]"}),
    (("--port",), {"type": int, "help": "Port to listen on; 8000 by default, 0 for any. [env: HEADGATE_PORT]"}),
    (("--workers",), {"type": int, "help": "Processes that serve side by side. [env: HEADGATE_WORKERS]"}),
    (
        ("--reasoning-effort",),
        {"metavar": "LEVEL", "help": "Sent where neither caller nor model says; none for nothing."},
    ),
    (
        ("--drop-params/--no-drop-params",),
        {"default": None, "help": "Leave out fields that a model does not take, or pass them on."},
    ),
    (
        ("--streaming/--no-streaming",),
        {"default": None, "help": "Only what --print-config says; each request decides itself."},
    ),
    (("--debug",), {"is_flag": True, "help": "Log more, and show tracebacks."}),
    (("--detailed-debug",), {"is_flag": True, "help": "The same as --debug."}),
)


def settings_options(command: _Command) -> _Command:
    """Give a command all flags that set something; they come as keywords for `options_of`."""
    for names, attributes in reversed(_FLAGS):
        command = click.option(*names, **attributes)(command)
    return command


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags as `load` takes them. Raises click.UsageError for two that exclude each other."""
    options = {name: value for name, value in given.items() if name not in ("file", "detailed_debug", "no_master_key")}
    if given["no_master_key"] and given["master_key"] is not None:
        raise click.UsageError("--master-key and --no-master-key exclude each other.")
    context = click.get_current_context().find_root()
    options["debug"] = given["debug"] or given["detailed_debug"] or bool(context.params.get("debug")) or None
    options["auth_required"] = False if given["no_master_key"] else None
    return options
