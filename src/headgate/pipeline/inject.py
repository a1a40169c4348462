"""Tools that plain models get by setting, without the caller asking. Without the setting nothing is altered."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from headgate.agents.types import AgentSettings
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.core.surfaces import CHAT
from headgate.routing.catalog import Catalog
from headgate.tools.policy import named
from headgate.tools.types import Tool

_LEFT_ALONE = ("functions", "function_call", "audio", "web_search_options")
"""Fields of requests that tools of ours would not go with."""
MCP = "mcp_"
"""What names of tools of MCP servers begin with."""


@dataclass(frozen=True, slots=True)
class Injection:
    """`tools` are those that may be added at all; `models` patterns of the models that get them from everybody.

    A key, or else its tenant, may name other models, and fewer tools. `mcp` are patterns of tools of MCP servers, which
    are not known before their servers are asked.
    """

    tools: Sequence[Tool]
    models: tuple[str, ...]
    catalog: Catalog
    mcp: tuple[str, ...] = ()

    def __call__(self, request: ModelRequest, run: Run) -> AgentSettings | None:
        """The request's model as an agent with these tools; None if it stays as it is."""
        if request.surface is not CHAT:
            return None
        own = run.who.inject
        models, wanted = (self.models, None) if own is None else own
        if not models or not self._is_among(request.model, models) or not goes_with(request):
            return None
        chosen = tuple(one.info.name for one in self.tools if wanted is None or named(one.info, wanted))
        if self.mcp and (wanted is None or self._goes_beyond(wanted)):
            chosen += self.mcp
            run.narrowed = None if wanted is None else tuple(wanted)
        return _agent(request.model, chosen) if chosen else None

    def _goes_beyond(self, wanted: Sequence[str]) -> bool:
        """Whether any of these may mean a tool of an MCP server: it is no name or group of the gateway's own."""
        own = {name for one in self.tools for name in (one.info.name, one.info.group)}
        return not own.issuperset(wanted)

    def _is_among(self, name: str, patterns: Sequence[str]) -> bool:
        model = self.catalog.configured(name)
        if model is not None and model.settings is not None and model.settings.capabilities.tools is False:
            return False
        names = (name, *model.known_as) if model is not None else (name,)
        return any(fnmatchcase(one, pattern) for one in names for pattern in patterns)


def goes_with(request: ModelRequest) -> bool:
    """Whether the answer stays what the caller asked for: one message, and tools called only as the model likes."""
    fields = request.fields
    if (fields.get("n") or 1) != 1 or any(fields.get(name) for name in _LEFT_ALONE):
        return False
    return fields.get("tool_choice") in (None, "auto")


@lru_cache(256)
def _agent(model: str, tools: tuple[str, ...]) -> AgentSettings:
    return AgentSettings(name=model[:128], model=model, tools=list(tools), include_global_skills=False)
