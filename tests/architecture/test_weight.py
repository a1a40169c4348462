"""What starting costs: which modules are imported, and that each module can be imported alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.requirements import covers

SOURCE = Path(__file__).parents[2] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py", "local_child.py", "convert_child.py")
)
HEAVY_EVERYWHERE = (
    "litellm",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "kreuzberg",
    "semantic_text_splitter",
    "mcp",
    "fastapi",
    "alembic",
    "aiohttp",
    "xllamacpp",
    "redis",
    "jsonschema",
    "jmespath",
)
HEAVY_FOR_HELP = (*HEAVY_EVERYWHERE, "pydantic", "starlette", "uvicorn", "yaml", "asyncio", "orjson", "sqlalchemy")
HEAVY_BEFORE_SCRAPE = (*HEAVY_EVERYWHERE, "prometheus_client", "rich")
pytestmark = covers("weight")


def imported_by(statement: str) -> set[str]:
    """Top-level modules that a statement imports in a new process."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return set(result.stdout.split())


def test_the_command_line_alone_imports_nothing_heavy() -> None:
    assert imported_by("import headgate.cli.main").isdisjoint(HEAVY_FOR_HELP)


def test_serving_imports_no_library_that_it_may_not_need() -> None:
    assert imported_by("import headgate.cli.serve").isdisjoint(HEAVY_BEFORE_SCRAPE)


def test_the_check_would_see_a_heavy_import() -> None:
    assert not imported_by("import prometheus_client").isdisjoint(HEAVY_BEFORE_SCRAPE)


def test_mcp_servers_that_are_set_import_nothing_before_their_first_use() -> None:
    needed = "import headgate.tools.mcp_pool, headgate.api.mcp, headgate.api.admin.mcp, headgate.cli.demo_mcp"
    assert imported_by(needed).isdisjoint(("mcp", "mcp_types", "httpx2", "jsonschema", "cryptography"))


def alone(modules: list[str]) -> "subprocess.CompletedProcess[str]":
    """Import each module with all of ours forgotten before, so that a hidden cycle shows as an error."""
    program = """
import importlib, sys
for name in sys.argv[1:]:
    for mine in [module for module in sys.modules if module.partition('.')[0] == 'headgate']:
        del sys.modules[mine]
    importlib.import_module(name)
"""
    command = [sys.executable, "-c", program, *modules]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.timeout(300)  # some 20 s on a machine with nothing else to do
def test_each_module_can_be_imported_alone() -> None:
    result = alone(MODULES)
    assert result.returncode == 0, result.stderr


def test_a_module_that_cannot_be_imported_is_reported() -> None:
    assert alone(["headgate.core.nowhere"]).returncode != 0
