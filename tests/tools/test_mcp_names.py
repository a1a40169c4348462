"""What MCP tools are called, and which of them filters let through."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.tools.mcp_names import candidates, exposed, passes, server_of
from tests.requirements import covers

ALLOWED = re.compile(r"[A-Za-z0-9_-]{1,64}")
SERVER = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)


@covers("63")
@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [
        ("time", "now", "mcp_time_now"),
        ("git-hub", "list_issues", "mcp_git-hub_list_issues"),
        ("s", "x" * 58, "mcp_s_" + "x" * 58),
    ],
)
def test_a_name_that_fits_is_prefixed_and_otherwise_unchanged(server: str, tool: str, name: str) -> None:
    assert exposed(server, tool, [server]) == name
    assert server_of(name, [server, "other"]) == server


@covers("63")
@pytest.mark.parametrize("tool", ["x" * 59, "x" * 500, "read.file", "größe", "a/b", "a b", ""])
def test_a_name_that_does_not_fit_is_shortened_with_a_hash_of_the_true_one(tool: str) -> None:
    name = exposed("my.files", tool, ["my.files"])
    assert ALLOWED.fullmatch(name)
    assert name == exposed("my.files", tool, ["my.files"])
    assert name != exposed("my.files", f"{tool}2", ["my.files"])
    assert "my.files" in candidates(name, ["my.files", "other"])


@covers("63")
def test_two_servers_whose_names_run_into_each_other_never_share_a_name() -> None:
    servers = ["a", "a_b"]
    assert exposed("a_b", "c", servers) == "mcp_a_b_c"
    assert exposed("a", "b_c", servers) != "mcp_a_b_c"
    assert exposed("a", "b_c", servers).startswith("mcp_a_b_c_")
    assert exposed("a", "x", servers) == "mcp_a_x"


@covers("63")
@given(st.lists(st.tuples(SERVER, st.text(max_size=80)), min_size=2, max_size=20, unique=True))
def test_names_are_allowed_and_unique_whatever_servers_call_their_tools(pairs: list[tuple[str, str]]) -> None:
    servers = [server for server, _ in pairs]
    names = [exposed(server, tool, servers) for server, tool in pairs]
    assert all(map(ALLOWED.fullmatch, names))
    assert len(set(names)) == len(names)
    assert all(server in candidates(name, servers) for (server, _), name in zip(pairs, names, strict=True))


@covers("64")
@pytest.mark.parametrize(
    ("tool", "whitelist", "blacklist", "passed"),
    [
        ("read_file", [], [], True),
        ("read_file", ["read_*"], [], True),
        ("write_file", ["read_*"], [], False),
        ("read_file", ["read_*"], ["read_file"], False),
        ("read_file", [], ["*_file"], False),
        ("read_file", [], ["write_*"], True),
        ("read_file", ["READ_*"], [], False),
        ("read_a", ["read_?"], [], True),
        ("read_ab", ["read_?"], [], False),
        ("read_1", ["read_[0-9]"], [], True),
        ("a.b", ["a.b"], [], True),
        ("axb", ["a.b"], [], False),
        ("mcp_s_read", ["read"], [], False),
    ],
)
def test_the_whitelist_comes_first_and_then_the_blacklist(
    tool: str, whitelist: list[str], blacklist: list[str], passed: bool
) -> None:
    assert passes(tool, whitelist, blacklist) is passed
