"""Environment variables as a source of settings: which names there are, which are retired, and that two agree.

Every single setting outside lists also has the name `HEADGATE_` and its path, such as HEADGATE_SERVER_DRAIN_SECONDS.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from headgate.config.draft import Draft, Path_, Place, literal
from headgate.config.problems import did_you_mean
from headgate.config.tree import Settings

PREFIX = "HEADGATE_"
_OWN = frozenset(("HEADGATE_CONFIG", "HEADGATE_DATA_DIR", "HEADGATE_URL", "HEADGATE_KEY"))
_ALIASES: dict[Path_, tuple[str, ...]] = {
    ("server", "host"): ("HEADGATE_HOST", "API_HOST"),
    ("server", "port"): ("HEADGATE_PORT", "PORT", "API_PORT"),
    ("server", "workers"): ("HEADGATE_WORKERS",),
    ("server", "limits", "body"): ("MAX_BODY_BYTES",),
    ("auth", "master_key"): ("HEADGATE_MASTER_KEY", "LITELLM_MASTER_KEY"),
    ("auth", "required"): ("REQUIRE_AUTH",),
    ("conf",): ("MODELS_CONFIG_DIR",),
    ("parameters", "reasoning_effort"): ("REASONING_EFFORT",),
    ("tracing", "endpoint"): ("OTEL_EXPORTER_OTLP_ENDPOINT",),
    ("tracing", "service_name"): ("OTEL_SERVICE_NAME",),
    ("tracing", "sampler"): ("OTEL_TRACES_SAMPLER",),
    ("tracing", "ratio"): ("OTEL_TRACES_SAMPLER_ARG",),
}
_WORDS = {"false": False, "0": False, "no": False, "off": False, "true": True, "1": True, "yes": True, "on": True}
RETIRED = {
    "LITELLM_MODEL_ALIAS": "Set PROXY_MODEL_KEYS and MODEL_<KEY>_ALIAS.",
    "OPENAI_MODEL": "Set MODEL_<KEY>_UPSTREAM_MODEL.",
    "LITELLM_HOST": "Set HEADGATE_HOST, or pass --host.",
    "LITELLM_WORKERS": "Set HEADGATE_WORKERS, or pass --workers.",
    "LITELLM_DEBUG": "Pass --debug.",
    "LITELLM_DROP_PARAMS": "Pass --drop-params or --no-drop-params, or set HEADGATE_PARAMETERS_DROP_UNSUPPORTED.",
}


@dataclass(frozen=True, slots=True)
class Variables:
    """The environment over `.env`, and both over what a file sets for itself. An empty variable is one that is not set.

    Two names of one thing count as one: in the same source they have to agree.
    """

    environment: Mapping[str, str]
    dotenv: Mapping[str, str]
    file: Mapping[str, str] = field(default_factory=dict)

    @property
    def merged(self) -> dict[str, str]:
        """All that is set; a variable that is there but empty stays so where no further source has it."""
        found: dict[str, str] = {}
        for source in (self.environment, self.dotenv, self.file):
            found |= {name: value for name, value in source.items() if not found.get(name)}
        return found

    def get(self, name: str) -> str | None:
        """A value that is not empty."""
        return self.merged.get(name) or None

    def place(self, name: str) -> Place:
        for source, label in ((self.environment, "environment"), (self.dotenv, ".env"), (self.file, "the file's own")):
            if source.get(name):
                return Place(label, name)
        return Place("environment", name)

    def agreed(self, names: tuple[str, ...], path: Path_, draft: Draft) -> str | None:
        """Which of several names of one setting counts; names that differ are noted as a problem."""
        for source in (self.environment, self.dotenv, self.file):
            found = [name for name in names if source.get(name)]
            message = f"{' and '.join(found)} differ."
            is_known = any(problem.message == message for problem in draft.problems)
            if len({source[name] for name in found}) > 1 and not is_known:
                draft.problem(path, message, "Set one of them, or all to the same value.", at=self.place(found[0]))
            if found:
                return found[0]
        return None


def overlay(draft: Draft, variables: Variables) -> None:
    """Put every setting that a variable holds over what the draft has."""
    known = names_of_settings()
    for path, names in known.items():
        name = variables.agreed(names, path, draft)
        if name is not None:
            value = _typed(path, name, variables, draft)
            if value is not None:
                draft.put(path, value, variables.place(name))
    _add_tokens(draft, variables)
    everything = [name for names in known.values() for name in names]
    for name in variables.merged:
        if name in RETIRED:
            draft.notes.append(f"{name} is retired and not read. {RETIRED[name]}")
        elif name.startswith(PREFIX) and name not in _OWN and name not in everything:
            draft.notes.append(f"{name} is not a setting. {did_you_mean(name, everything, 'It is not read.')}")


@cache
def names_of_settings() -> dict[Path_, tuple[str, ...]]:
    """The variables of each setting, the plainest first."""
    return {
        path: tuple(dict.fromkeys((*_ALIASES.get(path, ()), PREFIX + "_".join(map(str, path)).upper())))
        for path, _ in _single_settings(Settings, ())
    }


def _single_settings(section: type[BaseModel], path: Path_) -> Iterator[tuple[Path_, FieldInfo]]:
    for name, one in section.model_fields.items():
        kinds = get_args(one.annotation) or (one.annotation,)
        kind = kinds[0]
        if _is_list(one):
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _single_settings(kind, (*path, name))
        else:
            yield (*path, name), one


def _is_list(one: FieldInfo) -> bool:
    kinds = (one.annotation, *get_args(one.annotation))
    return any(getattr(kind, "__origin__", None) in (list, dict) for kind in kinds)


def _typed(path: Path_, name: str, variables: Variables, draft: Draft) -> Any:
    """A variable's text as the setting's kind, None if it is neither true nor false; the tree itself reads numbers."""
    value = variables.get(name) or ""
    kind = dict(_single_settings(Settings, ()))[path].annotation
    return truth(name, variables, path, draft) if bool in (kind, *get_args(kind)) else literal(value)


def truth(name: str, variables: Variables, path: Path_, draft: Draft) -> bool | None:
    """A variable as true or false; None, and a problem, when it is neither."""
    value = variables.get(name) or ""
    if value.strip().lower() not in _WORDS:
        message = f"{name} is neither true nor false: {value!r}."
        draft.problem(path, message, "Set it to true or false.", at=variables.place(name))
        return None
    return _WORDS[value.strip().lower()]


def _add_tokens(draft: Draft, variables: Variables) -> None:
    tokens = [token.strip() for token in (variables.get("API_TOKENS") or "").split(",") if token.strip()]
    auth = draft.data.get("auth")
    given = auth.get("tokens") if isinstance(auth, dict) else None
    if tokens and (given is None or isinstance(given, list)):
        draft.put(("auth", "tokens"), [*(given or ()), *map(literal, tokens)], variables.place("API_TOKENS"))
