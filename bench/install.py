"""Installs a peer into its own folder when it is not there yet, and says how large an installation is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from bench.peers import Peer

INSTALL_SECONDS = 900
NOT_COUNTED = ("pip", "setuptools", "wheel", "uv", "_distutils_hack", "pkg_resources", "distutils-precedence")
EXTRA = re.compile(r";.*\bextra\s*==")
NAME = re.compile(r"[A-Za-z0-9._-]+")


def default_folder() -> Path:
    """Where peers are kept between runs."""
    chosen = os.environ.get("HEADGATE_BENCH_DIR")
    return Path(chosen) if chosen else Path.home() / ".cache" / "headgate-bench"


def ensure(peer: Peer, folder: Path) -> Path:
    """The peer's home, installed now if it is missing."""
    home = folder / (peer.folder or peer.name)
    if peer.npm and not (home / "node_modules").is_dir():
        home.mkdir(parents=True, exist_ok=True)
        _call(["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", peer.npm])
    if peer.pip and not any(home.glob("lib/python*/site-packages")):
        _install_python(home, peer.pip)
    return home


def _install_python(home: Path, packages: tuple[str, ...]) -> None:
    uv = shutil.which("uv")
    python = str(home / "bin" / "python")
    if uv:
        _call([uv, "venv", "--python", sys.executable, str(home)])
        _call([uv, "pip", "install", "--python", python, *packages])
    else:
        _call([sys.executable, "-m", "venv", str(home)])
        _call([python, "-m", "pip", "install", "--quiet", *packages])


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL)


def version(peer: Peer, home: Path) -> str:
    """The installed version of what the row measures; empty where that is not a package."""
    if peer.npm:
        manifest = home / "node_modules" / peer.npm.rpartition("@")[0] / "package.json"
        return str(json.loads(manifest.read_text())["version"])
    name = NAME.match(peer.pip[0] if peer.pip else peer.name)
    assert name is not None
    folders = [str(folder) for folder in home.glob("lib/python*/site-packages")] if peer.pip else sys.path
    found = next(iter(metadata.distributions(name=name[0], path=folders)), None)
    return found.version if found else ""


def size_mb(peer: Peer, home: Path) -> float:
    """MB on disk of what the installation added; 0 where that is not a package folder (nginx)."""
    if peer.npm:
        return _bytes_below([home / "node_modules"]) / 1e6
    if peer.pip:
        entries = [entry for packages in home.glob("lib/python*/site-packages") for entry in packages.iterdir()]
        return _bytes_below(entry for entry in entries if not _is_tooling(entry.name)) / 1e6
    return (_closure_bytes(peer.name) + _source_bytes(peer.name)) / 1e6


def _is_tooling(name: str) -> bool:
    return re.split(r"[-.]", name)[0] in NOT_COUNTED


def _bytes_below(entries: Iterable[Path]) -> int:
    total = 0
    for entry in entries:
        files = entry.rglob("*") if entry.is_dir() else (entry,)
        total += sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())
    return total


def _source_bytes(name: str) -> int:
    """The package's own source when it is installed editable, so that its distribution does not list it."""
    spec = importlib.util.find_spec(name)
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
    return _bytes_below(folder for folder in folders if "site-packages" not in folder.parts)


def _closure_bytes(name: str) -> int:
    """The files of a distribution of this environment and of all it requires without extras."""
    waiting, seen, total = [name], set[str](), 0
    while waiting:
        key = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = metadata.distribution(key)
        except metadata.PackageNotFoundError:
            continue
        paths = {Path(str(distribution.locate_file(file))) for file in distribution.files or ()}
        total += _bytes_below(path for path in paths if path.exists())
        requirements = [text for text in distribution.requires or () if not EXTRA.search(text)]
        waiting += [found[0] for text in requirements if (found := NAME.match(text))]
    return total
