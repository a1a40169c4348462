"""Whose model a LiteLLM model string means, and how that provider is reached here."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from headgate.config.problems import did_you_mean
from headgate.upstreams.registry import PROVIDERS

ROWS = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "custom_openai": "openai_compatible",
    "openai_like": "openai_compatible",
    "aiohttp_openai": "openai_compatible",
    "azure": "azure",
    "openrouter": "openrouter",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "vllm": "vllm",
    "hosted_vllm": "vllm",
    "llamafile": "llamacpp",
    "lm_studio": "lm_studio",
    "deepseek": "deepseek",
    "groq": "groq",
    "mistral": "mistral",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "xai": "xai",
    "cerebras": "cerebras",
    "perplexity": "perplexity",
    "nvidia_nim": "nvidia",
    "gemini": "gemini",
    "anthropic": "anthropic",
    "litellm_proxy": "litellm_proxy",
}
"""LiteLLM's prefix to the row of our table. All others go through the SDK."""
NOT_MODELS = {
    "auto_router": "LiteLLM's automatic router is no model; callers name a model here.",
    "dotprompt": "Prompts are not kept here; send them with the request.",
    "langfuse": "Prompts are not fetched from Langfuse; send them with the request.",
    "humanloop": "Prompts are not fetched from Humanloop; send them with the request.",
    "a2a": "Agents cannot be called as models yet.",
    "a2a_agent": "Agents cannot be called as models yet.",
    "litellm_agent": "Agents cannot be called as models yet.",
}
DIFFERENCES = {
    "gemini": "Called through Google's OpenAI-compatible API; LiteLLM calls generateContent.",
    "ollama": "Called through Ollama's OpenAI-compatible API; LiteLLM calls /api/generate.",
    "ollama_chat": "Called through Ollama's OpenAI-compatible API; LiteLLM calls /api/chat.",
    "text-completion-openai": "Calls are passed on as they come; LiteLLM turns chat calls into completions.",
    "vllm": "Called over HTTP; LiteLLM loads vLLM into its own process.",
}
SDK = frozenset(
    """
    a2a ai21 ai21_chat aiml aleph_alpha amazon_nova anthropic_text anyscale apertis assemblyai aws_polly aws_textract
    azure_ai azure_speech azure_text baseten bedrock bedrock_mantle black_forest_labs bytez cerebras charity_engine
    chatgpt chutes clarifai cloudflare codestral cognition cohere cohere_chat cometapi compactifai cortecs cursor custom
    darkbloom dashscope databricks datarobot deepgram deepinfra docker_model_runner edenai elevenlabs empower fal_ai
    featherless_ai friendliai galadriel gdc gigachat github github_copilot gradient_ai helicone heroku huggingface
    hyperbolic inception infinity jina_ai lambda_ai langflow langgraph lemonade libertai llamagate manus maritalk meta
    meta_llama milvus minimax modelscope moonshot morph nano-gpt nebius neosantara nlp_cloud novita nscale nvidia_riva
    oci oobabooga ovhcloud palm parasail petals poe predibase prism publicai qwencloud ragflow recraft reducto reka
    replicate runwayml s3_vectors sagemaker sagemaker_chat sagemaker_nova sail sambanova sap scaleway snowflake soniox
    stability synthetic tencent tensormesh text-completion-codestral text-completion-inception topaz transcribe triton
    v0 veniceai vercel_ai_gateway vertex_ai vertex_ai_beta volcengine voyage wandb watsonx watsonx_text xiaomi_mimo
    xinference zai
    """.split()  # noqa: SIM905 - a hundred and forty quoted names would read worse
)
_BARE = (
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-|text-bison|chat-bison|imagen-"), "vertex_ai"),
    (re.compile(r"command(-|$)"), "cohere_chat"),
    (re.compile(r"(embed|rerank)-(english|multilingual|v)"), "cohere"),
    (re.compile(r"([a-z]{2,6}\.)?(anthropic|amazon|meta|cohere|mistral|ai21|deepseek|stability)\."), "bedrock"),
)
_OPENAI = re.compile(
    r"gpt-|chatgpt-|o\d|text-embedding-|dall-e|whisper-|tts-|omni-moderation|text-moderation|ft:|davinci|babbage|codex-|sora|\*"
)
_ANYTHING = "All goes to OpenAI; LiteLLM goes by the caller's prefix. Add entries such as `anthropic/*` for the others."
_HOSTS: dict[str | None, str] = {
    urlsplit(PROVIDERS[row].base_url or "").hostname: prefix
    for prefix, row in reversed(ROWS.items())
    if (PROVIDERS[row].base_url or "").startswith("https://")
}


@dataclass(frozen=True, slots=True)
class Meant:
    """`prefix` is LiteLLM's name of the provider, `model` its id there; `doubt` says what is not sure about it."""

    prefix: str
    model: str
    doubt: str = ""

    @property
    def row(self) -> str | None:
        return ROWS.get(self.prefix)


def meant(text: str, given: str | None, address: object) -> Meant:
    """What `model`, `custom_llm_provider` and `api_base` say together."""
    prefix, slash, rest = text.partition("/")
    if text == "*" and not given:
        return Meant("openai", text, _ANYTHING)
    if given:
        return _tidy(given, text.removeprefix(f"{given}/"))
    if slash and (prefix in ROWS or prefix in SDK or prefix in NOT_MODELS):
        return _tidy(prefix, rest)
    if (host := _host(address)) in _HOSTS:
        return Meant(_HOSTS[host], text)
    if slash:
        guess = did_you_mean(prefix, [*ROWS, *SDK], "Is it installed there?")
        return Meant(prefix, rest, f"The provider '{prefix}' is not known; the LiteLLM SDK is asked for it. {guess}")
    found = next((name for pattern, name in _BARE if pattern.match(text)), "openai")
    unsure = found == "openai" and not _OPENAI.match(text)
    return Meant(found, text, "Taken for OpenAI's, for it names no provider; write `openai/` before it." * unsure)


def _host(address: object) -> str | None:
    try:
        return urlsplit(address).hostname if isinstance(address, str) else None
    except ValueError:
        return None


def _tidy(prefix: str, model: str) -> Meant:
    """Ids as the provider knows them, where LiteLLM's differ."""
    doubt = ""
    if prefix == "openrouter" and "/" not in model and model != "*":
        model = f"openrouter/{model}"
    elif prefix == "fireworks_ai" and not model.startswith("accounts/") and model != "*":
        model = f"accounts/fireworks/models/{model}"
    elif prefix in ("openai", "azure") and model.startswith("responses/"):
        model = model.removeprefix("responses/")
        doubt = "Chat calls are not turned into Responses calls."
    elif prefix == "azure":
        model = re.sub(r"^(o_series|gpt5_series)/", "", model)
    return Meant(prefix, model, doubt)
