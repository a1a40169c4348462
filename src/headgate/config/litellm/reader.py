"""LiteLLM's config.yaml as a draft, with a finding for every field that it holds.

Sections are read in the order in which they lean on each other; files named by `include` are read into them first.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headgate.config import document
from headgate.config.document import Document
from headgate.config.draft import Draft, Path_, Place
from headgate.config.litellm import mcp, server
from headgate.config.litellm.accounts import Accounts
from headgate.config.litellm.known import TOP
from headgate.config.litellm.models import Models, graft
from headgate.config.litellm.router import Router
from headgate.config.litellm.translation import Field, Translation
from headgate.config.problems import ConfigError

_MARKS = ("model_list", "litellm_settings", "general_settings", "router_settings", "include")
_LISTS = ("model_list", "credential_list")
_MAPPINGS = ("litellm_settings", "general_settings", "router_settings", "environment_variables", "mcp_servers")
_ANCHORS = ("x-", "_", ".")
_SILENCE, _WHOLE = 300, 1800  # what an upstream waits for unless told otherwise

Sections = dict[str, list[Field]]
"""The top-level fields by name; a list that several files hold stands there once for each."""


def is_litellm(data: Mapping[str, Any]) -> bool:
    """Whether a file is LiteLLM's rather than ours."""
    return any(mark in data for mark in _MARKS)


def draft_of(read: Document) -> Draft:
    """The whole file; mistakes in it are noted in the draft."""
    draft = Draft({"server": {}, "upstreams": [], "models": []}, problems=read.problems)
    file = draft.places[()] = Place(read.file, "", 1)
    to = Translation(draft)
    sections = _with_includes(to, read)
    _judge(to, sections)
    draft.put(("server", "litellm_headers"), True, file)
    variables = _mapping(to, sections, "environment_variables")
    if variables is not None:
        server.take_variables(to, variables)
    accounts = Accounts(to)
    models = Models(to, accounts, server.take_credentials(to, _entries(to, sections, "credential_list")))
    for entry in _entries(to, sections, "model_list"):
        models.add(entry)
    models.mirror()
    litellm, general = (_mapping(to, sections, name) for name in ("litellm_settings", "general_settings"))
    Router(to, models, file).take(litellm, _mapping(to, sections, "router_settings"))
    if litellm is not None:
        server.take_litellm(to, litellm)
    if general is not None:
        server.take_general(to, general)
    servers, aliases = _mapping(to, sections, "mcp_servers"), litellm.get("mcp_aliases") if litellm else None
    if servers is not None:
        mcp.take_servers(to, servers, aliases)
    if aliases is not None:
        mcp.take_aliases(to, aliases, servers)
    _wait_long_enough(models, accounts)
    for number, piece in enumerate(accounts.upstreams.values()):
        graft(draft, ("upstreams", number), piece, piece.places[()])
    for number, piece in enumerate(models.pieces.values()):
        graft(draft, ("models", number), piece, piece.places[()])
    draft.findings.sort(key=lambda one: (one.place.source != read.file, one.place.source, one.place.line))
    return draft


def _judge(to: Translation, sections: Sections) -> None:
    """Sections without anything in them, and those that nothing here takes."""
    for name, fields in sections.items():
        for field in fields:
            if field.value is None:
                to.exact(field, "Empty.")
            elif name.startswith(_ANCHORS):
                to.exact(field, "It only holds what other fields share.")
            elif name not in (*_LISTS, *_MAPPINGS):
                to.judge(field, TOP, (*_LISTS, *_MAPPINGS, "include"))


def _entries(to: Translation, sections: Sections, name: str) -> list[Field]:
    found = []
    for field in sections.get(name, ()):
        if field.value is not None and to.is_list(field):
            found += field.items()
            if not field.value:
                to.exact(field, "Empty.")
    return found


def _mapping(to: Translation, sections: Sections, name: str) -> Field | None:
    for field in sections.get(name, ()):
        if field.value is not None and to.is_mapping(field):
            return field
    return None


def _with_includes(to: Translation, read: Document) -> Sections:
    """Lists of included files are appended, all else replaces what was there, as LiteLLM does."""
    sections: Sections = {}
    root = Path(read.file)
    waiting: list[tuple[Document, tuple[Path, ...]]] = [(read, (root.resolve(),))]
    done = {root.resolve()}
    while waiting:
        current, chain = waiting.pop(0)
        for field in Field(current, (), current.data).members():
            if field.name == "include":
                waiting += _included(to, field, root, chain, done)
            else:
                _merge(to, sections, field)
    return sections


def _merge(to: Translation, sections: Sections, field: Field) -> None:
    former = sections.get(field.name, [])
    if former and not (isinstance(field.value, list) and isinstance(former[-1].value, list)):
        for replaced in former:
            to.unsupported(replaced, f"Replaced as a whole by {field.place.source}, as LiteLLM does.")
        former = []
    sections[field.name] = [*former, field]


def _included(
    to: Translation, section: Field, root: Path, chain: tuple[Path, ...], done: set[Path]
) -> list[tuple[Document, tuple[Path, ...]]]:
    if section.value is None or not section.value:
        to.exact(section, "Empty.")
        return []
    found = []
    for name in section.items() if to.is_list(section) else ():
        if not to.is_text(name):
            continue
        beside = [folder / name.value for folder in (Path(section.document.file).parent, root.parent)]
        file = next((one for one in beside if _is_file(one)), None)
        if file is None:
            to.wrong(name, "There is no such file to include.", f"It is looked for at {beside[0]}.")
        elif file.resolve() in chain:
            to.wrong(name, "The files include each other.", "Take one of the two `include` lines out.")
        elif file.resolve() in done:
            to.exact(name, "Read already.")
        else:
            done.add(file.resolve())
            to.exact(name)
            found += _read(to, file, chain)
    return found


def _read(to: Translation, file: Path, chain: tuple[Path, ...]) -> list[tuple[Document, tuple[Path, ...]]]:
    try:
        read = document.read(file)
    except ConfigError as error:
        to.draft.problems.extend(error.problems)
        return []
    to.draft.problems.extend(read.problems)
    return [(read, (*chain, file.resolve()))]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _wait_long_enough(models: Models, accounts: Accounts) -> None:
    """An upstream has to wait as long as the most patient of its targets."""
    for model, number, target in models.targets():
        piece = accounts.upstreams[target["upstream"]]
        for name in ("timeout", "stream_timeout"):
            seconds = target.get(name)
            if not isinstance(seconds, int | float) or isinstance(seconds, bool):
                continue
            path: Path_ = ("targets", number, name)
            for limit, usual in (("read", _SILENCE), ("total", _WHOLE)):
                if seconds > piece.data.get("timeouts", {}).get(limit, usual):
                    piece.put(("timeouts", limit), seconds, model.place_of(path))
