"""Agents as set: a model with a prompt, skills, tools, others to delegate to, and bounds."""

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

Strategy = Literal["passthrough", "reasoning", "orchestration"]
History = Literal["full", "condensed", "off"]
Policy = Literal["always_allow", "always_ask", "auto"]


class FilterSettings(BaseModel):
    """Which tools of an MCP server an agent has, by patterns of their own names; the whitelist comes first."""

    model_config = ConfigDict(extra="forbid")

    whitelist: list[str] = Field(default_factory=list, description="Only these; empty for all.")
    blacklist: list[str] = Field(default_factory=list, description="But not these.")


class BoundsSettings(BaseModel):
    """How long an agent may go on in one run. 0 means no bound."""

    model_config = ConfigDict(extra="forbid")

    turns: int = Field(10, ge=1, le=200, description="How often the model is asked.")
    calls_per_turn: int = Field(16, ge=1, le=128, description="Tool calls that one turn may hold.")
    same_calls: int = Field(3, ge=0, description="Equal calls in a row, arguments included, that end the loop.")
    seconds: float = Field(300.0, ge=0, description="Time of the whole run.")
    tokens: int = Field(0, ge=0, description="Tokens of all turns together.")
    usd: float = Field(0.0, ge=0, description="Money of all turns together.")
    tool_seconds: float = Field(60.0, gt=0, description="Time of one tool call.")
    result_characters: int = Field(100_000, ge=100, description="Length of a tool's result; the rest is left out.")
    depth: int = Field(3, ge=0, le=16, description="How many agents may stand above each other by delegation.")


class DelegateSettings(BaseModel):
    """Another agent that this one may ask."""

    model_config = ConfigDict(extra="forbid")

    history: History = Field("off", description="How much of the conversation it is shown.")


class AgentCompactionSettings(BaseModel):
    """How conversations with this agent are compacted; what is not set is taken from the section `compaction`."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["none", "trim", "compact"] | None = Field(None, description="none, trim or compact.")
    at: float | None = Field(None, gt=0, le=1, description="Share of the room at which it begins.")
    keep_turns: int | None = Field(None, ge=1, le=1000, description="Last turns that stay word by word.")
    user_text_tokens: int | None = Field(None, ge=0, description="Tokens of the user's earlier words that stay.")
    model: str | None = Field(None, description="The model that writes the summary.")
    read_history: bool | None = Field(None, description="Whether the model can read what was covered.")


class RagSettings(BaseModel):
    """Passages that go along with the user's last message, unasked."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    indices: list[str] = Field(min_length=1, max_length=32, description="Names of the indices that are asked.")
    top_k: int = Field(5, ge=1, le=50, description="Passages at most.")
    min_score: float = Field(
        0.0,
        ge=0,
        description="Passages below are left out: by the cosine of their vectors, or, where only words are compared, "
        "by their score.",
    )
    share: float = Field(0.25, gt=0, le=0.9, description="Share of the model's context window that they may fill.")
    mode: Literal["hybrid", "vector", "keyword"] | None = Field(
        None, description="How they are looked for; each index in its own way when not set."
    )


class AgentSettings(BaseModel):
    """One agent."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: str = Field(min_length=1, max_length=128, description="What callers name as the model.")
    model: str | None = Field(
        None,
        validation_alias=AliasChoices("model", "upstream_model"),
        description="The model that answers; the agent's own name when not set; `inherit` for the caller's.",
    )
    description: str = Field("", description="What it is for; shown in lists and to other agents.")
    owned_by: str = Field("headgate", description="Shown in lists.")
    created: int = Field(0, description="Shown in lists, in seconds since 1970.")
    system_prompt: str = Field("", description="Comes first; may hold `{{tool(argument=1)}}`.")
    tools: list[str | dict[str, Any]] = Field(
        default_factory=list,
        description="Names of tools, or functions in OpenAI's words that tell one otherwise.",
    )
    tool_groups: list[str] = Field(default_factory=list, description="Groups of builtin tools, such as `compute`.")
    mcp_servers: list[str] | dict[str, FilterSettings | None] = Field(
        default_factory=list, description="Names of MCP servers, or a mapping of each to its filters."
    )
    skills: list[str] = Field(default_factory=list, description="Names of skills; all global ones when empty.")
    include_global_skills: bool = Field(True, description="Whether global skills come in besides.")
    rag_index: str | list[str] | RagSettings | None = Field(
        None, description="Indices whose passages go along with the user's last message: a name, names, or a mapping."
    )
    knowledge: list[str] | None = Field(
        None,
        description="Indices that its `rag_…` tools can see; when not set, those of `rag_index`, or else all of the "
        "tenant's.",
    )
    delegates: list[str] | dict[str, DelegateSettings | None] = Field(
        default_factory=list,
        validation_alias=AliasChoices("delegates", "experts"),
        description="Agents that this one may ask, as tools.",
    )
    strategy: Strategy = Field("passthrough", description="How it answers unless the caller asks for another way.")
    strategies: list[Strategy] = Field(default_factory=list, description="What callers may ask for besides.")
    parallel_tools: bool = Field(True, description="Whether the calls of one turn run side by side.")
    tool_policy: Policy = Field("auto", description="Whether calls of tools that may destroy something are held back.")
    tool_policies: dict[str, Policy] = Field(default_factory=dict, description="The same by pattern of tool name.")
    template_errors: Literal["fail", "show"] = Field(
        "show", description="What becomes of a failed call in the prompt: the request, or a note in its place."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the request that hold where the caller says nothing."
    )
    variables: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="What `{{name}}` in the prompt stands for."
    )
    bounds: BoundsSettings = Field(default_factory=BoundsSettings)
    compaction: AgentCompactionSettings = Field(default_factory=AgentCompactionSettings)

    @property
    def passive(self) -> RagSettings | None:
        """What goes along with messages; None for nothing."""
        given = self.rag_index
        if given is None or isinstance(given, RagSettings):
            return given
        return RagSettings(indices=[given] if isinstance(given, str) else given)

    @property
    def sees(self) -> list[str] | None:
        """The indices that its tools are bound to; None for any."""
        if self.knowledge is not None:
            return self.knowledge
        return self.passive.indices if self.passive is not None else None

    @property
    def known_as(self) -> tuple[str, ...]:
        """The names by which callers may call it; its own is the first."""
        return (self.name,) if self.name.startswith("augmented/") else (self.name, f"augmented/{self.name}")


class ClassifierSettings(BaseModel):
    """Who chooses the strategy of a request whose caller says `auto`."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="The model that is asked; without one, all is passed through.")
    temperature: float = Field(0.0, ge=0, le=2, description="Its temperature.")
    seconds: float = Field(10.0, gt=0, description="How long it may take; then the request is passed through.")
    remembered: int = Field(1000, ge=0, description="How many verdicts are kept.")
    fresh_seconds: float = Field(3600.0, gt=0, description="How long a verdict holds.")


class ReasoningBoundsSettings(BoundsSettings):
    """How long a plain model may reason. 0 means no bound."""

    turns: int = Field(20, ge=1, le=200, description="How often the model is asked for a step.")


class ReasoningSettings(BaseModel):
    """How models reason in visible steps."""

    model_config = ConfigDict(extra="forbid")

    tools: list[str] = Field(default_factory=list, description="Tools of plain models that reason.")
    tool_groups: list[str] = Field(default_factory=lambda: ["compute"], description="Groups of tools besides.")
    mcp_servers: list[str] = Field(default_factory=list, description="MCP servers whose tools they have besides.")
    steps: Literal["auto", "json", "tools"] = Field(
        "auto", description="Steps by native tool calls or as JSON; `auto` looks at what the model can do."
    )
    temperature: float | None = Field(0.2, ge=0, le=2, description="Temperature of the steps; null for the caller's.")
    bounds: ReasoningBoundsSettings = Field(default_factory=ReasoningBoundsSettings)


class OrchestrationBoundsSettings(BaseModel):
    """How long a plain model may orchestrate. 0 means no bound."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(300.0, ge=0, description="Time of the whole run.")
    tokens: int = Field(0, ge=0, description="Tokens of all nodes and of the planning together.")
    usd: float = Field(0.0, ge=0, description="Money of all nodes and of the planning together.")
    depth: int = Field(3, ge=0, le=16, description="How many agents may stand above each other.")


class OrchestrationSettings(BaseModel):
    """How several agents share a request."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="The model that plans; the request's own when not set.")
    temperature: float | None = Field(0.2, ge=0, le=2, description="Temperature of the plan; null for the caller's.")
    nodes: int = Field(8, ge=1, le=64, description="Nodes that a plan may have.")
    at_once: int = Field(4, ge=1, le=64, description="Nodes that run side by side.")
    result_characters: int = Field(
        20_000, ge=100, description="Length of a node's result, as others are told it; the rest is left out."
    )
    bounds: OrchestrationBoundsSettings = Field(default_factory=OrchestrationBoundsSettings)


class StrategySettings(BaseModel):
    """Ways to answer other than passing through."""

    model_config = ConfigDict(extra="forbid")

    template_tools: list[str] = Field(
        default_factory=list,
        description="Tools that `POST /admin/template/eval` may call though they do not only read.",
    )
    prompts: str | None = Field(None, description="A folder whose files take the place of the packaged prompts.")
    classifier: ClassifierSettings = Field(default_factory=ClassifierSettings)
    reasoning: ReasoningSettings = Field(default_factory=ReasoningSettings)
    orchestration: OrchestrationSettings = Field(default_factory=OrchestrationSettings)
