"""A chat with a model as values: what a request in any dialect is read into, and written from.

The conversation is flat: what an assistant said in one turn is a run of items (thoughts, a message, calls), and the
result of a call is an item of its own. Every value has `beside`: fields of the caller's dialect that have no
counterpart here, by name. The dialect they came from writes them back; any other one tells that they are lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImagePart:
    """`url` is an address, or `data:TYPE;base64,…`. `detail` is OpenAI's: `low`, `high`, `auto`; empty if not given."""

    url: str
    detail: str = ""
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FilePart:
    """A document: `url` as of an image; `id` that of a file the provider keeps. One of the two is given."""

    url: str = ""
    id: str = ""
    name: str = ""
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AudioPart:
    """Sound, base64, in a format such as `wav`."""

    data: str
    format: str
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefusalPart:
    """The words in which the model refused."""

    text: str


@dataclass(frozen=True, slots=True)
class ForeignPart:
    """A part that only its own dialect knows, as it was sent."""

    fields: Mapping[str, Any]


Part = TextPart | ImagePart | FilePart | AudioPart | RefusalPart | ForeignPart


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody said. `name` tells participants of one role apart."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model showed of its reasoning. `signature` proves to its provider that the text is its own; `sealed` is
    reasoning that only its provider can read (Anthropic's redacted thinking, OpenAI's encrypted content).
    """

    text: str = ""
    signature: str = ""
    sealed: str = ""
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made. `arguments` is its JSON as it wrote it."""

    id: str
    name: str
    arguments: str
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of the call `call`."""

    call: str
    parts: tuple[Part, ...]
    failed: bool = False
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForeignItem:
    """An item that only its own dialect knows, such as a search the provider made, as it was sent."""

    fields: Mapping[str, Any]
    role: Role = "assistant"


Item = Message | Thinking | ToolCall | ToolResult | ForeignItem


@dataclass(frozen=True, slots=True)
class Function:
    """A tool of the caller's own. `schema` is the JSON Schema of its arguments, None for none given."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForeignTool:
    """A tool that only its own dialect knows, such as a web search of the provider's, as it was sent."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tools the model may or must call. `name`: this one; `among`: these at most, empty for all."""

    mode: Literal["auto", "none", "required"] = "auto"
    name: str = ""
    among: tuple[str, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Format:
    """The form that the answer must have: any JSON object, or one that keeps to a schema."""

    schema: Mapping[str, Any] | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request as a whole. `dialect` is the one whose words stand in `beside`. None and empty mean: not given."""

    dialect: str
    model: str
    items: tuple[Item, ...]
    stream: bool = False
    tools: tuple[Function | ForeignTool, ...] = ()
    choice: Choice | None = None
    parallel: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    effort: Effort | None = None
    thinks: int | None = None
    """Tokens that the model may think at most; 0 for not at all."""
    format: Format | None = None
    user: str = ""
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A request in the words of a dialect. `lost` are paths of what could not be said, such as `tools[2]`."""

    fields: dict[str, Any]
    lost: tuple[str, ...] = ()
