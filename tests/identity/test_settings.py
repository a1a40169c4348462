"""Tenants and the database in the configuration."""

import os
from pathlib import Path

import pytest

from headgate.config.effective import effective
from headgate.config.load import Loaded, load
from headgate.config.problems import ConfigError
from headgate.core.bounds import Budget, Rate
from headgate.identity.types import configured_tenants
from tests.requirements import covers

pytestmark = covers("116", "config")

TEXT = """
tenants:
  - id: dev
    name: Development
    models: {allow: ["small*"], deny: [small-old]}
    rate: {requests_per_minute: 60}
    budgets: [{usd: 2.50, period: day}, {usd: 0.1, period: day, hard: false}]
    keys: ["${DEV_KEY}"]
"""


def loaded(folder: Path, text: str) -> Loaded:
    file = folder / "headgate.yaml"
    file.write_text(text)
    return load(file)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEV_KEY", "sk-planted-in-the-file")
    monkeypatch.chdir(tmp_path)


def test_a_tenant_of_the_file_is_a_tenant(tmp_path: Path) -> None:
    settings = loaded(tmp_path, TEXT).settings
    tenant = configured_tenants(settings.tenants)["dev"]
    assert (tenant.name, tenant.configured) == ("Development", True)
    assert (tenant.rights.allow, tenant.rights.deny) == (("small*",), ("small-old",))
    assert tenant.rights.rate == Rate(requests_per_minute=60)
    assert tenant.rights.budgets == (Budget(2_500_000_000, "day"), Budget(100_000_000, "day", hard=False))
    assert [key.get_secret_value() for key in settings.tenants[0].keys] == ["sk-planted-in-the-file"]


@covers("redaction")
def test_its_keys_are_not_shown(tmp_path: Path) -> None:
    shown = {one.path: one.value for one in effective(loaded(tmp_path, TEXT))}
    assert shown["tenants[0].id"] == "dev"
    assert "planted" not in str(shown)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("tenants: [{id: a}, {id: a}]", "tenants[1].id"),
        ("tenants: [{id: a/b}]", "tenants[0].id"),
        ("tenants: [{}]", "tenants[0].id"),
        ("tenants: [{id: a, budgets: [{usd: -1}]}]", "tenants[0].budgets[0].usd"),
        ("tenants: [{id: a, rates: {}}]", "tenants[0].rates"),
        ("tenants: [{id: a, keys: ['${NOT_SET}']}]", "tenants[0].keys[0]"),
        ("database: {path: x}", "database.path"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert path in str(caught.value)


@covers("redaction")
def test_a_mistake_in_a_key_does_not_show_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "tenants: [{id: a, keys: {planted-key: planted-value}}]")
    assert "planted-value" not in str(caught.value)


@covers("redaction")
def test_the_password_of_a_database_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_DATABASE_URL", "postgresql+asyncpg://user:planted@host/name")
    found = loaded(tmp_path, TEXT)
    url = found.settings.database.url
    assert url is not None
    assert "planted" in url.get_secret_value()
    assert "planted" not in str([one.value for one in effective(found)])
