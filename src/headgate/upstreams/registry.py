"""The providers that speak OpenAI's API, as rows. Adding one means adding a row."""

from dataclasses import dataclass

_CHAT = frozenset(("chat",))


@dataclass(frozen=True, slots=True)
class Provider:
    """A host that speaks OpenAI.

    `key_variables` are environment variables that hold its key, `url_variables` its address; where several are set
    they have to agree. `spare_key_variable` may be meant for something else and counts only without those.
    `needs_key`: calls without a key cannot work. `key_header`: the header that carries the key when it is not
    `Authorization: Bearer`. `usage_in_streams`: it takes `stream_options.include_usage`. `lists_models`: it has
    `GET /models`. `offered_by_key`: a key in the environment is enough to offer it. `speaks`: dialects in which it
    takes chats; `speaks_at_home`: further ones that only its own address is known to take.
    """

    name: str
    base_url: str | None = None
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    needs_key: bool = True
    key_header: str | None = None
    usage_in_streams: bool = True
    lists_models: bool = True
    offered_by_key: bool = True
    spare_key_variable: str | None = None
    speaks: frozenset[str] = _CHAT
    speaks_at_home: frozenset[str] = frozenset()

    @property
    def is_anthropic(self) -> bool:
        return self.name == "anthropic"


PROVIDERS = {
    row.name: row
    for row in (
        Provider(
            "openai",
            "https://api.openai.com/v1",
            ("OPENAI_API_KEY",),
            ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            speaks_at_home=frozenset(("responses",)),
        ),
        Provider(
            "azure",
            key_variables=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
            url_variables=("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"),
            key_header="api-key",
            lists_models=False,
        ),
        Provider("openrouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
        Provider("ollama", "http://127.0.0.1:11434/v1", needs_key=False),
        Provider("ollama_cloud", "https://ollama.com/v1", ("OLLAMA_API_KEY",)),
        Provider("vllm", key_variables=("VLLM_API_KEY",), needs_key=False, offered_by_key=False),
        Provider("llamacpp", "http://127.0.0.1:8080/v1", ("LLAMA_API_KEY",), needs_key=False, offered_by_key=False),
        Provider("lm_studio", "http://127.0.0.1:1234/v1", needs_key=False),
        Provider("deepseek", "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",)),
        Provider("groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
        Provider("mistral", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), usage_in_streams=False),
        Provider("together", "https://api.together.xyz/v1", ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY")),
        Provider("fireworks", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY")),
        Provider("xai", "https://api.x.ai/v1", ("XAI_API_KEY",)),
        Provider("cerebras", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
        Provider(
            "perplexity",
            "https://api.perplexity.ai",
            ("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"),
            usage_in_streams=False,
            lists_models=False,
        ),
        Provider("nvidia", "https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY")),
        Provider("agentrouter", "https://agentrouter.org/v1", ("AGENTROUTER_API_KEY",)),
        Provider(
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            ("GEMINI_API_KEY",),
            spare_key_variable="GOOGLE_API_KEY",
        ),
        Provider(
            "anthropic",
            "https://api.anthropic.com/v1",
            ("ANTHROPIC_API_KEY",),
            speaks=frozenset(("messages",)),
        ),
        Provider("litellm_proxy", None, ("LITELLM_PROXY_API_KEY",), ("LITELLM_PROXY_API_BASE",)),
        Provider("openai_compatible", needs_key=False, offered_by_key=False),
    )
}
