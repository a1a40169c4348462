"""headgate.yaml into the tree: what is wrong with it is told in words, with the line."""

from typing import Any

from pydantic import ValidationError

from headgate.config.document import Document, Path_
from headgate.config.problems import did_you_mean
from headgate.config.tree import Settings
from headgate.upstreams.registry import PROVIDERS

_LOOK_UP = "See docs/reference/configuration.md."
_OTHER_PROVIDERS = ("local", "litellm")


def load(document: Document) -> Settings | None:
    """The settings, or None when the document's shape is wrong; all mistakes are noted in the document."""
    try:
        settings = Settings.model_validate(document.data)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            _note(document, one["loc"], one["type"], one["msg"], one.get("input"))
        return None
    check(settings, document)
    return settings


def _note(document: Document, path: Path_, kind: str, message: str, given: object) -> None:
    if kind == "extra_forbidden":
        known = _fields_at(path[:-1])
        document.problem(
            path, "There is no such setting.", did_you_mean(str(path[-1]), known, f"Settings here: {', '.join(known)}.")
        )
    elif kind == "missing":
        document.problem(path, "The setting is required.", f"Add `{path[-1]}:`.")
    else:
        shown_value = f" It is {given!r}." if _is_harmless(path, given) else ""
        document.problem(path, f"{message}.{shown_value}", _LOOK_UP)


def _is_harmless(path: Path_, given: object) -> bool:
    """Whether a wrong value may be shown: short to say, and no place for a key or a header that carries one."""
    secret = path[:1] == ("auth",) or any(word in str(part) for part in path for word in ("key", "headers"))
    return isinstance(given, str | int | float | bool) and not secret


def _fields_at(path: Path_) -> list[str]:
    """Names of the settings that may stand at a path."""
    schema: dict[str, Any] = Settings.model_json_schema()
    here = schema
    for part in path:
        here = here["items"] if isinstance(part, int) else here["properties"][part]
        if "anyOf" in here:
            here = here["anyOf"][0]
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rpartition("/")[2]]
    return list(here.get("properties", {}))


def check(settings: Settings, document: Document) -> None:
    """What the shape alone does not show: names that clash or lead nowhere, and addresses and keys that are missing."""
    names = [upstream.name for upstream in settings.upstreams]
    _check_unique(document, "upstreams", names)
    _check_unique(document, "models", [model.name for model in settings.models])
    for number in range(len(names)):
        _check_upstream(settings, number, document)
    for number, model in enumerate(settings.models):
        for at, target in enumerate(model.targets):
            if target.upstream not in names:
                path: Path_ = ("models", number, "targets", at, "upstream")
                otherwise = f"Upstreams here: {', '.join(names) or 'none'}."
                document.problem(
                    path, f"There is no upstream '{target.upstream}'.", did_you_mean(target.upstream, names, otherwise)
                )


def _check_unique(document: Document, section: str, names: list[str]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            document.problem((section, number, "name"), f"The name '{name}' is taken already.", "Choose another name.")


def _check_upstream(settings: Settings, number: int, document: Document) -> None:
    upstream = settings.upstreams[number]
    here: Path_ = ("upstreams", number)
    known = (*PROVIDERS, *_OTHER_PROVIDERS)
    if upstream.provider not in known:
        remedy = did_you_mean(upstream.provider, known, f"Providers: {', '.join(known)}.")
        document.problem((*here, "provider"), f"There is no provider '{upstream.provider}'.", remedy)
        return
    row = PROVIDERS.get(upstream.provider)
    if row is None:
        return
    if not (upstream.base_url or row.base_url):
        document.problem(here, f"The provider '{row.name}' has no address of its own.", "Add `base_url:`.")
    elif upstream.base_url and not upstream.base_url.startswith(("http://", "https://")):
        document.problem((*here, "base_url"), "The address is not an http or https URL.", "Begin it with https://.")
    if row.needs_key and not upstream.api_key:
        variables = " or ".join(row.key_variables)
        document.problem(here, f"The provider '{row.name}' needs a key.", f"Set {variables}, or add `api_key:`.")
