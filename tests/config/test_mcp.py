"""MCP servers from files: both forms, variables in every place, and each mistake with its file and line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.config.load import load
from headgate.config.problems import ConfigError, Problem
from headgate.config.secrets import shown_value
from tests.requirements import covers

pytestmark = covers("62")
Write = Callable[[str], Path]
SERVERS = """
servers:
  perplexity:
    type: stdio
    command: npx
    args: ["-y", "perplexity-mcp", "--at=${PLACE:-here}"]
    env: {PERPLEXITY_API_KEY: "${PERPLEXITY_API_KEY}"}
    description: Perplexity search
  home:
    type: streamablehttp
    url: "https://${HOST}/api/mcp"
    headers:
      Authorization: "Bearer ${HA_TOKEN}"
  remote:
    type: sse
    url: https://example.com/sse
"""
JSON = """{"mcpServers": {
  "files": {"command": "npx", "args": ["-y", "server-filesystem", "/tmp"]},
  "api": {"url": "https://example.com/mcp", "transport": "http", "auth_env_var": "API_KEY", "timeout": 3},
  "off": {"url": "${NEVER_SET}", "disabled": true}
}}"""


@pytest.fixture
def beside(place: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes mcp/servers.yaml beside a configuration."""
    write("upstreams: [{name: a, provider: mock}]")
    for name, value in {"PERPLEXITY_API_KEY": "pplx-1", "HOST": "ha.local", "HA_TOKEN": "t"}.items():
        monkeypatch.setenv(name, value)
    (place / "mcp").mkdir()

    def write_servers(text: str) -> Path:
        file = place / "mcp" / "servers.yaml"
        file.write_text(text)
        return file

    return write_servers


def mistakes() -> list[Problem]:
    with pytest.raises(ConfigError) as error:
        load()
    return list(error.value.problems)


def test_servers_beside_the_configuration_are_read_with_variables_in_every_place(beside: Write) -> None:
    beside(SERVERS)
    servers = load().settings.mcp.servers
    assert servers["perplexity"].args[-1] == "--at=here"
    assert servers["perplexity"].env == {"PERPLEXITY_API_KEY": "pplx-1"}
    assert servers["home"].url == "https://ha.local/api/mcp"
    assert servers["home"].headers == {"Authorization": "Bearer t"}
    assert [one.transport for one in servers.values()] == ["stdio", "http", "sse"]


@pytest.mark.parametrize(("name", "line"), [("PERPLEXITY_API_KEY", 7), ("HOST", 11), ("HA_TOKEN", 13)])
def test_a_variable_that_is_not_set_is_told_with_file_and_line(
    name: str, line: int, beside: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = beside(SERVERS)
    monkeypatch.delenv(name)
    (problem,) = mistakes()
    assert problem.message == f"The variable {name} is not set."
    assert (problem.file, problem.line) == (str(file), line)


@pytest.mark.parametrize(
    ("server", "line"),
    [
        ("command: x\n    args:\n      - ${NOWHERE}", 5),
        ("command: x\n    env:\n      A: ${NOWHERE}", 5),
        ("url: https://${NOWHERE}/mcp", 3),
        ("url: https://x/mcp\n    headers:\n      A: Bearer ${NOWHERE}", 5),
    ],
)
def test_an_unset_variable_is_told_wherever_it_stands(beside: Write, server: str, line: int) -> None:
    file = beside(f"servers:\n  a:\n    {server}\n")
    (problem,) = mistakes()
    assert problem.message == "The variable NOWHERE is not set."
    assert (problem.file, problem.line) == (str(file), line)


def test_the_json_of_clients_is_read_and_a_server_that_is_off_lacks_nothing(
    place: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("mcp: {files: [clients.json]}")
    (place / "clients.json").write_text(JSON)
    monkeypatch.setenv("API_KEY", "k-1")
    loaded = load()
    servers = loaded.settings.mcp.servers
    assert servers["files"].transport == "stdio"
    assert servers["api"].headers == {"Authorization": "Bearer k-1"}
    assert servers["api"].transport == "http"
    assert set(loaded.settings.mcp.used) == {"files", "api"}
    assert any("`timeout` of an MCP server is not read" in note for note in loaded.draft.notes)


def test_a_file_named_by_the_environment_is_read_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "mine.json").write_text('{"mcpServers": {"a": {"command": "true"}}}')
    monkeypatch.setenv("MCP_CONFIG_PATH", "mine.json")
    assert set(load().settings.mcp.servers) == {"a"}


@pytest.mark.parametrize(
    ("servers", "line", "told"),
    [
        ("servers:\n  a: {type: stdio}", 2, "needs a command"),
        ("servers:\n  a:\n    url: ftp://x", 2, "needs a url that begins with https://"),
        ("servers:\n  a: {command: x, url: 'https://y'}", 2, "a command or a url, not both"),
        ("servers:\n  a: {command: x, colour: red}", 2, "There is no such setting."),
        ("servers:\n  'a b': {command: x}", 2, "cannot be the name"),
        ("servers:\n  a: 3", 2, "is a mapping"),
        ("tools: {}", 1, "names no MCP servers"),
    ],
)
def test_a_mistake_is_told_with_the_line_of_its_own_file(beside: Write, servers: str, line: int, told: str) -> None:
    file = beside(servers)
    found = mistakes()
    assert [problem for problem in found if told in problem.message], found
    assert {(problem.file, problem.line) for problem in found} == {(str(file), line)}


def test_two_servers_of_one_name_are_told_with_both_places(beside: Write, write: Write) -> None:
    write("mcp:\n  servers:\n    remote: {command: x}")
    beside(SERVERS)
    (problem,) = mistakes()
    assert "is there already, at headgate.yaml:3" in problem.message


def test_an_agent_that_names_no_server_of_ours_is_told_which_there_are(
    problems: Callable[[str], list[Problem]],
) -> None:
    text = "mcp: {servers: {time: {command: x}}}\nagents: [{name: a, model: m, mcp_servers: [tyme]}]"
    (problem,) = [one for one in problems(text) if "MCP" in one.message]
    assert "There is no MCP server 'tyme'." in problem.message
    assert "time" in problem.remedy


@pytest.mark.parametrize("field", ["env", "headers"])
def test_what_may_be_a_secret_is_not_shown(field: str) -> None:
    assert shown_value(("mcp", "servers", "a", field, "X"), "plain") == "[redacted]"
    assert shown_value(("mcp", "servers", "a", "command"), "plain") == "plain"
