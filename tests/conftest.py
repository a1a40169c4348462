"""Fixtures for everyone: a scripted upstream, a gateway on a real socket in front of it, and one as its own process."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from tests.harness.databases import each_database, postgresql
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.process import Processes
from tests.harness.stub import Stub
from tests.marks import pytest_collection_modifyitems, pytest_configure

__all__ = ["each_database", "postgresql", "pytest_collection_modifyitems", "pytest_configure"]
pytest_plugins = ["pytester"]
Amount = Callable[[int, int], int]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long form of the proofs in tests/soak")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """Tests run on the loop that serves in production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def amount(request: pytest.FixtureRequest) -> Amount:
    """`amount(short, long)`: how much to do; the long form with `--long`."""
    is_long = bool(request.config.getoption("--long"))
    return lambda short, long: long if is_long else short


@pytest_asyncio.fixture
async def stub() -> AsyncIterator[Stub]:
    """An upstream that does what it is told."""
    async with Stub() as running:
        yield running


@pytest_asyncio.fixture
async def gateway(stub: Stub) -> AsyncIterator[Gateway]:
    """A gateway whose models `small` and `slow-retry` go to the stub; no retries unless a test asks for them."""
    async with running_gateway(settings_for(stub)) as running:
        yield running


@pytest.fixture
def processes(tmp_path: Path) -> Any:
    """Starts `headgate` as a process of its own; all are stopped at the end."""
    started = Processes(tmp_path)
    yield started
    started.stop()


def settings_for(stub: Stub, **more: Any) -> dict[str, Any]:
    """Settings with one upstream `stub` and one model `small`, which the stub calls `stub-small`."""
    return {
        "upstreams": [
            {"name": "stub", "provider": "openai_compatible", "base_url": stub.url, "api_key": "sk-upstream-secret-1"}
        ],
        "models": [{"name": "small", "targets": [{"upstream": "stub", "model": "stub-small"}], "retries": 0}],
        **more,
    }
