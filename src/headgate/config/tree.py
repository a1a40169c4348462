"""All settings in one tree. Each feature declares its own section in its `types.py`; this file puts them together."""

from pydantic import BaseModel, ConfigDict, Field

from headgate.agents.types import AgentSettings, StrategySettings
from headgate.conversations.policy import CompactionSettings
from headgate.conversations.settings import ConversationSettings
from headgate.db.types import DatabaseSettings
from headgate.idempotency.types import IdempotencySettings
from headgate.identity.types import AuthSettings, TenantSettings
from headgate.knowledge.settings import KnowledgeSettings
from headgate.limits.types import LimitsSettings
from headgate.routing.types import AliasSettings, ModelSettings, ParameterSettings, RoutingSettings
from headgate.telemetry.types import TracingSettings
from headgate.tools.mcp_types import McpSettings
from headgate.tools.settings import ToolSettings
from headgate.upstreams.types import UpstreamSettings
from headgate.usage.types import UsageSettings


class LimitSettings(BaseModel):
    """Bounds of a request."""

    model_config = ConfigDict(extra="forbid")

    body: int = Field(32 << 20, ge=1024, description="Largest request body, in bytes.")
    headers: int = Field(64 << 10, ge=1024, description="Largest request line and headers together, in bytes.")
    body_seconds: float = Field(300.0, gt=0, description="Seconds in which a request has to arrive whole.")
    in_flight: int = Field(10_000, ge=0, description="Model calls at once per worker; 0 for no bound.")


class ServerSettings(BaseModel):
    """Where the gateway listens and how it behaves as a server."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every network.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 for any free one.")
    workers: int = Field(1, ge=1, le=64, description="Processes that serve side by side.")
    drain_seconds: float = Field(30.0, ge=0, description="How long streams may go on after SIGTERM.")
    ping_seconds: float = Field(15.0, ge=0, description="Silence after which a stream gets a comment; 0 for never.")
    idle_seconds: float = Field(75.0, gt=0, description="How long an idle connection is kept open.")
    litellm_headers: bool = Field(False, description="Also send the response headers that LiteLLM's proxy sends.")
    stream_cost: bool = Field(False, description="Add `cost`, in USD, to the usage that streams report.")
    metrics_public: bool = Field(False, description="Whether GET /metrics needs no key.")
    limits: LimitSettings = Field(default_factory=LimitSettings)


class RunLogSettings(BaseModel):
    """Conversations written to files as they happen, for whoever has to look at them. Off unless a folder is set."""

    model_config = ConfigDict(extra="forbid")

    folder: str | None = Field(
        None, description="Where the files go, one for each conversation; none are written if unset."
    )
    content: bool = Field(True, description="Whether texts are in them; else only lengths.")
    line: int = Field(262_144, ge=1024, description="Longest line, in bytes; longer texts in it are cut.")
    file: int = Field(
        16 << 20, ge=4096, description="Largest file, in bytes; then a conversation goes on in a further one."
    )
    waiting: int = Field(10_000, ge=100, description="Lines that may wait to be written; more are dropped and counted.")


class ReloadSettings(BaseModel):
    """When the configuration is read anew while the gateway runs."""

    model_config = ConfigDict(extra="forbid")

    watch: bool = Field(False, description="Read it anew when one of its files changes.")
    seconds: float = Field(2.0, ge=0.05, description="How often the files are looked at.")


class LogSettings(BaseModel):
    """What is logged."""

    model_config = ConfigDict(extra="forbid")

    requests: bool = Field(True, description="One JSON line per request on standard output, without prompt text.")
    debug: bool = Field(False, description="Also log what matters only when looking for a fault.")
    runs: RunLogSettings = Field(default_factory=RunLogSettings)


class Settings(BaseModel):
    """headgate.yaml"""

    model_config = ConfigDict(extra="forbid", title="headgate.yaml")

    server: ServerSettings = Field(default_factory=ServerSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    logging: LogSettings = Field(default_factory=LogSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    tenants: list[TenantSettings] = Field(default_factory=list, description="Whose keys there are; see keys.")
    upstreams: list[UpstreamSettings] = Field(default_factory=list, description="Where calls go.")
    models: list[ModelSettings] = Field(default_factory=list, description="The names callers use.")
    aliases: list[AliasSettings] = Field(default_factory=list, description="Further names for models.")
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    parameters: ParameterSettings = Field(default_factory=ParameterSettings)
    usage: UsageSettings = Field(default_factory=UsageSettings)
    limits: LimitsSettings = Field(default_factory=LimitsSettings)
    tools: ToolSettings = Field(default_factory=ToolSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)
    compaction: CompactionSettings = Field(default_factory=CompactionSettings)
    idempotency: IdempotencySettings = Field(default_factory=IdempotencySettings)
    strategies: StrategySettings = Field(default_factory=StrategySettings)
    agents: list[AgentSettings] = Field(default_factory=list, description="Models with a prompt, tools and skills.")
    mcp: McpSettings = Field(default_factory=McpSettings)
    conversations: ConversationSettings = Field(default_factory=ConversationSettings)
    knowledge: KnowledgeSettings = Field(default_factory=KnowledgeSettings)
    conf: str | None = Field(
        None, description="Folder with `agents/`, `skills/` and `prompts/`; `conf` beside this file when not set."
    )
    reload: ReloadSettings = Field(default_factory=ReloadSettings)
