"""Whatever stands in headgate.yaml, it loads, or all that is wrong is told; and what loads can be written again."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate.config import discovery
from headgate.config.draft import Path_, value_at
from headgate.config.effective import effective
from headgate.config.litellm_writer import to_litellm
from headgate.config.load import Loaded, draft_of, load
from headgate.config.native_writer import literal_secrets, to_yaml
from headgate.config.problems import ConfigError, Problem
from tests.config.conftest import Write
from tests.requirements import covers

pytestmark = covers("config", "131")

WHOLE = """
server: {port: 1, limits: {body: 2000}}
auth: {master_key: k, tokens: [t]}
upstreams:
  - {name: a, provider: litellm, litellm_provider: bedrock, options: {region: eu, nested: {token: [x]}}}
  - {name: b, provider: groq, api_key: k, base_url: "https://b.example/v1", headers: {x: y}, proxy: "http://p.example"}
models:
  - name: m
    targets: [{upstream: a, model: x, weight: 1, price: {input: 0.1}}, {upstream: b, model: y}]
    fallbacks: [n]
    mirror: {model: n}
    parameters: {defaults: {temperature: 1}, reasoning_effort: low}
  - {name: n, targets: [{upstream: b, model: z}]}
aliases: [{name: q, model: m}]
routing: {fallbacks: [n], retries_by_error: {upstream_timeout: 1}, cooldown: {failures_by_error: {upstream_timeout: 1}}}
"""
VALUES: list[Any] = [None, 5, -1, 1.5, True, "x", "", [], {}, [5], [None], [[]], {"a": 1}, {"name": 5}, [{"name": "m"}]]
VALUES += ["*", "${NOT_SET}", "${PORT:-x}", "http://[b", "yes"]
ROUNDS = 40


@pytest.fixture(autouse=True)
def without_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has_packaged_model", lambda: False)


def paths(data: Any, path: Path_ = ()) -> Iterator[Path_]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from paths(value, (*path, key))


def mutated(seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    data: dict[str, Any] = copy.deepcopy(yaml.safe_load(WHOLE))
    for _ in range(chance.randint(1, 4)):
        path = chance.choice(list(paths(data)) or [("server",)])
        around = value_at(data, path[:-1])
        if chance.random() < 0.25:
            del around[path[-1]]
        elif chance.random() < 0.2 and isinstance(around, dict):
            around["unknown"] = chance.choice(VALUES)
        else:
            around[path[-1]] = copy.deepcopy(chance.choice(VALUES))
    return data


@pytest.mark.parametrize("group", range(10))
def test_no_mutation_crashes(group: int, write: Write, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    if group % 2:
        monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-m")
        monkeypatch.setenv("API_TOKENS", "a,b")
        monkeypatch.setenv("PORT", "9")
    options: dict[str, Any] = {"model_spec": ("key=a,upstream=m",), "host": "h"} if group % 3 == 0 else {}
    for number in range(ROUNDS):
        file = write(yaml.safe_dump(mutated(group * ROUNDS + number)))
        loaded, problems = outcome(file, options)
        assert all(problem.file and problem.message and problem.remedy for problem in problems)
        if loaded is None:
            assert problems
            continue
        assert to_litellm(loaded).data["model_list"] is not None
        assert list(effective(loaded))
        draft = draft_of(file)
        assert all(literal_secrets(draft))
        (place / "again.yaml").write_text(to_yaml(draft))
        assert load(place / "again.yaml", options).settings == loaded.settings


def outcome(file: Path, options: dict[str, Any]) -> tuple[Loaded | None, list[Problem]]:
    try:
        return load(file, options), []
    except ConfigError as error:
        return None, error.problems


def test_some_mutations_load_and_some_do_not(write: Write) -> None:
    loaded = [outcome(write(yaml.safe_dump(mutated(seed))), {})[0] for seed in range(ROUNDS)]
    assert {one is None for one in loaded} == {True, False}
