"""What can be set of tools: the web's bounds, who gets tools unasked, where plug-ins lie."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class SearchSettings(BaseModel):
    """A search engine for `web_search`."""

    model_config = ConfigDict(extra="forbid")

    provider: Literal["searxng", "tavily", "brave"] = Field("searxng", description="Whose API it speaks.")
    url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Its address; SearXNG has no common one. May lie in a private network, for the operator sets it.",
    )
    api_key: SecretStr | None = Field(None, description="The key, as `${VARIABLE}`; SearXNG needs none.")
    results: int = Field(5, ge=1, le=20, description="Hits per search.")


class WebSettings(BaseModel):
    """How far tools may go into the web."""

    model_config = ConfigDict(extra="forbid")

    fetch: bool = Field(True, description="Whether there is a tool that reads pages.")
    search: SearchSettings | None = Field(None, description="The engine behind `web_search`; none without it.")
    hosts: list[Pattern] = Field(
        default_factory=list, description="Pages of these hosts only, in which `*` stands for any text; all, if empty."
    )
    private_hosts: list[Pattern] = Field(
        default_factory=list, description="Hosts that may have private addresses; no others may."
    )
    ports: list[int] = Field(default_factory=lambda: [80, 443], description="Ports that may be called.")
    bytes: int = Field(2 << 20, ge=1024, le=64 << 20, description="Largest page, also when it is unpacked.")
    seconds: float = Field(20.0, gt=0, le=300, description="Time for a page, with all redirects.")
    redirects: int = Field(5, ge=0, le=20, description="Redirects that are followed.")


class InjectSettings(BaseModel):
    """Tools that plain models get without the caller asking. Without this setting a plain model is never altered."""

    model_config = ConfigDict(extra="forbid")

    tools: list[Pattern] = Field(
        default_factory=list,
        description="Tools, groups or patterns that may be added at all; none, if empty. `mcp_…` for MCP servers'.",
    )
    models: list[Pattern] = Field(
        default_factory=list, description="Models, or patterns of them, that get these tools from everybody."
    )


class ToolSettings(BaseModel):
    """The gateway's own tools."""

    model_config = ConfigDict(extra="forbid")

    web: WebSettings = Field(default_factory=WebSettings)
    image_model: str | None = Field(None, description="The model behind `image_generate`; no such tool without it.")
    inject: InjectSettings = Field(default_factory=InjectSettings)
    folder: str | None = Field(None, description="Folder with Python plug-ins.")
    entry_points: bool = Field(True, description="Whether installed packages may bring tools (`headgate.tools`).")
    skip_broken: bool = Field(False, description="Start without a plug-in that cannot be loaded, and log why.")
    defuse: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether marks that models take for control are broken up in tools' output; `auto`: for models on "
        "one's own machines, whose servers read such marks in any text.",
    )
    approval_seconds: float = Field(
        86_400.0, gt=0, le=31_536_000, description="How long a call that was held back waits for an answer."
    )
    seconds: float = Field(60.0, gt=0, le=3600, description="Time of a call of `POST /v1/tools/execute`.")
    result_characters: int = Field(100_000, ge=100, description="Length of its result; the rest is left out.")
