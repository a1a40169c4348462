"""Agents in files beside the configuration: which are found, every mistake with its place, and that they answer."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from headgate.config.agents import agent_schema
from headgate.config.load import load
from headgate.config.problems import ConfigError
from tests.harness.gateway import running_gateway
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("52")
CONF = Path(__file__).parents[2] / "conf"
MAIN = """\
upstreams: [{name: stub, provider: openai_compatible, base_url: "http://127.0.0.1:9/v1"}]
models:
  - {name: small, targets: [{upstream: stub, model: x}]}
  - {name: augmented/taken, targets: [{upstream: stub, model: x}]}
aliases: [{name: tiny, model: small}]
"""


def house(folder: Path, files: dict[str, str], main: str = MAIN) -> Path:
    for path, text in {"headgate.yaml": main, **files}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "headgate.yaml"


def names(file: Path | None) -> list[str]:
    return [agent.name for agent in load(file).settings.agents]


def problems(folder: Path, agent: str, main: str = MAIN) -> list[tuple[str, int, str]]:
    """(file, line, path and message) of every mistake of one file of agents."""
    file = house(folder, {"conf/agents/a.yaml": agent, "conf/mcp/servers.yaml": "servers: {home: {command: x}}"}, main)
    with pytest.raises(ConfigError) as caught:
        load(file)
    return [(Path(one.file).name, one.line, f"{one.path}: {one.message}") for one in caught.value.problems]


def test_one_agent_or_a_list_in_each_file_of_both_folders(tmp_path: Path) -> None:
    file = house(
        tmp_path,
        {
            "conf/agents/one.yaml": "name: one\nmodel: small",
            "conf/agents/deep/two.yml": "- {name: two, model: small}\n- {name: three, upstream_model: tiny}",
            "conf/models/four.yml": "models:\n  - {name: four, model: small, experts: {one: {history: full}}}",
            "conf/agents/empty.yaml": "# nothing\n",
            "conf/agents/notes.txt": "no agent",
            "conf/mcp/servers.yaml": "servers: {home: {command: x}}",
            "conf/agents/five.yml": "{name: five, model: small, delegates: [one, small], mcp_servers: [home]}",
        },
        MAIN + "agents: [{name: inline, model: small}]\n",
    )
    assert names(file) == ["inline", "two", "three", "five", "one", "four"]
    three = load(file).settings.agents[2]
    assert three.model == "tiny"


@pytest.mark.parametrize("given", ["conf/models", "conf"])
def test_the_folder_is_named_by_variable_or_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    file = house(tmp_path, {"elsewhere/" + "conf/models/x.yml": "name: x\nmodel: small"})
    assert names(file) == []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELS_CONFIG_DIR", f"elsewhere/{given}")
    assert names(file) == ["x"]
    monkeypatch.delenv("MODELS_CONFIG_DIR")
    file.write_text(MAIN + f"conf: elsewhere/{given}\n")
    monkeypatch.chdir("/")
    assert names(file) == ["x"]
    file.write_text(MAIN + "conf: nowhere\n")
    with pytest.raises(ConfigError, match="There is no folder"):
        load(file)


def test_every_key_of_augmented_models_is_taken(tmp_path: Path) -> None:
    agent = {
        "name": "augmented/home",
        "upstream_model": "small",
        "system_prompt": "Help.",
        "tools": [{"type": "function", "function": {"name": "get_current_time", "parameters": {"type": "object"}}}],
        "mcp_servers": [],
        "skills": ["tidy"],
        "include_global_skills": True,
        "description": "x",
        "owned_by": "me",
        "created": 1700000000,
        "experts": {"other": {"history": "condensed"}},
    }
    file = house(
        tmp_path,
        {
            "conf/models/a.yaml": yaml.safe_dump([agent, {"name": "other", "model": "small"}]),
            "conf/skills/tidy.md": "Tidy up.",
        },
    )
    assert names(file) == ["augmented/home", "other"]
    validator = jsonschema.Draft202012Validator(agent_schema())
    validator.validate(agent)
    validator.validate([agent])
    assert not validator.is_valid({**agent, "upstream": "x"})


GOOD = "name: a\nmodel: small\n"


@pytest.mark.parametrize(
    ("agent", "line", "words"),
    [
        (GOOD + "promt: x", 3, "promt: There is no such setting."),
        ("model: small", 1, "name: The setting is required."),
        ("name: a\nmodel: smal", 2, "model: There is no model 'smal'."),
        ("name: a\nupstream_model: smal", 2, "upstream_model: There is no model 'smal'."),
        ("name: a", 1, "has no model"),
        (GOOD + "tools:\n  - calculator\n  - calculater", 5, "tools[1]: There is no tool 'calculater'."),
        (GOOD + "tools: [{type: function, function: {name: nothing}}]", 3, "There is no tool 'nothing'."),
        (GOOD + "tools: [{type: function}]", 3, "The tool has no name."),
        (GOOD + "tools: [web_search]", 3, "There is no tool 'web_search'."),
        (GOOD + "mcp_servers: [away]", 3, "There is no MCP server 'away'."),
        (GOOD + "tool_groups: [computing]", 3, "There is no group of tools 'computing'."),
        (GOOD + "skills: [nothing]", 3, "skills[0]: There is no skill 'nothing'."),
        (GOOD + "delegates: [b]", 3, "There is no agent or model 'b'."),
        (GOOD + "delegates: [a]", 3, "would delegate to itself"),
        (GOOD + "experts: {augmented/a: }", 3, "would delegate to itself"),
        (GOOD + "bounds:\n  turns: 0", 4, "bounds.turns: Input should be greater"),
        (GOOD + "mcp_servers:\n  home:\n    whitelst: [x]", 5, "mcp_servers.home.whitelst: There is no such"),
        (GOOD + "strategy: fast", 3, "strategy: Input should be"),
        (GOOD + "system_prompt: |\n  One\n  {{calculator(x=}}", 5, "system_prompt: Expected a text in quotes"),
        (GOOD + "system_prompt: '{{calculater()}}'", 3, "calls 'calculater'"),
        (GOOD + "system_prompt: |\n  One\n\n  {{team}}", 6, "there is no such variable"),
        ("- name: a\n  model: small\n- x", 3, "An agent is a mapping."),
        ("- {name: a, model: small}\n- {name: a, model: small}", 2, "The name 'a' is taken already"),
        ("- {name: a, model: small}\n- {name: augmented/a, model: small}", 2, "The name 'augmented/a' is taken"),
        ("name: a\n model: [", 2, "not valid YAML"),
        ("just text", 1, "not a mapping"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_path(tmp_path: Path, agent: str, line: int, words: str) -> None:
    [(file, at, told)] = problems(tmp_path, agent)
    assert (file, at) == ("a.yaml", line)
    assert words in told


@covers("53")
@pytest.mark.parametrize("name", ["small", "tiny", "augmented/taken", "taken"])
def test_a_name_that_means_a_model_or_an_alias_is_refused(tmp_path: Path, name: str) -> None:
    [(file, line, told)] = problems(tmp_path, f"model: small\nname: {name}")
    assert (file, line) == ("a.yaml", 2)
    assert "is taken already, at" in told
    assert "headgate.yaml" in told


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    file = house(
        tmp_path,
        {
            "conf/agents/a.yaml": "name: a\nmodel: none",
            "conf/agents/b.yaml": "name: [",
            "conf/skills/Bad/SKILL.md": "---\nname: Bad\ndescription: x\n---",
            "conf/agents/c.yaml": "name: c\nmodel: small\nsystem_prompt: '{{x'",
        },
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    told = [Path(one.file).name for one in caught.value.problems]
    assert sorted(told) == ["SKILL.md", "a.yaml", "b.yaml", "c.yaml"]
    assert all(one.remedy and one.line for one in caught.value.problems)


@pytest.mark.parametrize("more", ["{offer_all: true, ", "{"])
def test_a_model_is_not_looked_up_where_an_upstream_offers_all_it_has(tmp_path: Path, more: str) -> None:
    main = MAIN.replace("[{name: stub", f"[{more}name: stub")
    file = house(tmp_path, {"conf/models/a.yaml": "name: augmented/x\nupstream_model: google/any"}, main)
    if more == "{":
        with pytest.raises(ConfigError, match="There is no model 'google/any'"):
            load(file)
    else:
        assert names(file) == ["augmented/x"]


@pytest.mark.parametrize("strategy", ["classifier", "orchestration"])
def test_a_model_that_a_strategy_asks_is_one_of_those_that_are_set(tmp_path: Path, strategy: str) -> None:
    file = house(tmp_path, {}, f"{MAIN}strategies:\n  {strategy}: {{model: smal}}\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    [told] = caught.value.problems
    assert (told.path, told.message) == (f"strategies.{strategy}.model", "There is no model 'smal'.")
    assert "small" in told.remedy
    assert names(house(tmp_path, {}, f"{MAIN}strategies:\n  {strategy}: {{model: small}}\n")) == []


async def test_an_agent_of_a_file_answers_with_its_skill(stub: Stub, tmp_path: Path) -> None:
    file = house(
        tmp_path,
        {
            "conf/agents/a.yaml": GOOD + "system_prompt: '{{calculator(expression=\"1+1\")}}'",
            "conf/skills/a/x.md": "My skill.",
        },
        MAIN.replace("http://127.0.0.1:9/v1", stub.url),
    )
    async with running_gateway(file) as gateway:
        assert (await gateway.chat(model="augmented/a")).status_code == 200
    assert stub.last.json["messages"][0]["content"] == "2\n\n# Skills\n\n## x\n\nMy skill."


def test_the_example_agents_are_good_and_as_the_schema_says() -> None:
    settings: Any = load(CONF / "headgate.yaml").settings
    assert "augmented/clerk" in [agent.name for agent in settings.agents]
    schema = json.loads((CONF / "agent.schema.json").read_text())
    for file in (CONF / "agents").glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(file.read_text()), schema)
