"""Upstreams as set: where calls go and how long they may take."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class TimeoutSettings(BaseModel):
    """Seconds. `read` is the longest silence: until the first byte, and between two."""

    model_config = ConfigDict(extra="forbid")

    connect: float = Field(5.0, gt=0, description="Until the connection stands, TLS included.")
    read: float = Field(300.0, gt=0, description="The longest silence of the provider, also before its first byte.")
    write: float = Field(30.0, gt=0, description="The longest pause while the request body is being sent.")
    total: float = Field(1800.0, gt=0, description="The whole call, stream included.")


class LocalSettings(BaseModel):
    """How the local model runs (provider `local` only)."""

    model_config = ConfigDict(extra="forbid")

    path: str | None = Field(None, description="A GGUF file. Without one, the packaged SmolLM2-135M-Instruct.")
    context: int = Field(4096, ge=128, description="Context window in tokens, per parallel request.")
    parallel: int = Field(2, ge=1, le=64, description="Requests answered at once; more are queued.")
    prompt_cache_mib: int = Field(
        256, ge=0, description="Memory for the prompts of conversations that wait for their next turn, in MiB."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; all but one core when not set.")
    gpu_layers: int = Field(0, ge=-1, description="Layers kept on the GPU; -1 for as many as fit.")
    embeddings: bool = Field(False, description="Serve embeddings instead of completions.")
    pooling: Literal["mean", "cls", "last"] | None = Field(
        None, description="How an embedding is made of its tokens'; the file's own way when not set."
    )


class UpstreamSettings(BaseModel):
    """One upstream."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="A name of your choice, without slash.")
    provider: str = Field(description="A row of the provider table, `local`, `litellm` or `mock`.")
    base_url: str | None = Field(None, description="Only where the provider has no fixed address, or to override it.")
    api_key: SecretStr | None = Field(None, description="The key for this provider, best as ${VARIABLE}.")
    proxy: str | None = Field(
        None,
        pattern=r"^http://",
        description="An HTTP proxy to go through. HTTPS_PROXY and NO_PROXY are honoured where none is set.",
    )
    api_version: str | None = Field(None, description="Azure's dated API version; not needed for its v1 API.")
    headers: dict[str, str] = Field(default_factory=dict, description="Further headers sent with every call.")
    speaks: tuple[Literal["chat", "messages", "responses"], ...] = Field(
        (),
        description="The APIs in which it takes chats, where they differ from its provider's row: `chat` (Chat "
        "Completions), `messages` (Anthropic Messages), `responses` (OpenAI Responses). Calls in another one are "
        "translated.",
    )
    offer_all: bool = Field(False, description="Offer every model the provider lists, as `name/id` and as plain `id`.")
    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings)
    local: LocalSettings | None = Field(None, description="Only for provider `local`.")
    litellm_provider: str | None = Field(
        None, description="Only for provider `litellm`: the SDK's provider prefix, such as `bedrock`."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Only for the providers `litellm` (options of the SDK, such as `aws_region_name`) and `mock`.",
    )


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """Where the child listens, with what it was loaded with and with the packaged embedding model, and the key that
    keeps others on this machine out.
    """

    base_url: str
    embeddings_url: str
    key: str
