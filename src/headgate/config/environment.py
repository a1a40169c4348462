"""Models that stand in no file: those of the environment's schema, of `--model-spec`, and of `--alias` with `--model`.

Each source becomes specs; one function puts specs into a draft. Knows no other setting.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headgate.config.draft import DEFAULT, Draft, Path_, Place, literal
from headgate.config.problems import did_you_mean
from headgate.config.variables import Variables, truth
from headgate.upstreams.registry import PROVIDERS

OPTIONS = frozenset(("model_spec", "alias", "model", "upstream_base", "upstream_key_env", "streaming"))
"""Options of the command line that are read here."""
_FIELDS = {
    "ALIAS": "alias",
    "UPSTREAM_MODEL": "upstream",
    "UPSTREAM_BASE": "base",
    "UPSTREAM_KEY_ENV": "key_env",
    "REASONING_EFFORT": "reasoning",
}
_IN_SPECS = ("key", *_FIELDS.values())
_VARIABLE = re.compile(rf"MODEL_(.+)_({'|'.join(_FIELDS)})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = "OPENAI_API_KEY"
_BASES = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
_NOT_READ = {
    "MAX_TOKENS": "Write `parameters: {defaults: {max_tokens: …}}` into headgate.yaml.",
    "SKIP_PREREQ_CHECK": "Nothing has to be checked before the start.",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """One model: its fields by the names of `--model-spec`, and where each was set.

    Without `base` or `key_env` the defaults count; an empty `key_env` is no key.
    """

    place: Place
    fields: Mapping[str, str]
    places: Mapping[str, Place] = field(default_factory=dict)

    def place_of(self, name: str) -> Place:
        return self.places.get(name, self.place)


@dataclass(frozen=True, slots=True)
class Account:
    """An address and the variable of its key. `text` is the address for the draft, which may be a reference."""

    address: str
    text: str
    key_env: str
    address_place: Place
    key_place: Place


def add_models(draft: Draft, variables: Variables, options: Mapping[str, Any], *, beside_file: bool) -> bool:
    """Put the models of the command line, else those of the environment, into the draft; whether there are any.

    Beside a file those of the environment are not read. Models of the command line take the place of a file's models
    of the same name.
    """
    given = [*_specs_of_flags(options.get("model_spec") or (), draft), *_single(options, draft)]
    asked = bool(options.get("model_spec") or options.get("alias") or options.get("model"))
    if beside_file or asked:
        _name_what_is_not_read(draft, variables, "there is a file" if beside_file else "the command line names models")
    else:
        given = list(_specs_of_environment(variables, draft))
        asked = bool(model_keys(variables))
        if asked:
            _note_other_variables(variables, draft)
    if asked:
        add(given, _default_account(variables, options, draft), variables, draft)
    if asked and not beside_file:
        draft.put(("parameters", "drop_unsupported"), True, DEFAULT)
        draft.notes += [f"{name} is not read. {why}" for name, why in _NOT_READ.items() if variables.get(name)]
    if asked:
        return True
    if unused := [name for name in ("upstream_base", "upstream_key_env") if options.get(name) is not None]:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in unused)
        draft.notes.append(f"{flags} is not used: it is the default for models of --model-spec, --model or MODEL_*.")
    return False


def streams(variables: Variables, options: Mapping[str, Any], draft: Draft) -> bool:
    """What `--streaming` or IS_STREAMING say; only a printed configuration tells it, for each request decides anew."""
    given = options.get("streaming")
    if given is None and variables.get("IS_STREAMING"):
        given = truth("IS_STREAMING", variables, (), draft)
        draft.notes.append("IS_STREAMING only fills what --print-config prints: each request says whether it streams.")
    return True if given is None else bool(given)


def add(specs: list[Spec], default: Account, variables: Variables, draft: Draft) -> None:
    """Put specs into a draft: an upstream per address and key, and a model each."""
    of_file = _names(draft, "models")
    upstreams: dict[tuple[str, str], str] = {}
    for spec in specs:
        account = _account(spec, default, variables, draft)
        identity = (account.address, account.key_env)
        if identity not in upstreams:
            upstreams[identity] = _add_upstream(account, spec, draft)
        name = spec.fields.get("alias") or _without_vendor(spec.fields["upstream"])
        number = of_file.index(name) if name in of_file else len(_names(draft, "models"))
        if name in of_file:
            of_file[number] = None  # only once: two specs of one name are a mistake
        target = {
            "upstream": upstreams[identity],
            "model": literal(spec.fields["upstream"].removeprefix("openai/")),
        }
        here: Path_ = ("models", number)
        draft.put(here, {"name": literal(name), "targets": [target]}, spec.place)
        draft.places[*here, "name"] = spec.place_of("alias")
        draft.places[*here, "targets", 0, "model"] = spec.place_of("upstream")
        if effort := spec.fields.get("reasoning"):
            path = (*here, "parameters", "reasoning_effort")
            draft.put(path, literal(effort.lower()), spec.place_of("reasoning"))


def _account(spec: Spec, default: Account, variables: Variables, draft: Draft) -> Account:
    base, key_env = spec.fields.get("base"), spec.fields.get("key_env")
    place, key_place = spec.place_of("base"), spec.place_of("key_env")
    if key_env and not _NAME.fullmatch(key_env):
        remedy = "Give the name, such as OPENAI_API_KEY, not the key itself."
        draft.problem((), "The key's place is not the name of a variable.", remedy, at=key_place)
        key_env = ""
    text = f"${{{place.name}}}" if variables.get(place.name) else literal(base or "")
    return Account(
        base or default.address,
        text if base else default.text,
        default.key_env if key_env is None else key_env,
        place if base else default.address_place,
        default.key_place if key_env is None else key_place,
    )


def _default_account(variables: Variables, options: Mapping[str, Any], draft: Draft) -> Account:
    base, key_env = options.get("upstream_base"), options.get("upstream_key_env")
    key_place = Place("command line", "--upstream-key-env")
    if key_env and not _NAME.fullmatch(key_env):
        remedy = "Give the name, such as OPENAI_API_KEY, not the key itself; blank for no key."
        draft.problem((), "The key's place is not the name of a variable.", remedy, at=key_place)
        key_env = ""
    if key_env is None:
        key_env, key_place = _KEY, variables.place(_KEY)
    if base:
        return Account(base, literal(base), key_env, Place("command line", "--upstream-base"), key_place)
    name = variables.agreed(_BASES, ("upstreams",), draft)
    if name is None:
        return Account("", "", key_env, DEFAULT, key_place)
    return Account(variables.get(name) or "", f"${{{name}}}", key_env, variables.place(name), key_place)


def _add_upstream(account: Account, spec: Spec, draft: Draft) -> str:
    taken = _names(draft, "upstreams")
    name, number = "openai", 1
    while name in taken:
        number += 1
        name = f"openai-{number}"
    here: Path_ = ("upstreams", len(taken))
    is_openai = bool(account.key_env and not account.text)  # whose row would ask for a key
    draft.put(here, {"name": name, "provider": "openai" if is_openai else "openai_compatible"}, spec.place)
    if not is_openai:
        draft.put((*here, "base_url"), account.text or PROVIDERS["openai"].base_url, account.address_place)
    if account.key_env:
        draft.put((*here, "api_key"), f"${{{account.key_env}}}", account.key_place)
    return name


def _specs_of_environment(variables: Variables, draft: Draft) -> Iterator[Spec]:
    merged = variables.merged
    for key in model_keys(variables):
        names = {known: f"MODEL_{key}_{part}" for part, known in _FIELDS.items()}
        fields = {known: merged[name].strip() for known, name in names.items() if name in merged}
        places = {known: variables.place(name) for known, name in names.items()}
        if fields.get("upstream"):
            if not fields.get("alias"):
                places["alias"] = places["upstream"]
            yield Spec(places["upstream"], fields, places)
        else:
            draft.problem(
                (),
                f"The model {key} is listed, but {names['upstream']} is not set.",
                f"Set {names['upstream']}, or take it out of PROXY_MODEL_KEYS.",
                at=variables.place("PROXY_MODEL_KEYS"),
            )


def model_keys(variables: Variables) -> list[str]:
    """The keys of the environment's models, as variables spell them: listed, else those with an upstream model."""
    if listed := _listed(variables):
        return list(dict.fromkeys(listed))
    found = (_VARIABLE.fullmatch(name) for name, value in variables.merged.items() if value.strip())
    return sorted((one[1] for one in found if one and one[2] == "UPSTREAM_MODEL"), key=str.lower)


def _listed(variables: Variables) -> list[str]:
    keys = (variables.get("PROXY_MODEL_KEYS") or "").split(",")
    return [re.sub(r"[^A-Za-z0-9]", "_", key.strip()).upper() for key in keys if key.strip()]


def _note_other_variables(variables: Variables, draft: Draft) -> None:
    """Name every variable that looks like the schema's and is not read."""
    keys, listed = model_keys(variables), _listed(variables)
    for name in sorted(variables.merged):
        found = _VARIABLE.fullmatch(name)
        prefix = next((f"MODEL_{key}_" for key in keys if name.startswith(f"MODEL_{key}_")), None)
        if found and found[1] in keys:
            continue
        if found:
            remedy = f"Add {found[1]} to PROXY_MODEL_KEYS." if listed else f"Set MODEL_{found[1]}_UPSTREAM_MODEL."
            draft.notes.append(f"{name} is not read. {remedy}")
        elif prefix:
            remedy = did_you_mean(name, [prefix + part for part in _FIELDS], f"Known are {prefix}{'|'.join(_FIELDS)}.")
            draft.notes.append(f"{name} is not read. {remedy}")
    if twice := sorted({key for key in listed if listed.count(key) > 1}):
        place = variables.place("PROXY_MODEL_KEYS")
        draft.problem((), f"{', '.join(twice)} is listed twice.", "List each key once.", at=place)


def _name_what_is_not_read(draft: Draft, variables: Variables, reason: str) -> None:
    if keys := model_keys(variables):
        names = ", ".join(f"MODEL_{key}_*" for key in keys)
        draft.notes.append(f"The models of the environment ({names}) are not read, for {reason}. Add them there.")


def _specs_of_flags(texts: tuple[str, ...], draft: Draft) -> Iterator[Spec]:
    for text in texts:
        fields: dict[str, str] = {}
        place = Place("command line", f"--model-spec {text.partition(',')[0]}")
        for part in text.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or name not in _IN_SPECS:
                remedy = did_you_mean(name, _IN_SPECS, f"Write {','.join(f'{known}=…' for known in _IN_SPECS)}.")
                draft.problem((), f"There is no field '{name}' of a model.", remedy, at=place)
            elif name in fields:
                draft.problem((), f"The field '{name}' occurs twice.", "Give it once.", at=place)
            fields[name] = value
        missing = [name for name in ("key", "upstream") if not fields.get(name)]
        for name in missing:
            draft.problem((), f"The field '{name}' is missing.", f"Add {name}=….", at=place)
        if not missing:
            yield Spec(place, fields)


def _single(options: Mapping[str, Any], draft: Draft) -> Iterator[Spec]:
    alias, model = options.get("alias"), options.get("model")
    place = Place("command line", "--model")
    if model:
        places = {"alias": Place("command line", "--alias")} if alias else {}
        yield Spec(place, {"alias": alias or "", "upstream": model}, places)
    elif alias:
        at = Place("command line", "--alias")
        draft.problem((), "The alias stands for no model.", "Add --model with the provider's name of it.", at=at)


def _without_vendor(upstream: str) -> str:
    return upstream.partition("/")[2] or upstream


def _names(draft: Draft, section: str) -> list[Any]:
    """The names in a list of the draft, one for each entry."""
    listed = draft.data.get(section)
    return [one.get("name") if isinstance(one, dict) else None for one in listed] if isinstance(listed, list) else []
