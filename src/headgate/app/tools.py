"""The gateway's own tools: those that come with it, and plug-ins, with what they need of the rest."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from headgate.agents.types import AgentSettings
from headgate.api.agents import usable_agents
from headgate.api.gate import Gate
from headgate.app.memory import MemoriesOf
from headgate.app.rag import ShelvesOf
from headgate.config.tree import Settings
from headgate.core.principal import Principal
from headgate.core.surfaces import IMAGES
from headgate.identity.access import may_use
from headgate.pipeline.ask import ask_model
from headgate.pipeline.context import Deps
from headgate.pipeline.inject import MCP, Injection
from headgate.telemetry.redact import conceal
from headgate.tools.builtin.registry import builtin_tools
from headgate.tools.confirm import Confirmations
from headgate.tools.loading import plugins
from headgate.tools.ports import Ports
from headgate.tools.registry import Registry
from headgate.tools.runner import ToolBounds
from headgate.tools.types import Caller

__all__ = ["arm", "equip"]
_ON_OWN_MACHINES = frozenset(("local", "ollama", "vllm", "llamacpp", "lm_studio", "openai_compatible"))
"""Providers whose servers turn `<|im_start|>` in any text into a control token; hosted ones take it for text."""
_OF_THE_SDK = frozenset(
    ("ollama", "ollama_chat", "vllm", "hosted_vllm", "lm_studio", "llamafile", "xinference", "oobabooga")
)

log = logging.getLogger(__name__)


def equip(gate: Gate, settings: Settings, pepper: bytes, *, remembers: bool) -> Registry:
    """Give the gate its tools; raises StartupError for plug-ins that cannot be loaded.

    `remembers`: something is kept, so that there are memories and documents.
    """
    tools = settings.tools
    if tools.web.search is not None and tools.web.search.api_key is not None:
        conceal(tools.web.search.api_key.get_secret_value())
    ports = _ports(gate, remembers=remembers)
    if remembers:
        confirmations = Confirmations(pepper, seconds=int(tools.approval_seconds))
        ports = replace(ports, shelves=ShelvesOf(lambda: gate.deps), confirmations=confirmations)
    registry = Registry(builtin_tools(tools, ports))
    for plugin in plugins(tools.folder, packages=tools.entry_points, skip_broken=tools.skip_broken):
        registry.add(plugin)
    gate.tools = registry.__iter__
    gate.tool_bounds = ToolBounds(tools.seconds, tools.result_characters)
    return registry


def arm(deps: Deps, settings: Settings, registry: Registry) -> None:
    """Tell the pipeline which models get tools unasked, and before which marks in their output are broken up."""
    deps.reads_marks = _reading_marks(settings)
    deps.action_seconds = settings.tools.approval_seconds
    for agent in settings.agents:
        _tell_of_unknown(agent, registry)
    inject = settings.tools.inject
    allowed = registry.chosen(inject.tools)
    of_mcp = tuple(one for one in inject.tools if one.startswith(MCP)) if settings.mcp.servers else ()
    deps.inject = Injection(allowed, tuple(inject.models), deps.catalog, of_mcp) if inject.tools else None


def _tell_of_unknown(agent: AgentSettings, registry: Registry) -> None:
    """Tools of MCP servers are not known before those are connected to."""
    for name in agent.tools:
        if isinstance(name, str) and registry.get(name) is None and not name.startswith("mcp_"):
            log.warning("The agent '%s' names the tool '%s', which there is not: it does without.", agent.name, name)


def _ports(gate: Gate, *, remembers: bool) -> Ports:
    """They look at what the gate has when they are asked, for a new configuration changes it."""

    async def list_models(who: Principal) -> Sequence[str]:
        models = [model.name for model in await gate.deps.catalog.all() if may_use(who, *model.known_as)]
        return [*models, *(agent.name for agent in usable_agents(who, gate))]

    async def make_image(fields: Mapping[str, Any], caller: Caller) -> Mapping[str, Any]:
        return await ask_model(IMAGES, fields, caller, gate.deps)

    memories = MemoriesOf(lambda: gate.deps.state) if remembers else None
    return Ports(list_models, make_image, memories)


def _reading_marks(settings: Settings) -> frozenset[str]:
    """Upstreams for whose models tools' output is defused."""
    how = settings.tools.defuse
    if how == "never":
        return frozenset()
    return frozenset(
        one.name
        for one in settings.upstreams
        if how == "always" or one.provider in _ON_OWN_MACHINES or one.litellm_provider in _OF_THE_SDK
    )
