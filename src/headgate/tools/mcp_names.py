"""Names of MCP tools: what a model calls them by, and which of them a pattern means. Pure.

A tool is called `mcp_{server}_{tool}`. Models take letters, digits, `_` and `-`, 64 at most, so other names are made to
fit and get a hash of the true one; who has all server names can always tell whose tool it is.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

PREFIX = "mcp_"
LONGEST = 64
_WILD = re.compile(r"[*?\[]")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")
_HASH = 10


def exposed(server: str, tool: str, servers: Iterable[str]) -> str:
    """What a model calls a tool of a server, given the names of all servers."""
    plain = f"{PREFIX}{server}_{tool}"
    fits = len(plain) <= LONGEST and not _FORBIDDEN.search(plain)
    if fits and server_of(plain, servers) == server:
        return plain
    mark = hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()[:_HASH]
    return f"{_FORBIDDEN.sub('_', plain)[: LONGEST - _HASH - 1]}_{mark}"


def server_of(name: str, servers: Iterable[str]) -> str | None:
    """Whose tool an unchanged name means: of several servers that fit, the one with the longest name."""
    fitting = (server for server in servers if name.startswith(f"{PREFIX}{server}_"))
    return max(fitting, key=len, default=None)


def candidates(name: str, servers: Iterable[str]) -> list[str]:
    """The servers that may have a tool of this name, changed or not; of a pattern those that it may mean."""
    fixed = _WILD.split(name, maxsplit=1)[0]
    is_pattern = fixed != name
    begins = {server: _FORBIDDEN.sub("_", f"{PREFIX}{server}_")[: LONGEST - _HASH - 1] for server in servers}
    return [
        server
        for server, begin in begins.items()
        if fixed.startswith(begin) or (is_pattern and begin.startswith(fixed))
    ]


def passes(tool: str, whitelist: Sequence[str], blacklist: Sequence[str]) -> bool:
    """Whether filters let a tool through: the whitelist first, then the blacklist. Both hold patterns of own names."""
    if whitelist and not matches(tool, whitelist):
        return False
    return not matches(tool, blacklist)


def matches(name: str, patterns: Collection[str]) -> bool:
    """Whether any pattern means a name: `*`, `?` and `[…]` as in file names; case counts."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
