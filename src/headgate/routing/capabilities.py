"""What well-known models can do and which fields their providers refuse, as rows. Knows no configuration.

Modest on purpose: what is not well documented, or depends on who serves the model, is not here and counts as unknown.
Fields that depend on each other, such as a temperature that is only refused while a model reasons, are left out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model at a provider; None is unknown.

    `reasoning`: it takes `reasoning_effort`; `takes_none`: also the level `none`. `unsupported`: fields that its
    provider refuses, or says it ignores.
    """

    mode: str | None = None
    family: str | None = None
    license: str | None = None
    input: tuple[str, ...] | None = None
    output: tuple[str, ...] | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None
    takes_none: bool | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    unsupported: frozenset[str] = frozenset()


UNKNOWN = Facts()


class Row(NamedTuple):
    """`providers` as in the registry, empty for any; `pattern` is matched with the whole id in lower case."""

    providers: tuple[str, ...]
    pattern: re.Pattern[str]
    facts: Facts


def _row(providers: str, pattern: str, **facts: Any) -> Row:
    return Row(tuple(providers.split()), re.compile(pattern), Facts(**facts))


def _refuses(providers: str, pattern: str, fields: str) -> Row:
    return _row(providers, pattern, unsupported=frozenset(fields.split()))


_DATE = r"(-\d{4}-\d{2}-\d{2})?"
_OPENAI = "openai azure"
_O_SERIES = rf"(o1|o3|o3-mini|o4-mini){_DATE}"
_GPT_5 = rf"gpt-5(-mini|-nano)?{_DATE}"
_LATER_GPT = rf"gpt-(5\.[1-9]|6(\.\d)?)(-mini|-nano|-sol|-terra|-luna|-astra)?{_DATE}"
_XAI_REASONING = r"grok-(3-mini|4|code)(?!.*non-reasoning).*"

_TEXT = ("text",)
_SEES = ("text", "image")
_READS = ("text", "image", "file")
_OMNI = ("text", "image", "audio", "file")
_CHAT: dict[str, Any] = {"mode": "chat", "output": _TEXT, "tools": True, "json_schema": True}
_CLOSED: dict[str, Any] = {**_CHAT, "license": "proprietary"}
_GPT: dict[str, Any] = {**_CLOSED, "family": "gpt", "input": _READS, "reasoning": False}
_REASONS: dict[str, Any] = {**_CLOSED, "family": "o-series", "input": _READS, "reasoning": True, "takes_none": False}
_CLAUDE: dict[str, Any] = {**_CLOSED, "family": "claude", "input": _SEES, "reasoning": True}
_GEMINI: dict[str, Any] = {
    **_CLOSED,
    "family": "gemini",
    "input": _OMNI,
    "reasoning": True,
    "context_window": 1_048_576,
    "max_output_tokens": 65_536,
}
_GROK: dict[str, Any] = {**_CLOSED, "family": "grok"}
_EMBEDS: dict[str, Any] = {"mode": "embedding", "input": _TEXT, "output": ("embedding",)}
_HEARS: dict[str, Any] = {"mode": "audio_transcription", "input": ("audio",), "output": _TEXT}
_SPEAKS: dict[str, Any] = {"mode": "audio_speech", "input": _TEXT, "output": ("audio",)}

MODELS = (
    # OpenAI: https://developers.openai.com/api/docs/models
    _row(
        _OPENAI,
        rf"gpt-4o(-mini)?-audio-preview{_DATE}|gpt-audio(-mini|-1\.5)?{_DATE}",
        **{**_GPT, "input": ("text", "audio"), "output": ("text", "audio"), "json_schema": False},
        context_window=128_000,
        max_output_tokens=16_384,
    ),
    _row(
        _OPENAI, "gpt-4o-2024-05-13", **{**_GPT, "json_schema": False}, context_window=128_000, max_output_tokens=4_096
    ),
    _row(
        _OPENAI,
        rf"gpt-4o(-mini)?{_DATE}|chatgpt-4o-latest",
        **_GPT,
        context_window=128_000,
        max_output_tokens=16_384,
    ),
    _row(_OPENAI, rf"gpt-4\.1(-mini|-nano)?{_DATE}", **_GPT, context_window=1_047_576, max_output_tokens=32_768),
    _row(
        _OPENAI,
        rf"gpt-4-turbo{_DATE}",
        **{**_GPT, "input": _SEES, "json_schema": False},
        context_window=128_000,
        max_output_tokens=4_096,
    ),
    _row(_OPENAI, r"gpt-4(-0613)?", **{**_GPT, "input": _TEXT, "json_schema": False}, context_window=8_192),
    _row(
        _OPENAI,
        r"gpt-3\.5-turbo(-0125|-1106|-16k)?",
        **{**_GPT, "input": _TEXT, "json_schema": False},
        context_window=16_385,
        max_output_tokens=4_096,
    ),
    _row(
        _OPENAI,
        rf"o3-mini{_DATE}",
        **{**_REASONS, "input": _TEXT},
        context_window=200_000,
        max_output_tokens=100_000,
    ),
    _row(_OPENAI, _O_SERIES, **_REASONS, context_window=200_000, max_output_tokens=100_000),
    _row(
        _OPENAI,
        rf"(o1|o3)-pro{_DATE}|gpt-5(\.\d)?(-pro|-codex.*){_DATE}",
        **{**_REASONS, "mode": "responses", "family": None},
    ),
    _row(_OPENAI, _GPT_5, **{**_REASONS, "family": "gpt"}, context_window=400_000, max_output_tokens=128_000),
    _row(
        _OPENAI,
        rf"gpt-(5\.[12]|5\.4-(mini|nano)){_DATE}",
        **{**_REASONS, "family": "gpt", "takes_none": True},
        context_window=400_000,
        max_output_tokens=128_000,
    ),
    _row(
        _OPENAI,
        rf"gpt-(5\.[456](-sol|-terra|-luna)?|6-(sol|luna)){_DATE}",
        **{**_REASONS, "family": "gpt", "takes_none": True},
        context_window=1_050_000,
        max_output_tokens=128_000,
    ),
    _row(
        _OPENAI,
        rf"gpt-(6-astra|6\.1-sol){_DATE}",
        **{**_REASONS, "family": "gpt"},
        context_window=1_050_000,
        max_output_tokens=128_000,
    ),
    _row(
        _OPENAI,
        r"text-embedding-(3-small|3-large|ada-002)",
        **_EMBEDS,
        license="proprietary",
        context_window=8_191,
    ),
    _row(_OPENAI, r"omni-moderation-.*", mode="moderation", input=_SEES, license="proprietary"),
    _row(_OPENAI, rf"gpt-4o(-mini)?-transcribe(-diarize)?{_DATE}", **_HEARS, license="proprietary"),
    _row(_OPENAI, rf"tts-1(-hd)?(-1106)?|gpt-4o-mini-tts{_DATE}", **_SPEAKS, license="proprietary"),
    _row(_OPENAI, r"gpt-image-.*", mode="image_generation", input=_SEES, output=("image",), license="proprietary"),
    _row(_OPENAI, r"dall-e-[23]", mode="image_generation", input=_TEXT, output=("image",), license="proprietary"),
    _row(_OPENAI, r"gpt-realtime.*", mode="realtime", license="proprietary"),
    # Anthropic: https://platform.claude.com/docs/en/about-claude/models
    _row(
        "anthropic",
        r"claude-(opus|sonnet|haiku)-4-5(-\d{8})?",
        **_CLAUDE,
        context_window=200_000,
        max_output_tokens=64_000,
    ),
    _row(
        "anthropic",
        r"claude-(sonnet-4-6|opus-4-[678]|(opus|sonnet|haiku|fable|mythos)-5(-\d)?)(-\d{8})?",
        **_CLAUDE,
        context_window=1_000_000,
        max_output_tokens=128_000,
    ),
    _row("anthropic", r"claude-.*", **{**_CLAUDE, "reasoning": None}),
    # Google: https://ai.google.dev/gemini-api/docs/models
    _row("gemini", r"gemini-2\.5-flash(-lite)?", **_GEMINI, takes_none=True),
    _row("gemini", r"gemini-(2\.5-pro|3(\.\d)?-(pro|flash|flash-lite)(-preview)?)", **_GEMINI, takes_none=False),
    _row("gemini", r"gemini-embedding-001", **_EMBEDS, license="proprietary", context_window=2_048),
    # DeepSeek: https://api-docs.deepseek.com
    _row(
        "deepseek",
        r"deepseek-chat",
        mode="chat",
        family="deepseek",
        license="mit",
        input=_TEXT,
        output=_TEXT,
        tools=True,
        context_window=131_072,
        max_output_tokens=8_192,
    ),
    _row(
        "deepseek",
        r"deepseek-reasoner",
        mode="chat",
        family="deepseek",
        license="mit",
        input=_TEXT,
        output=_TEXT,
        context_window=131_072,
        max_output_tokens=65_536,
    ),
    # Mistral: https://docs.mistral.ai/getting-started/models
    _row(
        "mistral",
        r"mistral-(large|medium|small)-latest",
        **{**_CHAT, "family": "mistral", "input": _SEES, "context_window": 262_144},
    ),
    _row(
        "mistral",
        r"codestral-(latest|2508)",
        **{**_CHAT, "family": "mistral", "input": _TEXT, "context_window": 128_000},
    ),
    _row("mistral", r"(mistral|codestral)-embed.*", **_EMBEDS, family="mistral", context_window=8_192),
    # xAI: https://docs.x.ai/docs/models
    _row("xai", r"grok-3-mini.*", **_GROK, input=_TEXT, reasoning=True, takes_none=False, context_window=131_072),
    _row(
        "xai", r"grok-4\.3(-latest)?", **_GROK, input=_SEES, reasoning=True, takes_none=True, context_window=1_000_000
    ),
    _row(
        "xai",
        r"grok-4\.[567](-latest)?",
        **_GROK,
        input=_SEES,
        reasoning=True,
        takes_none=False,
        context_window=500_000,
    ),
    _row("xai", r"grok-4(-0709|-latest)?|grok-code-fast.*", **_GROK, reasoning=False, context_window=256_000),
    # Perplexity: https://docs.perplexity.ai
    _row("perplexity", r"sonar", mode="chat", family="sonar", output=_TEXT, tools=False, context_window=128_000),
    _row("perplexity", r"sonar-pro", mode="chat", family="sonar", output=_TEXT, tools=False, context_window=200_000),
    # Open weights; who serves them decides on context and fields.
    _row(
        "groq cerebras",
        r"(openai/)?gpt-oss-(20b|120b)",
        **_CHAT,
        family="gpt-oss",
        license="apache-2.0",
        input=_TEXT,
        reasoning=True,
        takes_none=False,
        context_window=131_072,
    ),
    _row(
        "",
        r"(.*/)?gpt-oss[-:](20b|120b).*",
        mode="chat",
        family="gpt-oss",
        license="apache-2.0",
        input=_TEXT,
        output=_TEXT,
    ),
    _row(
        "",
        r"(.*/)?(meta-)?llama-?3\.[13](?!.*vision).*",
        mode="chat",
        family="llama",
        license="llama3",
        input=_TEXT,
        output=_TEXT,
    ),
    _row("", r"(.*/)?smollm2.*", mode="chat", family="smollm2", license="apache-2.0", input=_TEXT, output=_TEXT),
    _row("", r"(.*/)?whisper-.*", **_HEARS, family="whisper", license="mit"),
    _row("local", r"all-minilm-l6-v2", **_EMBEDS, license="apache-2.0", context_window=256),
    _row("", r"(.*/)?(nomic-embed-text|mxbai-embed-large|all-minilm|bge-).*", **_EMBEDS),
)

REFUSALS = (
    # https://developers.openai.com/api/docs/guides/reasoning
    _refuses(
        _OPENAI,
        f"{_O_SERIES}|{_GPT_5}",
        "temperature top_p presence_penalty frequency_penalty logprobs top_logprobs logit_bias max_tokens",
    ),
    _refuses(_OPENAI, _O_SERIES, "parallel_tool_calls"),
    _refuses(_OPENAI, rf"(o3|o4-mini){_DATE}|{_GPT_5}", "stop"),
    _refuses(_OPENAI, _LATER_GPT, "presence_penalty frequency_penalty logit_bias stop max_tokens"),
    # https://api-docs.deepseek.com/guides/reasoning_model
    _refuses(
        "deepseek",
        "deepseek-reasoner",
        "temperature top_p presence_penalty frequency_penalty logprobs top_logprobs",
    ),
    # What chats lose on their way into Anthropic's own API
    _refuses(
        "anthropic",
        ".*",
        "logprobs top_logprobs prediction presence_penalty frequency_penalty seed audio logit_bias store modalities",
    ),
    # https://console.groq.com/docs/openai
    _refuses("groq", ".*", "logprobs top_logprobs logit_bias"),
    # https://docs.mistral.ai/api refuses what it does not list
    _refuses(
        "mistral",
        ".*",
        "logprobs top_logprobs logit_bias seed user store service_tier modalities stream_options max_completion_tokens",
    ),
    # https://inference-docs.cerebras.ai/resources/openai
    _refuses("cerebras", ".*", "frequency_penalty presence_penalty logit_bias"),
    # https://docs.x.ai/docs/guides/reasoning
    _refuses("xai", _XAI_REASONING, "presence_penalty frequency_penalty stop"),
    # https://docs.perplexity.ai/api-reference
    _refuses("perplexity", "sonar.*", "tools tool_choice parallel_tool_calls functions function_call logit_bias"),
)

_THROUGH = frozenset(("openrouter", "litellm", "litellm_proxy", "agentrouter"))
_OPENAI_BY_NAME = {"openai_compatible": "openai"}
_MAKERS = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "google": "gemini",
    "gemini": "gemini",
    "deepseek": "deepseek",
    "mistral": "mistral",
    "mistralai": "mistral",
    "xai": "xai",
    "x-ai": "xai",
    "groq": "groq",
    "cerebras": "cerebras",
    "perplexity": "perplexity",
}


@lru_cache(maxsize=4096)
def facts_of(provider: str, model_id: str) -> Facts:
    """What is known of a model as this provider serves it; UNKNOWN when nothing is.

    Routers such as OpenRouter name models `maker/id` and see to fields that a maker refuses themselves. For the LiteLLM
    SDK, `provider` is `litellm` and the id has the SDK's prefix. Behind an address of one's own, a model with a name of
    OpenAI's is taken for OpenAI's.
    """
    model_id = model_id.lower()
    provider = _OPENAI_BY_NAME.get(provider, provider)
    maker, slash, bare = model_id.partition("/")
    if provider in _THROUGH and slash:
        found = _first(_MAKERS.get(maker, maker), bare)
        return replace(found, takes_none=found.takes_none or None)
    found = _first(provider, model_id)
    refused = frozenset[str]().union(*(row.facts.unsupported for row in _matching(REFUSALS, provider, model_id)))
    if not refused:
        return found
    return replace(
        found,
        unsupported=refused,
        reasoning=False if "reasoning_effort" in refused else found.reasoning,
        json_schema=False if "response_format" in refused else found.json_schema,
    )


def _first(provider: str, model_id: str) -> Facts:
    return next((row.facts for row in _matching(MODELS, provider, model_id)), UNKNOWN)


def _matching(rows: Iterable[Row], provider: str, model_id: str) -> Iterable[Row]:
    return (
        row
        for row in rows
        if (not row.providers or provider in row.providers) and row.pattern.fullmatch(model_id) is not None
    )
