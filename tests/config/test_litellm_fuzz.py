"""Whatever is wrong in a LiteLLM file, it loads or its mistakes are told with a line; no field is passed over."""

import copy
import datetime as dt
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from headgate.config import load
from headgate.config.draft import Path_
from headgate.config.problems import ConfigError, Problem
from tests.config.litellm_files import FILES, FOLDER, passed_over, variables_of
from tests.requirements import covers

ROUNDS = 40
JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    3,
    1 << 70,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "*",
    "a/b/c",
    "http://[",
    "${OPEN",
    "os.environ/",
    "os.environ/TWO WORDS",
    "os.environ/OPENAI_API_KEY",
    "\u2028\x7f",
    "y" * 600,
    dt.date(2024, 10, 21),
    dt.datetime(2024, 10, 21, 1, 2, 3, tzinfo=dt.UTC),
    b"bytes",
    {"in", "a", "set"},
    [],
    [None],
    [[1], {"a": "b"}],
    ["gpt-4o", "gpt-4o"],
    {},
    {"a": "b"},
    {"model": 1, "*": [2]},
    {1: 2, None: 3},
    {"api_key": {"deep": ["er"]}},
]
pytestmark = covers("166", "fuzz")


def places(data: Any, path: Path_ = ()) -> list[Path_]:
    """The path of every value but the whole."""
    held = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, value in held for place in ((*path, key), *places(value, (*path, key)))]


def mutated(data: Any, random: Random) -> Any:
    """One to three values replaced, removed, or put under another name."""
    data = copy.deepcopy(data)
    for _ in range(random.randint(1, 3)):
        found = places(data)
        if not found:
            return data
        *around, last = random.choice(found)
        here = data
        for part in around:
            here = here[part]
        action = random.choice(("replace", "replace", "remove", "rename"))
        if action == "rename" and isinstance(here, dict):
            here[random.choice(("temprature", "model_name", "a.b[0]", "rpm", 7))] = here.pop(last)
        elif action == "remove":
            del here[last]
        else:
            here[last] = copy.deepcopy(random.choice(JUNK))
    return data


def mistakes(file: Path) -> list[Problem]:
    """What loading says is wrong; it never just fails."""
    try:
        load.load(file)
    except ConfigError as error:
        return error.problems or [Problem("", 0, "", "refused without a reason", "")]
    return []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_mutated_file_loads_or_tells_its_mistakes_with_a_line(
    file: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables_of(file):
        monkeypatch.setenv(name, value)
    shutil.copytree(FOLDER / "shared", "shared")
    whole = yaml.safe_load(file.read_text())
    for seed in range(ROUNDS):
        data = mutated(whole, Random(f"{file.stem} {seed}"))
        Path("litellm.yaml").write_text(yaml.safe_dump({"router_settings": None} | data, allow_unicode=True))
        problems = mistakes(Path("litellm.yaml"))
        assert [one for one in problems if not (one.line and one.message and one.remedy)] == [], seed
        assert passed_over(load.draft_of(Path("litellm.yaml")), "litellm.yaml") == [], seed


def test_mutations_differ_and_leave_the_original_alone() -> None:
    whole = yaml.safe_load((FOLDER / "general.yaml").read_text())
    before = copy.deepcopy(whole)
    texts = {yaml.safe_dump(mutated(whole, Random(str(seed)))) for seed in range(ROUNDS)}
    assert len(texts) > ROUNDS // 2
    assert whole == before
