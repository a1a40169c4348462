"""MCP servers from files of their own into a draft: `servers:` as in `conf/mcp/servers.yaml`, `mcpServers` as clients
write them. Only files and the environment name servers: a command is run for nobody who merely has a key.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headgate.config import document
from headgate.config.draft import REFERENCE, Draft, Path_, Place
from headgate.config.problems import ConfigError, did_you_mean
from headgate.config.variables import Variables
from headgate.tools.mcp_types import SERVER_NAME

_BESIDE = "mcp/servers.yaml"
_VARIABLE = "MCP_CONFIG_PATH"
_KINDS = {"streamable-http": "streamablehttp", "streamable_http": "streamablehttp", "streamableHttp": "streamablehttp"}
_NOT_OURS = ("timeout", "autoApprove", "alwaysAllow", "disabledTools", "gallery", "icon")
_KEPT_WHEN_OFF = ("enabled", "type", "description")


def add_servers(draft: Draft, file: Path | None, variables: Variables) -> None:
    """Put the servers of all further files into the draft; raises ConfigError for a file that cannot be read."""
    for path in _files(draft, file, variables):
        _add_file(draft, path)
    for name, server in _servers_of(draft).items():
        if isinstance(server, dict) and server.get("enabled") in (False, "false"):
            kept = {field: server[field] for field in _KEPT_WHEN_OFF if field in server}
            _servers_of(draft)[name] = kept  # what it lacks, such as a variable, is no mistake while it is off


def check_names(draft: Draft) -> None:
    """Names of servers that cannot be, and agents that name a server which is not there."""
    servers = _servers_of(draft)
    for name in servers:
        if not re.match(SERVER_NAME, str(name)):
            message = f"'{name}' cannot be the name of an MCP server."
            draft.problem(("mcp", "servers", name), message, "Use letters, digits, '.', '_' and '-', 64 at most.")
    agents = draft.data.get("agents")
    for number, agent in enumerate(agents if isinstance(agents, list) else ()):
        named = agent.get("mcp_servers") if isinstance(agent, dict) else None
        for at, given in _named(named):
            if isinstance(given, str) and given not in servers:
                remedy = did_you_mean(given, list(servers), f"MCP servers here: {', '.join(servers) or 'none'}.")
                draft.problem(("agents", number, "mcp_servers", at), f"There is no MCP server '{given}'.", remedy)


def _named(named: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(named, list):
        yield from enumerate(named)
    elif isinstance(named, dict):
        yield from ((name, name) for name in named)


def _servers_of(draft: Draft) -> dict[str, Any]:
    section = draft.data.get("mcp")
    servers = section.get("servers") if isinstance(section, dict) else None
    return servers if isinstance(servers, dict) else {}


def _files(draft: Draft, file: Path | None, variables: Variables) -> Iterator[Path]:
    folder = file.parent if file else Path()
    section = draft.data.get("mcp")
    listed = section.get("files") if isinstance(section, dict) else None
    known = variables.merged
    named = [REFERENCE.sub(lambda found: known.get(found[2] or "", found[3] or ""), str(one)) for one in listed or ()]
    if given := variables.get(_VARIABLE):
        named.append(str(Path(given).absolute()))
    paths = [folder / Path(one).expanduser() for one in named]
    conf = draft.data.get("conf")
    beside = [folder] if file is not None else []
    beside += [Path(conf.replace("$${", "${"))] if isinstance(conf, str) and conf else []
    paths += (one / _BESIDE for one in beside if (one / _BESIDE).is_file())
    yield from dict.fromkeys(path.resolve() for path in paths)


def _add_file(draft: Draft, path: Path) -> None:
    try:
        read = document.read(path)
    except ConfigError as error:
        draft.problems += error.problems
        return
    draft.problems += read.problems
    top = next((name for name in ("servers", "mcpServers") if name in read.data), None)
    if top is None:
        read.problem((), "The file names no MCP servers.", "Begin it with `servers:` or `mcpServers`.")
        draft.problems.append(read.problems[-1])
        return
    servers = read.data[top]
    if isinstance(servers, list):  # the form of A: each with a name
        named = {str(one.get("name")): one for one in servers if isinstance(one, dict)}
        paths: dict[str, Path_] = {
            str(one.get("name")): (top, at) for at, one in enumerate(servers) if isinstance(one, dict)
        }
    else:
        named = servers if isinstance(servers, dict) else {}
        paths = {str(name): (top, str(name)) for name in named}
    for name, given in named.items():
        _add(draft, str(name), given, read, paths[str(name)])


def _add(draft: Draft, name: str, given: object, read: document.Document, at: Path_) -> None:
    here: Path_ = ("mcp", "servers", name)
    place = read.place_of(at)
    if name in _servers_of(draft):
        where = draft.place_of(here)
        draft.problem(here, f"The MCP server '{name}' is there already, at {where}.", "Choose another name.", at=place)
        return
    if not isinstance(given, dict):
        draft.problem(here, "An MCP server is a mapping.", "Give it `command:` or `url:`.", at=place)
        return
    fields, places = _in_our_words(given, draft, here, place)
    draft.put(here, fields, place)
    for field in fields:
        draft.places[(*here, field)] = read.place_of((*at, places.get(field, field)))
    for path in read.lines:
        if path[: len(at)] == at and len(path) > len(at):
            draft.places.setdefault((*here, *path[len(at) :]), read.place_of(path))


def _in_our_words(
    given: Mapping[str, Any], draft: Draft, here: Path_, place: Place
) -> tuple[dict[str, Any], dict[str, str]]:
    """A server's fields, and under which name each stood in the file where that differs."""
    fields = {str(field): value for field, value in given.items() if field != "name"}
    moved: dict[str, str] = {}
    if "transport" in fields and "type" not in fields:
        fields["type"] = fields.pop("transport")
        moved["type"] = "transport"
    if isinstance(kind := fields.get("type"), str):
        fields["type"] = _KINDS.get(kind, kind)
    if "serverUrl" in fields and "url" not in fields:
        fields["url"] = fields.pop("serverUrl")
        moved["url"] = "serverUrl"
    if isinstance(fields.get("disabled"), bool):
        fields["enabled"] = not fields.pop("disabled")
        moved["enabled"] = "disabled"
    variable = fields.pop("auth_env_var", None)
    if variable:
        headers = fields.get("headers")
        fields["headers"] = {
            **(headers if isinstance(headers, dict) else {}),
            "Authorization": f"Bearer ${{{variable}}}",
        }
        moved["headers"] = "auth_env_var"
    for field in _NOT_OURS:
        if field in fields:
            del fields[field]
            draft.notes.append(f"{place}: `{field}` of an MCP server is not read.")
    return fields, moved
