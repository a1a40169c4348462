"""What a worker needs to serve: settings that were read once, and the keys settled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from headgate.config.load import Loaded
from headgate.config.tree import Settings
from headgate.core.errors import StartupError
from headgate.identity.keys import kept_secret, new_key, refuse_weak
from headgate.upstreams.local import LocalProcess
from headgate.upstreams.types import LocalAddress, LocalSettings

__all__ = ["Prepared", "Source", "is_loopback", "local_processes", "prepare"]


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration file, None where there is none, and the options of the command line."""

    file: Path | None
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a worker needs to serve; crosses a process boundary, so it holds plain values only."""

    settings: Settings
    keys: tuple[tuple[str, bool], ...]
    """(key, whether it is the master key)"""
    pepper: bytes
    local: Mapping[str, LocalAddress]
    metrics_folder: Path | None = None
    data_dir: Path | None = None
    """Where keys and the ledger are kept; None to keep nothing."""
    source: Source | None = None
    """What the settings were read from; None for settings that were given as values."""


def prepare(loaded: Loaded, local: Mapping[str, LocalAddress], *, insecure: bool = False) -> Prepared:
    """Settle the keys. Raises StartupError for weak keys or no keys where others could reach us."""
    settings = loaded.settings
    auth = settings.auth
    given = auth.master_key.get_secret_value() if auth.master_key else None
    master = given or kept_secret(loaded.data_dir / "master.key", new_key())
    keys = ((master, True), *((token.get_secret_value(), False) for token in auth.tokens))
    if not is_loopback(settings.server.host) and not insecure:
        if not auth.required:
            raise StartupError(
                f"Without keys the gateway listens on loopback only, not on {settings.server.host}. "
                "Set REQUIRE_AUTH=true, or pass --insecure if the network itself keeps others out."
            )
        refuse_weak((f"The {'master key' if is_master else 'token'}", key) for key, is_master in keys)
        refuse_weak(
            (f"A key of tenant '{one.id}'", key.get_secret_value()) for one in settings.tenants for key in one.keys
        )
    pepper = kept_secret(loaded.data_dir / "pepper", new_key()).encode()
    source = Source(loaded.file.absolute() if loaded.file else None, loaded.options)
    return Prepared(settings, keys, pepper, local, data_dir=loaded.data_dir, source=source)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_processes(settings: Settings, tell: Callable[[str], None]) -> dict[str, LocalProcess]:
    """The local models' processes by upstream name, not started yet; raises StartupError when one cannot run."""
    return {
        one.name: LocalProcess(one.name, one.local or LocalSettings(), tell)
        for one in settings.upstreams
        if one.provider == "local"
    }
