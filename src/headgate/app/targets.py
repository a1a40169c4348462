"""The upstreams, and what the packaged lists and the settings say of the targets behind them."""

from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from headgate.api.lists import Lists
from headgate.config.load import prepare_sdk
from headgate.config.tree import Settings
from headgate.core.bounds import Bound
from headgate.core.money import Price
from headgate.core.ports import Upstream
from headgate.limits.types import bound_of
from headgate.routing.capabilities import facts_of
from headgate.routing.compose import Composer
from headgate.upstreams.http import Wire
from headgate.upstreams.litellm import LiteLLMUpstream
from headgate.upstreams.local import LocalUpstream
from headgate.upstreams.mock import MockUpstream
from headgate.upstreams.openai import OpenAIUpstream
from headgate.upstreams.registry import PROVIDERS
from headgate.upstreams.types import LocalAddress, UpstreamSettings
from headgate.usage import pricing
from headgate.usage.pricing import listed

__all__ = ["composer_of", "lists_of", "upstream_of"]


def upstream_of(settings: UpstreamSettings, wire: Wire, local: Mapping[str, LocalAddress]) -> Upstream:
    if settings.provider == "litellm":
        prepare_sdk()
        return LiteLLMUpstream(settings)
    if settings.provider == "local":
        address = local[settings.name]
        reached = [
            settings.model_copy(update={"base_url": url, "api_key": SecretStr(address.key)})
            for url in (address.base_url, address.embeddings_url)
        ]
        return LocalUpstream(*(OpenAIUpstream(one, PROVIDERS["llamacpp"], wire) for one in reached))
    if settings.provider == "mock":
        return MockUpstream(settings)
    return OpenAIUpstream(settings, PROVIDERS[settings.provider], wire)


def lists_of(upstreams: Iterable[UpstreamSettings]) -> Lists:
    """What the packaged lists say of each target. They know the SDK's models by the provider's prefix and their id."""
    accounts = {one.name: (one.provider, one.litellm_provider) for one in upstreams}

    def known_as(upstream: str, model: str) -> tuple[str, str]:
        provider, prefix = accounts[upstream]
        return provider, f"{prefix}/{model}" if prefix else model

    return Lists(
        lambda upstream: accounts[upstream][1] or accounts[upstream][0],
        lambda upstream, model: facts_of(*known_as(upstream, model)),
        lambda upstream, model: listed(*known_as(upstream, model)),
        lambda upstream, model: pricing.listed_now(*known_as(upstream, model)),
    )


def composer_of(settings: Settings, lists: Lists) -> Composer:
    def price_of(upstream: str, model: str) -> Price | None:
        found = lists.listed(upstream, model)
        return found.price if found else None

    def bounds_of(name: str) -> tuple[Bound, ...]:
        limits = settings.limits.models
        found = limits.get(name) or limits.get("*")
        bound = bound_of(f"model:{name}", found) if found else None
        return (bound,) if bound else ()

    workers = settings.server.workers
    return Composer(settings.routing, settings.parameters, lists.facts_of, price_of, workers, bounds_of)
