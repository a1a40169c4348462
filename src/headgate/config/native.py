"""A draft into the tree: what is wrong with it is told in words, with the place.

Names and addresses are checked in the plain data, so that a mistake of shape elsewhere hides none of theirs.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from headgate.config.agents import check_agents
from headgate.config.draft import Draft, Path_, value_at
from headgate.config.mcp import check_names
from headgate.config.problems import did_you_mean
from headgate.config.tenants import REGISTRY
from headgate.config.tree import Settings
from headgate.core.catalogue import catalogue
from headgate.core.errors import InvalidField, TenantConfigKeyUnknown, UpstreamError
from headgate.telemetry.redact import redact
from headgate.upstreams.registry import PROVIDERS

_LOOK_UP = "See docs/reference/configuration.md."
_SHAPE = re.compile(r"(list|dict)\[|(str|int|float|bool)$")
_KINDS: dict[str, type] = {"list": list, "dict": dict}
_OTHER_PROVIDERS = ("local", "litellm", "mock")


def load(draft: Draft) -> Settings | None:
    """The settings, or None when the draft's shape is wrong; all mistakes are noted in the draft."""
    settings = None
    try:
        settings = Settings.model_validate(draft.data)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            if (path := _path_in(draft.data, one["loc"])) is not None:
                _note(draft, path, one["type"], one["msg"], one.get("input"))
    check(draft)
    return settings


def _path_in(data: Any, loc: Path_) -> Path_ | None:
    """Where a mistake stands in the data. Of a setting with several shapes only the one that was meant is told."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(part, str) and _SHAPE.match(part) and not (isinstance(data, dict) and part in data):
            kind = _KINDS.get(part.partition("[")[0])
            if kind is not None and isinstance(data, list | dict) and not isinstance(data, kind):
                return None
        else:
            path.append(part)
            data = value_at(data, (part,))
    return tuple(path)


def _note(draft: Draft, path: Path_, kind: str, message: str, given: object) -> None:
    if kind == "extra_forbidden":
        known = _fields_at(path[:-1])
        draft.problem(
            path, "There is no such setting.", did_you_mean(str(path[-1]), known, f"Settings here: {', '.join(known)}.")
        )
    elif kind == "missing":
        draft.problem(path, "The setting is required.", f"Add `{path[-1]}:`.")
    else:
        shown_value = f" It is {redact(repr(given))}." if _is_harmless(path, given) else ""
        allowed = re.findall(r"'([^']*)'", message) if kind == "literal_error" else []
        remedy = did_you_mean(str(given), allowed, "Choose one of them.") if allowed else _LOOK_UP
        draft.problem(path, f"{message}.{shown_value}", remedy)


def _is_harmless(path: Path_, given: object) -> bool:
    """Whether a wrong value may be shown: short to say, and no place for a key or a header that carries one."""
    secret = path[:1] == ("auth",) or any(
        word in str(part) for part in path for word in ("key", "headers", "options", "env", "args", "secret")
    )
    return isinstance(given, str | int | float | bool) and not secret


def _fields_at(path: Path_) -> list[str]:
    """Names of the settings that may stand at a path."""
    schema: dict[str, Any] = Settings.model_json_schema()
    here = schema
    for part in path:
        inner = here.get("items") if isinstance(part, int) else here.get("properties", {}).get(part)
        here = inner or here.get("additionalProperties") or {}
        if "anyOf" in here:
            here = here["anyOf"][0]
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rpartition("/")[2]]
    return list(here.get("properties", {}))


def check(draft: Draft) -> None:
    """What the shape alone does not show: names that clash or lead nowhere, and addresses and keys that are missing."""
    upstreams = dict(_texts(draft, "upstreams", "name"))
    callable_names = [*_texts(draft, "models", "name"), *_texts(draft, "aliases", "name")]
    _check_unique(draft, list(upstreams.items()))
    _check_unique(draft, callable_names)
    _check_unique(draft, list(_texts(draft, "tenants", "id")))
    offers_all = False
    for path, upstream in _entries(draft, "upstreams"):
        _check_upstream(upstream, path, draft)
        offers_all = offers_all or upstream.get("offer_all") not in (None, False, "false")
    for path, target in _targets(draft):
        _check_name(draft, (*path, "upstream"), target.get("upstream"), list(upstreams.values()), "upstream")
    names = [name for _, name in callable_names]
    if not (offers_all or any("*" in name for name in names)):
        for path, name in _mentioned(draft):
            _check_name(draft, path, name, names, "model")
    check_agents(draft, dict(callable_names), any_model=offers_all or any("*" in name for name in names))
    for path in _error_tables(draft):
        _check_error_code(draft, path)
    for path, tenant in _entries(draft, "tenants"):
        _check_settings(draft, (*path, "settings"), _mapping(tenant, "settings"))
    check_names(draft)


def _entries(draft: Draft, section: str) -> Iterator[tuple[Path_, dict[str, Any]]]:
    yield from _mappings(draft.data.get(section), (section,))


def _targets(draft: Draft) -> Iterator[tuple[Path_, dict[str, Any]]]:
    for path, model in _entries(draft, "models"):
        yield from _mappings(model.get("targets"), (*path, "targets"))


def _mappings(listed: object, path: Path_) -> Iterator[tuple[Path_, dict[str, Any]]]:
    """The mappings in a list, each with its path. What is of another shape was told already."""
    for number, entry in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(entry, dict):
            yield (*path, number), entry


def _texts(draft: Draft, section: str, field: str) -> Iterator[tuple[Path_, str]]:
    for path, entry in _entries(draft, section):
        if isinstance(entry.get(field), str):
            yield (*path, field), entry[field]


def _mapping(data: object, *keys: str) -> dict[str, Any]:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _check_name(draft: Draft, path: Path_, name: object, known: list[str], noun: str) -> None:
    if isinstance(name, str) and name not in known:
        remedy = did_you_mean(name, known, f"{noun.capitalize()}s here: {', '.join(known) or 'none'}.")
        draft.problem(path, f"There is no {noun} '{name}'.", remedy)


def _mentioned(draft: Draft) -> Iterator[tuple[Path_, object]]:
    """Every place that names a model, with the name."""
    yield from _texts(draft, "aliases", "model")
    yield ("knowledge", "embedding_model"), _mapping(draft.data, "knowledge").get("embedding_model")
    yield from _listed(_mapping(draft.data, "routing").get("fallbacks"), ("routing", "fallbacks"))
    for path, model in _entries(draft, "models"):
        for kind in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
            yield from _listed(model.get(kind), (*path, kind))
        yield (*path, "mirror", "model"), _mapping(model, "mirror").get("model")


def _listed(names: object, path: Path_) -> Iterator[tuple[Path_, object]]:
    for number, name in enumerate(names if isinstance(names, list) else ()):
        yield (*path, number), name


def _error_tables(draft: Draft) -> Iterator[Path_]:
    for path in (("routing", "retries_by_error"), ("routing", "cooldown", "failures_by_error")):
        for code in _mapping(draft.data, *path):
            yield (*path, code)


def _check_error_code(draft: Draft, path: Path_) -> None:
    codes = [kind.code for kind in catalogue() if issubclass(kind, UpstreamError)]
    if path[-1] not in codes:
        remedy = did_you_mean(str(path[-1]), codes, f"Codes: {', '.join(codes)}.")
        draft.problem(path, f"There is no error of an upstream '{path[-1]}'.", remedy)


def _check_settings(draft: Draft, path: Path_, values: dict[str, Any]) -> None:
    for key, value in values.items():
        try:
            REGISTRY.in_file(key, value)
        except TenantConfigKeyUnknown:
            known = [name for name, one in REGISTRY.settings.items() if "yaml" in one.levels and not one.of_record]
            remedy = did_you_mean(key, known, f"Settings of tenants: {', '.join(known)}.")
            draft.problem((*path, key), f"There is no setting of tenants '{key}'.", remedy)
        except InvalidField as error:
            draft.problem((*path, key), error.message, "See docs/settings.md.")


def _check_unique(draft: Draft, names: list[tuple[Path_, str]]) -> None:
    seen: dict[str, Path_] = {}
    for path, name in names:
        if name in seen:
            where = draft.place_of(seen[name])
            draft.problem(path, f"The name '{name}' is taken already, at {where}.", "Choose another name.")
        seen.setdefault(name, path)


def _check_upstream(upstream: dict[str, Any], here: Path_, draft: Draft) -> None:
    provider, base_url, key = (upstream.get(field) for field in ("provider", "base_url", "api_key"))
    if not isinstance(provider, str):
        return
    known = (*PROVIDERS, *_OTHER_PROVIDERS)
    if provider not in known:
        remedy = did_you_mean(provider, known, f"Providers: {', '.join(known)}.")
        draft.problem((*here, "provider"), f"There is no provider '{provider}'.", remedy)
    _check_addresses(upstream, here, draft)
    row = PROVIDERS.get(provider)
    if row is None:
        return
    if not (base_url or row.base_url):
        at: Path_ = here if base_url is None else (*here, "base_url")
        draft.problem(at, f"The provider '{row.name}' has no address of its own.", "Add `base_url:`.")
    if row.needs_key and not key:
        variables = " or ".join(row.key_variables)
        at = here if key is None else (*here, "api_key")
        draft.problem(at, f"The provider '{row.name}' needs a key.", f"Set {variables}, or add `api_key:`.")


def _check_addresses(upstream: dict[str, Any], here: Path_, draft: Draft) -> None:
    for field in ("base_url", "proxy"):
        address = upstream.get(field)
        if not isinstance(address, str) or not address:
            continue
        is_http = address.startswith(("http://", "https://"))
        if field == "base_url" and not is_http:
            draft.problem((*here, field), "The address is not an http or https URL.", "Begin it with https://.")
        elif is_http and not _is_url(address):
            draft.problem((*here, field), "The address is not a URL.", "Write it as https://HOST/PATH.")


def _is_url(address: str) -> bool:
    try:
        url = urlsplit(address)
        return bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False
