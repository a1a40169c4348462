"""What every route shares: who may ask, the bounds of a request, and the count of requests in flight."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headgate.agents.skills import Skills
from headgate.api.auth import key_of
from headgate.api.lists import NO_LISTS, Lists
from headgate.audit.log import AuditLog
from headgate.core.bounds import Bound, Used
from headgate.core.errors import Draining, InvalidHeader, Overloaded, UserRequired
from headgate.core.ids import Trace, child_of, new_run_id
from headgate.core.money import Price
from headgate.core.principal import Principal
from headgate.core.run import Run
from headgate.idempotency.keeper import Keeper
from headgate.identity.compose import Identity
from headgate.identity.keys import KeyRing
from headgate.identity.people import People
from headgate.pipeline.compact import Compactor
from headgate.pipeline.context import Deps
from headgate.pipeline.system import SystemPrompts
from headgate.settings.service import TenantConfig
from headgate.telemetry.exchange import Exchange
from headgate.telemetry.metrics import NO_GAUGES, Gauges, Metrics
from headgate.telemetry.peers import Peers
from headgate.tools.runner import ToolBounds
from headgate.tools.types import Tool
from headgate.usage.reports import Reports
from headgate.usage.runs import Runs

if TYPE_CHECKING:
    from headgate.tools.mcp_pool import McpPool

_LONGEST_USER = 256
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def _user(header: bytes) -> str:
    """The id of an end user; raises InvalidHeader."""
    user = header.decode("latin-1").strip()
    if not user or len(user) > _LONGEST_USER or not user.isprintable():
        message = f"The header x-user-id must hold 1 to {_LONGEST_USER} printable characters."
        raise InvalidHeader(message, param="x-user-id")
    return user


def _trace(headers: Mapping[bytes, bytes]) -> Trace:
    """The span of a request, under the caller's if it told one."""
    parent = headers.get(b"traceparent")
    if parent is None:
        return child_of(None)
    state = headers.get(b"tracestate")
    return child_of(parent.decode("latin-1"), state.decode("latin-1") if state else None)


def _no_price(_upstream: str, _model: str, _tokens: int) -> None:
    return None


async def _no_gauges() -> Gauges:
    return NO_GAUGES


async def _no_tools() -> Sequence[Tool]:
    return ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """`body` in bytes; `in_flight` model calls at once, 0 for no bound; `keep_alive` seconds between comments."""

    body: int
    in_flight: int
    keep_alive: float


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What there is since the configuration was read anew. `needs_restart`: settings that differ, as yet in vain."""

    models: int
    agents: int
    skills: int
    needs_restart: tuple[str, ...] = ()
    mcp_servers: int = 0


@dataclass(slots=True)
class Gate:
    """Handed to every route by the composition root."""

    keys: KeyRing
    deps: Deps
    bounds: Bounds
    metrics: Metrics
    exchange: Exchange
    metrics_public: bool = False
    litellm_headers: bool = False
    key_header: bytes = b""
    """Lower-case name of a further header that may carry the key."""
    lists: Lists = NO_LISTS
    templates: SystemPrompts | None = None
    """The prompts of agents."""
    reload: "Callable[[], Awaitable[Reloaded]] | None" = None
    """Read the configuration anew; None where nothing can be."""
    skills: Skills = field(default_factory=Skills)
    """What agents know how to do."""
    people: People | None = None
    """What is kept of people; None where nothing is kept."""
    identity: Identity | None = None
    """Keys and tenants, for operators; None where nothing is kept."""
    reports: Reports | None = None
    compactor: Compactor | None = None
    """Compacts stored conversations; None where nothing is kept."""
    runs: Runs | None = None
    """Runs that have ended; None where nothing is kept."""
    audit: AuditLog | None = None
    """What operators do; None where nothing is kept."""
    peers: Peers | None = None
    """The other workers of this machine."""
    list_price: Callable[[str, str, int], Price | None] = _no_price
    """By (upstream's name, model id, tokens of the prompt)."""
    keeper: Keeper | None = None
    """Answers kept for repeats; None where an `Idempotency-Key` means nothing."""
    requires_user: bool = False
    """Whether calls have to name their end user, where the tenant's settings say nothing."""
    settings: TenantConfig | None = None
    """The settings of tenants; None where nothing is kept."""
    budgets: Callable[[Sequence[Bound]], Awaitable[list[Used]]] | None = None
    """What was used of budgets."""
    mcp: "McpPool | None" = None
    """The MCP servers; None where none is set."""
    mcp_route: Callable[["Gate", Scope, Receive, Send], Awaitable[None]] | None = None
    """The gateway as an MCP server; None where it is none."""
    offered: Callable[[], Awaitable[Sequence[Tool]]] = _no_tools
    """The gateway's own tools, and those of the MCP servers that are up; each key sees its own."""
    trouble: Callable[[], str] = str
    """Why the ledger is not written now; empty when it is."""
    tools: Callable[[], Iterable[Tool]] = tuple
    """The gateway's own tools, as they are now, without those of MCP servers."""
    tool_bounds: ToolBounds = field(default_factory=ToolBounds)
    samples: Callable[[Trace], bool] | None = None
    """Whether a trace is kept; None where none is."""
    lag: Callable[[], float] = float
    """Seconds that the ledger's oldest entry has been waiting for the database at most."""
    measure: Callable[[], Awaitable[Gauges]] = _no_gauges
    """What metrics tell that is measured only when somebody looks."""
    draining: bool = False
    active: dict["asyncio.Task[Any]", Run] = field(default_factory=dict)
    """The tasks of model calls in flight, each with its run."""
    detached: dict["asyncio.Task[Any]", Run] = field(default_factory=dict)
    """Tasks that make answers which others only wait for, each with its run: of repeats, and over MCP."""

    def begin(self, route: str, headers: Mapping[bytes, bytes]) -> Run:
        """A new run for a request that just came in."""
        caller_id = headers.get(b"x-request-id")
        trace = _trace(headers)
        return Run(
            new_run_id(caller_id.decode("latin-1") if caller_id else None),
            trace if self.samples is None else trace.sampled(self.samples(trace)),
            route,
        )

    def recognise(self, headers: Mapping[bytes, bytes]) -> Principal:
        """Whose key the headers carry; raises Unauthenticated."""
        return self.keys.recognise(key_of(headers, self.key_header))

    def acting(self, who: Principal, headers: Mapping[bytes, bytes]) -> Principal:
        """The same holder, for the end user whom the headers name; raises UserForbidden or UserRequired."""
        if user := headers.get(b"x-user-id"):
            who = self.keys.for_user(who, _user(user))
        if not who.user and (self.requires_user if who.terms.requires_user is None else who.terms.requires_user):
            message = "Name the end user whom this call is for in the header X-User-Id."
            raise UserRequired(message, param="x-user-id")
        return who

    def enter(self, run: Run, headers: Mapping[bytes, bytes]) -> None:
        """Let a request in by its headers alone; raises Unauthenticated, Draining or Overloaded.

        Or UserForbidden, or UserRequired.
        """
        run.who = who = self.keys.recognise(key_of(headers, self.key_header))
        run.who = self.acting(who, headers)
        if self.draining:
            raise Draining("This process is shutting down.", retry_after=1)
        if self.bounds.in_flight and len(self.active) > self.bounds.in_flight:
            raise Overloaded("Too many requests are in flight.", retry_after=1)
