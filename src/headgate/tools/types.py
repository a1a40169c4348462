"""Tools as values: what one is called, takes and does to the world, and what a call of it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from headgate.core.chat import Call
from headgate.core.principal import ANYONE, Principal

Source = Literal["builtin", "mcp", "agent", "plugin"]
Policy = Literal["always_allow", "always_ask", "auto"]


class Hints(NamedTuple):
    """What a tool says of itself, in MCP's words; None where it says nothing."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None


UNTOLD = Hints()


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """`name` is what the model calls it by; `parameters` a JSON Schema; `group` such as compute or web.

    `origin` is the tool's own name where `name` was made of it, and `server` the MCP server it stands on.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    source: Source
    group: str = ""
    hints: Hints = UNTOLD
    origin: str = ""
    server: str = ""
    seconds: float = 0.0
    """How long a call may take where that is more than usual."""
    asks: bool = False
    """It is a question to the user, whose answer is its result."""
    aliases: tuple[str, ...] = ()
    """Other names by which it can be asked for; it then goes by that one."""
    confirms: str = ""
    """The argument without which a call only shows what it would change."""

    @property
    def schema(self) -> dict[str, Any]:
        """As a function in OpenAI's words."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


class Image(NamedTuple):
    """A picture that a tool gave back; `data` is base64."""

    data: str
    mime_type: str


class Held(NamedTuple):
    """A call that needs an approval, by this `rule` of a policy, or an answer, if it `asks`.

    `frames` let the agents that wanted it go on, see conversations.types.Action; none where nobody can approve it.
    """

    call: Call
    rule: str = ""
    asks: bool = False
    frames: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`text` is what the model is told. A tool that fails gives a result that says so."""

    text: str
    failed: bool = False
    images: tuple[Image, ...] = ()
    structured: Mapping[str, Any] | None = None
    shown: tuple[Image, ...] = ()
    """Pictures for the caller's eyes; the model is told of them in the text."""
    held: "tuple[Held, ...]" = ()
    """Calls that an agent wanted to make in it, and that need an approval."""


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a tool is called. `depth` counts how many agents stand above each other."""

    who: Principal = ANYONE
    run: str = ""
    agent: str = ""
    depth: int = 0
    traceparent: str = ""
    beside: Mapping[str, Any] = field(default_factory=dict)


class Tool(Protocol):
    """Something a model can call."""

    @property
    def info(self) -> ToolInfo: ...

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        """Do it. May raise anything: who runs tools makes a failed result of it."""
