"""The configuration read anew while the gateway runs: all of it is read and checked, then swapped at once.

Requests that are under way go on with what they began with. Every worker of the machine follows.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from headgate.api.gate import Gate, Reloaded
from headgate.app.agents import mcp_of, offered_of, skills_of, steer_with
from headgate.app.allotments import allotments_of
from headgate.app.parts import Parts, parts_of
from headgate.app.prepare import Prepared
from headgate.app.secrets import secrets_of
from headgate.config.load import load
from headgate.config.tree import Settings
from headgate.core.agent_errors import ConfigurationInvalid
from headgate.core.audit import Act
from headgate.core.errors import DatabaseUnavailable, StartupError
from headgate.core.ports import Upstream
from headgate.core.principal import DEFAULT_TENANT
from headgate.identity.signal import Signal
from headgate.routing.probe import keep_probing
from headgate.telemetry.redact import conceal
from headgate.tools.mcp_client import McpServer
from headgate.tools.mcp_pool import McpPool
from headgate.tools.registry import Registry
from headgate.upstreams.http import Wire
from headgate.usage.prices import Prices

__all__ = ["Reloader", "reloading"]
log = logging.getLogger(__name__)
_SWAPPED = frozenset(("upstreams", "models", "aliases", "strategies", "agents", "conf", "mcp"))
"""Sections that take effect at once; the others with the next start, as does `mcp.serve`."""
_FOLLOW_SECONDS = 0.25
_MOST_FILES = 20_000


class Reloader:
    """Swaps the parts of one worker."""

    def __init__(
        self, prepared: Prepared, gate: Gate, wire: Wire, prices: Prices, parts: Parts, registry: Registry
    ) -> None:
        self._prepared = prepared
        self._gate = gate
        self._wire = wire
        self._prices = prices
        self._parts = parts
        self._registry = registry
        self._lock = asyncio.Lock()
        self._retiring: dict[asyncio.Task[None], list[Upstream | McpServer]] = {}
        self._probing: asyncio.Task[None] | None = None
        self.signal: Signal | None = None
        self.seen = 0
        self.probe()

    async def reload(self, *, asked: bool = True) -> Reloaded:
        """Raises ConfigurationInvalid with all that is wrong; then nothing has changed.

        `asked`: somebody asked this worker for it, so that it is put down, and the others are told.
        """
        async with self._lock:
            try:
                settings, fixed = await asyncio.to_thread(self._read)
                skills = skills_of(settings)
                parts = parts_of(settings, self._wire, self._prepared.local, self._gate.deps.book, self._parts)
                deps = replace(self._gate.deps, catalog=parts.catalog, planner=parts.planner, upstreams=parts.upstreams)
                deps.provider_of = parts.lists.provider_of
                mcp = mcp_of(settings, self._prepared.data_dir, self._gate.mcp)
                templates = steer_with(deps, settings, skills, self._registry, mcp)
            except StartupError as error:
                raise ConfigurationInvalid(f"Nothing has changed. {error}") from None
            told = Reloaded(len(settings.models), len(settings.agents), len(skills.all), fixed, _connected(mcp))
            if asked and self._gate.audit is not None:
                after = {"models": told.models, "agents": told.agents, "skills": told.skills}
                act = Act("configuration.reloaded", "configuration", "configuration", DEFAULT_TENANT, after=after)
                await self._gate.audit.record(act)
            for secret in secrets_of(settings):
                conceal(secret)
            self._retire(parts, mcp)
            self._gate.deps, self._gate.lists = deps, parts.lists
            self._gate.skills, self._gate.templates = skills, templates
            self._gate.mcp, self._gate.offered = mcp, offered_of(self._registry, mcp)
            self._prices.renew(parts.lists.listed_now)
            self._parts = parts
            self.probe()
            if asked and self.signal is not None:
                self.signal.bump()
                self.seen = self.signal.read()
        log.info("configuration read anew: %s models, %s agents", told.models, told.agents)
        return told

    def _read(self) -> tuple[Settings, tuple[str, ...]]:
        """The new settings within what can change, and what would take a restart."""
        before, source = self._parts.settings, self._prepared.source
        if source is None:
            return before, ()  # it was started with values instead of files; folders are read anew all the same
        new = load(source.file, source.options).settings
        started = self._prepared.settings
        kept = [name for name in Settings.model_fields if name not in _SWAPPED]
        new.mcp, serve = new.mcp.model_copy(update={"serve": started.mcp.serve}), new.mcp.serve
        fixed = [path for name in kept for path in _differing(getattr(started, name), getattr(new, name), name)]
        fixed += _differing(started.mcp.serve, serve, "mcp.serve")
        effective = new.model_copy(update={name: getattr(started, name) for name in kept})
        provider_of = self._gate.lists.provider_of
        with contextlib.suppress(KeyError):  # an upstream is new, and so nobody's budget
            if allotments_of(started, provider_of) != allotments_of(effective, provider_of):
                fixed.append("models.targets.budget")
        return effective, tuple(fixed)

    def probe(self) -> None:
        """Look after the resting targets of the models that there are now."""
        if self._probing is not None:
            self._probing.cancel()
        if every := self._parts.settings.routing.probes.every:
            targets = [target for model in self._parts.models for target in model.targets]
            probing = keep_probing(every, targets, self._parts.upstreams, self._gate.deps.book)
            self._probing = asyncio.get_running_loop().create_task(probing)

    def _retire(self, parts: Parts, mcp: McpPool | None) -> None:
        """Close what is not used any more, once the requests that may still use it have ended."""
        gone: list[Upstream | McpServer] = [
            one for name, one in self._parts.upstreams.items() if parts.upstreams.get(name) is not one
        ]
        gone += [one for name, one in _servers(self._gate.mcp).items() if _servers(mcp).get(name) is not one]
        if gone:
            gate = self._gate
            tasks: set[asyncio.Task[Any]] = {*gate.active, *gate.detached, *gate.deps.mirrors}
            task = asyncio.get_running_loop().create_task(_close(gone, tasks))
            self._retiring[task] = gone
            task.add_done_callback(lambda done: self._retiring.pop(done, None))

    async def keep_following(self) -> None:
        """Until cancelled: read anew what another worker was asked to."""
        while self.signal is not None:
            await asyncio.sleep(_FOLLOW_SECONDS)
            if (now := self.signal.read()) != self.seen:
                self.seen = now
                await self._quietly(asked=False)

    async def keep_watching(self, seconds: float) -> None:
        """Until cancelled: read anew when a file has changed. A bad one is told once."""
        known = await asyncio.to_thread(self.look)
        while True:
            await asyncio.sleep(seconds)
            now = await asyncio.to_thread(self.look)
            if now != known:
                known = now
                await self._quietly(asked=self._prepared.settings.server.workers == 1)

    async def _quietly(self, *, asked: bool) -> None:
        try:
            await self.reload(asked=asked)
        except (ConfigurationInvalid, DatabaseUnavailable) as error:
            log.error("the configuration was not read anew: %s", error.message)
        except Exception:
            log.exception("the configuration was not read anew")

    def look(self) -> dict[str, tuple[int, int]]:
        """Every file that the configuration is made of, with its time and size."""
        return {str(path): mark for path in self._files() if (mark := _mark(path)) is not None}

    def _files(self) -> Iterator[Path]:
        source = self._prepared.source
        if source is not None and source.file is not None:
            yield source.file
            beside = source.file.parent
            yield beside / "conf"
            yield beside / "mcp" / "servers.yaml"
            yield from (beside / Path(one).expanduser() for one in self._parts.settings.mcp.files)
        if source is not None:
            yield Path(".env")
        strategies = self._parts.settings.strategies
        for folder in {self._parts.settings.conf, strategies.prompts} - {None}:
            for number, path in enumerate(sorted(Path(folder or "").rglob("*"))):
                if number < _MOST_FILES:
                    yield path

    async def close(self) -> None:
        """Give back everything that the parts hold."""
        if self._probing is not None:
            self._probing.cancel()
        gone = [one for upstreams in self._retiring.values() for one in upstreams]
        for task in list(self._retiring):
            task.cancel()
        used: tuple[Upstream | McpServer, ...] = (*self._parts.upstreams.values(), *_servers(self._gate.mcp).values())
        await _close_all({id(one): one for one in (*gone, *used)}.values())


@contextlib.asynccontextmanager
async def reloading(reloader: Reloader, gate: Gate, prepared: Prepared) -> AsyncIterator[None]:
    """Reload when asked to, when another worker was, and, if so set, when files change."""
    gate.reload = reloader.reload
    loop = asyncio.get_running_loop()
    duties = []
    if prepared.data_dir is not None and prepared.settings.server.workers > 1:
        reloader.signal = Signal(prepared.data_dir / "run" / "configuration")
        reloader.seen = reloader.signal.read()
        duties.append(loop.create_task(reloader.keep_following()))
    if prepared.settings.reload.watch:
        duties.append(loop.create_task(reloader.keep_watching(prepared.settings.reload.seconds)))
    try:
        yield
    finally:
        for duty in duties:
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        if reloader.signal is not None:
            reloader.signal.close()


async def _close(gone: list[Upstream | McpServer], tasks: set["asyncio.Task[Any]"]) -> None:
    if tasks:
        await asyncio.wait(tasks)
    await _close_all(gone)


async def _close_all(gone: Collection[Upstream | McpServer]) -> None:
    results = await asyncio.gather(*(one.close() for one in gone), return_exceptions=True)
    for one, error in zip(gone, results, strict=True):
        if isinstance(error, Exception):
            log.warning("%s was not closed: %s", one.name, error)


def _servers(mcp: McpPool | None) -> Mapping[str, McpServer]:
    return mcp.servers if mcp is not None else {}


def _connected(mcp: McpPool | None) -> int:
    return sum(one.state == "up" for one in _servers(mcp).values())


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, 0 if path.is_dir() else found.st_size


def _differing(before: Any, after: Any, path: str) -> Iterator[str]:
    """Paths of the settings that differ."""
    if before == after:
        return
    fields = getattr(type(before), "model_fields", None)
    if fields is None or type(before) is not type(after):
        yield path
        return
    for name in fields:
        yield from _differing(getattr(before, name), getattr(after, name), f"{path}.{name}")
