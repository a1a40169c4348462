"""MCP servers as set: how each is reached, what of it is offered, and how long it may take."""

from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate.tools.types import Policy

Transport = Literal["stdio", "sse", "streamablehttp", "http"]
State = Literal["idle", "connecting", "up", "down", "disabled"]
SERVER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class OAuthSettings(BaseModel):
    """How to log in where a server asks for it; `headgate mcp login NAME` does it once, in a browser."""

    model_config = ConfigDict(extra="forbid")

    client_id: str | None = Field(None, description="A client registered before; one is registered when not set.")
    client_secret: str | None = Field(None, description="Its secret, best as `${VARIABLE}`.")
    scope: str | None = Field(None, description="Scopes to ask for; those that the server names when not set.")
    client_metadata_url: str | None = Field(None, description="An https URL that describes this client and is its id.")
    redirect_port: int = Field(8765, ge=1, le=65_535, description="Port on this machine to which the login returns.")


class McpServerSettings(BaseModel):
    """One MCP server: a `command` to run, or a `url`."""

    model_config = ConfigDict(extra="forbid")

    type: Transport | None = Field(
        None, description="stdio, sse, or streamablehttp, also written http; told by `command` or `url` when not set."
    )
    command: str | None = Field(None, description="For stdio: the program.")
    args: list[str] = Field(default_factory=list, description="Its arguments.")
    env: dict[str, str] = Field(
        default_factory=dict, description="Its environment besides PATH, HOME and a few that are harmless."
    )
    cwd: str | None = Field(None, description="Its working directory.")
    url: str | None = Field(None, description="For sse and streamablehttp: the address.")
    headers: dict[str, str] = Field(default_factory=dict, description="Sent with every request.")
    proxy: str | None = Field(None, pattern=r"^http://", description="An HTTP proxy to go through.")
    oauth: OAuthSettings | None = Field(None, description="For servers that ask for a login.")
    description: str = Field("", description="What it is for; shown in lists.")
    enabled: bool = Field(True, description="Whether it is used at all.")
    required: bool = Field(False, description="Whether an agent fails when it is down; else it goes on without.")
    protocol: Literal["auto", "legacy", "2026-07-28"] = Field(
        "auto", description="legacy shakes hands as before 2026, which spares old servers a question."
    )
    connect_seconds: float = Field(15.0, gt=0, description="Until it is connected and its tools are listed.")
    call_seconds: float = Field(50.0, gt=0, description="Time of one tool call.")
    list_seconds: float = Field(300.0, ge=0, description="Age at which a list of tools is asked for again.")
    largest_message: int = Field(8 << 20, ge=1024, description="Longest message that is read, in bytes.")
    hangs: int = Field(3, ge=1, description="Calls in a row that may time out before the connection is made anew.")
    longest_rest: float = Field(60.0, gt=0, description="Longest wait between two tries to connect, in seconds.")
    whitelist: list[str] = Field(default_factory=list, description="Patterns of its tools' names; empty for all.")
    blacklist: list[str] = Field(default_factory=list, description="Tools that are left out even so.")
    policy: Policy = Field(
        "auto", description="What agents with the policy `auto` take its calls for: as it says itself, or always so."
    )
    elicitation: Literal["decline", "defaults"] = Field(
        "decline", description="What a tool is told that asks the user: nothing, or the defaults it names itself."
    )

    @property
    def transport(self) -> Literal["stdio", "sse", "http"]:
        """Which of the three it is."""
        if self.type is None:
            return "stdio" if self.command else "http"
        return "http" if self.type == "streamablehttp" else self.type

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if not self.enabled:
            return self
        if self.command and self.url:
            raise ValueError("an MCP server has a command or a url, not both")
        if self.transport == "stdio" and not self.command:
            raise ValueError("an MCP server of type stdio needs a command")
        if self.transport != "stdio" and not (self.url or "").startswith(("http://", "https://")):
            raise ValueError(f"an MCP server of type {self.type or 'http'} needs a url that begins with https://")
        return self


class McpServeSettings(BaseModel):
    """The gateway as an MCP server, at `/mcp`."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(False, description="Whether it is one.")
    agents: list[str] = Field(default_factory=lambda: ["*"], description="Patterns of agents that are offered.")
    tools: list[str] = Field(default_factory=lambda: ["*"], description="Patterns of tools that are offered.")
    sessions: bool = Field(
        False, description="Whether clients of revision 2025-11-25 get sessions; for a single worker only."
    )


class McpSettings(BaseModel):
    """MCP servers whose tools agents may use, and the gateway as one."""

    model_config = ConfigDict(extra="forbid")

    servers: dict[str, McpServerSettings] = Field(default_factory=dict, description="MCP servers by name.")
    files: list[str] = Field(
        default_factory=list,
        description="Further files with `servers:` or `mcpServers`; `mcp/servers.yaml` beside this file is one.",
    )
    serve: McpServeSettings = Field(default_factory=McpServeSettings)

    @property
    def used(self) -> dict[str, McpServerSettings]:
        """The servers that are enabled."""
        return {name: one for name, one in self.servers.items() if one.enabled}


@dataclass(frozen=True, slots=True)
class McpStatus:
    """How a server has been doing in this worker. `since` is seconds since the epoch; `rest` seconds until it is tried
    again; `said` are the last lines of a child's standard error.
    """

    name: str
    transport: str
    state: State
    description: str = ""
    since: float = 0.0
    tools: int | None = None
    error: str = ""
    rest: float = 0.0
    protocol: str = ""
    server: str = ""
    calls: int = 0
    failures: int = 0
    connects: int = 0
    pid: int | None = None
    said: tuple[str, ...] = field(default=())
