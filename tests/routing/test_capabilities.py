"""What is known of models without asking anyone."""

import pytest

from headgate.routing.capabilities import MODELS, REFUSALS, UNKNOWN, Facts, facts_of
from headgate.upstreams.registry import PROVIDERS
from tests.requirements import covers

pytestmark = covers("11", "16")


@pytest.mark.parametrize(
    ("provider", "model", "context", "output", "reasoning", "takes_none"),
    [
        ("openai", "gpt-4o", 128_000, 16_384, False, None),
        ("azure", "gpt-4o-mini-2024-07-18", 128_000, 16_384, False, None),
        ("openai", "GPT-4.1-mini", 1_047_576, 32_768, False, None),
        ("openai", "o3", 200_000, 100_000, True, False),
        ("openai", "gpt-5-mini-2025-08-07", 400_000, 128_000, True, False),
        ("openai", "gpt-5.1", 400_000, 128_000, True, True),
        ("anthropic", "claude-sonnet-4-5-20250929", 200_000, 64_000, True, None),
        ("gemini", "gemini-2.5-pro", 1_048_576, 65_536, True, False),
        ("gemini", "gemini-2.5-flash", 1_048_576, 65_536, True, True),
        ("deepseek", "deepseek-reasoner", 131_072, 65_536, None, None),
        ("groq", "openai/gpt-oss-120b", 131_072, None, True, False),
        ("xai", "grok-4-0709", 256_000, None, False, None),
        ("openrouter", "openai/o3", 200_000, 100_000, True, None),
        ("litellm", "anthropic/claude-opus-4-5", 200_000, 64_000, True, None),
        ("litellm", "gemini/gemini-2.5-flash", 1_048_576, 65_536, True, True),
    ],
)
def test_well_known_models_are_known(
    provider: str, model: str, context: int, output: int | None, reasoning: bool | None, takes_none: bool | None
) -> None:
    facts = facts_of(provider, model)
    assert (facts.context_window, facts.max_output_tokens) == (context, output)
    assert (facts.reasoning, facts.takes_none) == (reasoning, takes_none)
    assert facts.mode == "chat"


@pytest.mark.parametrize(
    ("provider", "model", "refused", "taken"),
    [
        (
            "openai",
            "o3-mini",
            "temperature top_p logprobs max_tokens parallel_tool_calls",
            "max_completion_tokens stop",
        ),
        ("azure", "gpt-5-nano", "temperature presence_penalty stop", "max_completion_tokens reasoning_effort tools"),
        ("openai", "gpt-5.2", "max_tokens logit_bias", "temperature top_p logprobs"),
        ("openai", "gpt-4o", "", "temperature max_tokens stop logprobs"),
        ("deepseek", "deepseek-reasoner", "temperature top_logprobs", "max_tokens stop"),
        ("anthropic", "claude-opus-4-8", "logprobs seed", "reasoning_effort response_format metadata user"),
        ("anthropic", "claude-from-tomorrow", "logprobs", "tools"),
        ("groq", "anything", "logit_bias logprobs", "temperature"),
        ("mistral", "mistral-large-latest", "seed max_completion_tokens", "max_tokens temperature"),
        ("cerebras", "llama3.1-8b", "logit_bias", "temperature"),
        ("xai", "grok-4", "stop presence_penalty", "temperature"),
        ("xai", "grok-4-fast-non-reasoning", "", "stop presence_penalty"),
        ("openrouter", "openai/o3", "", "temperature max_tokens"),
        ("litellm", "anthropic/claude-opus-4-5", "", "reasoning_effort seed"),
    ],
)
def test_fields_are_refused_where_the_provider_says_so(provider: str, model: str, refused: str, taken: str) -> None:
    unsupported = facts_of(provider, model).unsupported
    assert set(refused.split()) <= unsupported
    assert not set(taken.split()) & unsupported


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-99"),
        ("openai", "my-gpt-4o"),
        ("openai", "gpt-4o\n"),
        ("openai_compatible", "stub-small"),
        ("ollama", "gpt-4o"),
        ("azure", "our-deployment"),
        ("nowhere", ""),
        ("openrouter", "auto"),
        ("litellm", "bedrock/x"),
    ],
)
def test_what_is_not_well_known_is_unknown(provider: str, model: str) -> None:
    assert facts_of(provider, model) == UNKNOWN == Facts()


def test_open_weights_are_known_by_name_whoever_serves_them() -> None:
    for provider, model in (("ollama", "llama3.1:8b"), ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo")):
        facts = facts_of(provider, model)
        assert (facts.family, facts.input, facts.context_window) == ("llama", ("text",), None)
    assert facts_of("ollama", "nomic-embed-text:latest").mode == "embedding"
    assert facts_of("vllm", "openai/whisper-large-v3").mode == "audio_transcription"


def test_what_a_provider_takes_once_it_is_translated_is_promised() -> None:
    facts = facts_of("anthropic", "claude-opus-4-5")
    assert (facts.json_schema, facts.reasoning, facts.tools, facts.input) == (True, True, True, ("text", "image"))


def test_every_row_is_for_a_provider_that_there_is() -> None:
    named = {provider for row in (*MODELS, *REFUSALS) for provider in row.providers}
    assert named <= {*PROVIDERS, "local"}


def test_every_row_says_something_that_can_be_said() -> None:
    kinds = {"text", "image", "audio", "file", "embedding"}
    for row in MODELS:
        facts = row.facts
        assert facts.mode
        assert not facts.unsupported, "refusals have a table of their own"
        assert set(facts.input or ()) | set(facts.output or ()) <= kinds
        assert facts.takes_none is None or facts.reasoning, "a level of nothing"
        assert not facts.max_output_tokens or (facts.context_window or 0) >= facts.max_output_tokens
    assert all(row.facts.unsupported and row.providers for row in REFUSALS)


def test_no_row_is_hidden_by_one_above_it() -> None:
    """Each id of a list of real ones is matched first by the row that it belongs to."""
    belongs = {
        "o3-mini": ("text",),
        "o3": ("text", "image", "file"),
        "gpt-4o-audio-preview": ("text", "audio"),
        "gpt-4-turbo": ("text", "image"),
        "gpt-4": ("text",),
    }
    assert {model: facts_of("openai", model).input for model in belongs} == belongs
    assert facts_of("openai", "gpt-5-pro").mode == "responses"
    assert facts_of("openai", "text-embedding-3-small").mode == "embedding"
