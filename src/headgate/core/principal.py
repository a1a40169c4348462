"""Who asks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a key. `key_id` is a short public name for the key, never the key itself."""

    key_id: str
    is_admin: bool = False


ANYONE = Principal("anonymous")
