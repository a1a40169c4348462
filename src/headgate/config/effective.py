"""Every setting in force, with its value and where it was set. Secrets are not shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headgate.config.draft import DEFAULT, Place, leaves, shown, value_at
from headgate.config.load import Loaded
from headgate.config.secrets import shown_value


@dataclass(frozen=True, slots=True)
class Value:
    """One setting: its path as people write it, its value fit to be shown, and its place."""

    path: str
    value: Any
    place: Place


def effective(loaded: Loaded) -> Iterator[Value]:
    """All settings in the order of the tree."""
    draft = loaded.draft
    for path, value in leaves(loaded.settings.model_dump(mode="json")):
        place = draft.place_of(path) if value_at(draft.data, path) is not None else DEFAULT
        yield Value(shown(path), shown_value(path, value), place)
