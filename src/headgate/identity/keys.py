"""Keys: recognised by a keyed hash, never kept as text. Knows no HTTP and no files but the two it keeps itself.

A stolen table of hashes opens nothing without the pepper (HMAC-SHA-256, RFC 2104), which lies beside the database and
not in it.
"""

import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from headgate.core.errors import InvalidAuthorization, MissingAuthorization, StartupError
from headgate.core.principal import ANYONE, Principal

_WELL_KNOWN = frozenset(("sk-1234", "sk-local-master", "changeme", "secret", "password", "test", "master"))
_SHORTEST = 16


class KeyRing:
    """The keys in force."""

    def __init__(self, pepper: bytes, *, required: bool = True) -> None:
        self._pepper = pepper
        self._required = required
        self._holders: dict[bytes, Principal] = {}

    def add(self, key: str, *, is_admin: bool = False) -> Principal:
        digest = self._digest(key.encode())
        who = Principal(f"key_{digest.hex()[:12]}", is_admin)
        self._holders[digest] = who
        return who

    def recognise(self, key: bytes | None) -> Principal:
        """Whose key it is. Raises MissingAuthorization or InvalidAuthorization.

        The table is looked up by a keyed hash that no caller can compute, so the time it takes tells nothing.
        """
        if key is not None:
            who = self._holders.get(self._digest(key))
            if who is not None:
                return who
        if not self._required:
            return ANYONE
        if key is None:
            raise MissingAuthorization("No key was sent.")
        raise InvalidAuthorization("The key is not known here.")

    def _digest(self, key: bytes) -> bytes:
        return hmac.digest(self._pepper, key, "sha256")


def is_weak(key: str) -> bool:
    """Whether a key is well known or shorter than 16 characters."""
    return key in _WELL_KNOWN or len(key) < _SHORTEST


def refuse_weak(keys: Iterable[tuple[str, str]]) -> None:
    """Raise StartupError for the first weak key of (name, key) pairs."""
    for name, key in keys:
        if is_weak(key):
            raise StartupError(
                f"{name} is well known or shorter than {_SHORTEST} characters, which is accepted on loopback only. "
                f"Use a longer one, for example: {new_key()}"
            )


def new_key() -> str:
    return f"sk-hg-{secrets.token_urlsafe(30)}"


def kept_secret(path: Path, make: str) -> str:
    """The secret in a file of mode 0600; written as `make` when the file is not there. Two starters agree on one.

    Raises StartupError when the file cannot be kept or holds nothing.
    """
    try:
        secret = _read_or_write(path, make)
    except OSError as error:
        raise StartupError(f"The secret in {path} cannot be kept: {error.strerror}. Set HEADGATE_DATA_DIR.") from None
    if not secret:
        raise StartupError(f"The file {path} is empty. Remove it, and a new secret is made.")
    return secret


def _read_or_write(path: Path, make: str) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_text(make + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
