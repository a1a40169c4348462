"""Finds plug-ins: Python files of a folder, and what installed packages offer under `headgate.tools`."""

import importlib.util
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from headgate.core.errors import StartupError
from headgate.tools.types import Tool, ToolInfo

GROUP = "headgate.tools"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

log = logging.getLogger(__name__)


def plugins(folder: str | None, *, packages: bool, skip_broken: bool) -> list[Tool]:
    """All tools of plug-ins; raises StartupError for one that cannot be loaded, unless those are skipped."""
    found: list[Tool] = []
    for name, load in _sources(folder, packages=packages):
        try:
            found += _tools_of(load(), name)
        except StartupError as error:
            if not skip_broken:
                raise
            log.error("%s", error)
        except (Exception, SystemExit) as error:
            told = f"The plug-in {name} cannot be loaded: {_where(error, name)}{type(error).__name__}: {error}."
            if not skip_broken:
                raise StartupError(f"{told} Mend it, or set tools.skip_broken.") from error
            log.error("%s It is left out.", told)
    return found


def may_have_plugins(folder: str | None, *, packages: bool) -> bool:
    """Whether there may be tools besides those that come with the gateway; loads none."""
    return bool(folder) or (packages and bool(entry_points(group=GROUP)))


def _sources(folder: str | None, *, packages: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    if folder:
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise StartupError(f"There is no folder {path}. Make it, or mend tools.folder.")
        for file in sorted(path.glob("*.py")):
            if not file.name.startswith("_"):
                yield str(file), partial(_imported, file)
    if packages:
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            yield _named(point), point.load


def _named(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else "a package"
    return f"'{point.name}' of {package} ({point.value})"


def _imported(file: Path) -> ModuleType:
    name = f"headgate_plugin_{re.sub('[^A-Za-z0-9_]', '_', file.stem)}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _tools_of(source: Any, name: str) -> list[Tool]:
    """A tool, a list of them, or all that stand in a module."""
    if isinstance(source, ModuleType):
        found = [value for value in vars(source).values() if _is_tool(value)]
    elif isinstance(source, Iterable):
        found = list(source)
    else:
        found = [source() if isinstance(source, type) else source]
    tools = list({id(one): one for one in found}.values())
    if not tools:
        raise StartupError(f"The plug-in {name} holds no tool. Put @tool on a function of it.")
    for one in tools:
        if not _is_tool(one):
            raise StartupError(
                f"The plug-in {name} offers {one!r:.100}, which is no tool: it has no `info` and `call`."
            )
        if not _NAME.fullmatch(one.info.name):
            raise StartupError(
                f"The plug-in {name} has a tool named '{one.info.name}'. "
                "A name has 1 to 64 letters, digits, - and _, for models accept no others."
            )
    return tools


def _is_tool(value: Any) -> bool:
    if isinstance(value, type):
        return False
    return isinstance(getattr(value, "info", None), ToolInfo) and callable(getattr(value, "call", None))


def _where(error: BaseException, name: str) -> str:
    """The line of the plug-in in which it happened."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == name] or [
        frame for frame in frames if "importlib" not in frame.filename and "headgate/tools/" not in frame.filename
    ]
    return f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""
