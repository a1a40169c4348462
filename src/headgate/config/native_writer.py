"""A draft as headgate.yaml: what any form says, in our own. References stay references."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import yaml

from headgate.config.discovery import fill_in
from headgate.config.draft import REFERENCE, Draft, leaves, shown
from headgate.config.secrets import HIDDEN, holds_secret, shown_value
from headgate.config.variables import Variables

_HEAD = "# yaml-language-server: $schema=headgate.schema.json\n"


def to_yaml(draft: Draft) -> str:
    """The text of a file that gives the same settings. Variables that the file set itself become defaults."""
    fill_in(draft, Variables({}, {}, draft.variables))
    data = _with_variables(draft.data, draft.variables)
    return _HEAD + yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def literal_secrets(draft: Draft) -> Iterator[str]:
    """The paths of keys that stand in the draft themselves, rather than as `${VARIABLE}`."""
    for path, value in leaves(_with_variables(draft.data, draft.variables)):
        if not isinstance(value, str) or not value:
            continue
        references = list(REFERENCE.finditer(value))
        is_literal = not references or any(one[3] for one in references)
        if is_literal and (shown_value(path, value) == HIDDEN or holds_secret(value)):
            yield shown(path)


def _with_variables(data: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(data, dict):
        return {key: _with_variables(value, variables) for key, value in data.items()}
    if isinstance(data, list):
        return [_with_variables(value, variables) for value in data]
    if isinstance(data, str):
        return REFERENCE.sub(lambda found: _with_default(found[0], found[2], variables), data)
    return data


def _with_default(text: str, name: str | None, variables: Mapping[str, str]) -> str:
    value = variables.get(name or "")
    if not value:
        return text
    if "}" in value:  # no default can hold one; the value itself is what counted so far
        return value.replace("${", "$${")
    return f"${{{name}:-{value}}}"


class _Dumper(yaml.SafeDumper):
    """Plain YAML, with exact prices and without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_decimal(dumper: _Dumper, value: Decimal) -> yaml.Node:
    number = float(value)
    if Decimal(repr(number)) == value:
        return dumper.represent_float(number)
    return dumper.represent_str(str(value))


_Dumper.add_representer(Decimal, _write_decimal)
