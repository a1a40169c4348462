"""Settings of models and routing as the values that serve requests."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from headgate.core.bounds import Bound
from headgate.core.money import Price, nano
from headgate.routing.capabilities import Facts
from headgate.routing.health import Cooldown
from headgate.routing.layers import RuleLayers
from headgate.routing.plan import Overrides, Policy
from headgate.routing.types import (
    Fallbacks,
    Limits,
    Mirror,
    Model,
    ModelSettings,
    ParameterSettings,
    PriceSettings,
    RoutingSettings,
    Rules,
    Target,
    TargetLimitSettings,
    TargetSettings,
)

_MOST_FOUND = 1000
FactsOf = Callable[[str, str], Facts]
"""What is known of (upstream's name, model id)."""
PriceOf = Callable[[str, str], Price | None]
"""The list price of (upstream's name, model id)."""
BoundsOf = Callable[[str], tuple[Bound, ...]]
"""What all callers together may ask of the model of a name."""


def _no_bounds(_name: str) -> tuple[Bound, ...]:
    return ()


def policy_of(settings: RoutingSettings) -> Policy:
    overrides = settings.overrides
    return Policy(
        retries_by_error=settings.retries_by_error,
        first_pause=settings.first_pause,
        timeout=settings.timeout,
        fallbacks=tuple(settings.fallbacks),
        max_fallbacks=settings.max_fallbacks,
        tags=settings.tags,
        enforce_limits=settings.enforce_limits,
        check_context=settings.check_context,
        overrides=Overrides(overrides.retries, overrides.timeout, overrides.fields),
    )


def cooldown_of(settings: RoutingSettings) -> Cooldown:
    cooldown = settings.cooldown
    return Cooldown(cooldown.failures, cooldown.failures_by_error, cooldown.seconds, cooldown.longest)


class Composer:
    """`workers` share each target's limits, for each of them counts alone."""

    def __init__(
        self,
        routing: RoutingSettings,
        parameters: ParameterSettings,
        facts_of: FactsOf,
        price_of: PriceOf,
        workers: int = 1,
        bounds_of: BoundsOf = _no_bounds,
    ) -> None:
        self._routing = routing
        self._parameters = parameters
        self._facts_of = facts_of
        self._price_of = price_of
        self._workers = workers
        self._bounds_of = bounds_of
        self._found_rules = lru_cache(_MOST_FOUND)(self._rules_of_found)
        self._found_layers = lru_cache(_MOST_FOUND)(self._layers_of_found)

    def model(self, settings: ModelSettings) -> Model:
        balance = settings.balance or self._routing.balance
        targets = [self._target(target, settings, needs_price=balance == "cost") for target in settings.targets]
        return Model(
            name=settings.name,
            targets=tuple(sorted(targets, key=lambda target: target.order)),
            balance=balance,
            affinity=settings.affinity or self._routing.affinity,
            retries=self._routing.retries if settings.retries is None else settings.retries,
            fallbacks=Fallbacks(
                tuple(settings.fallbacks),
                tuple(settings.context_window_fallbacks),
                tuple(settings.content_policy_fallbacks),
            ),
            mirror=Mirror(settings.mirror.model, settings.mirror.share) if settings.mirror else None,
            hidden=settings.hidden,
            accepts_image_url=settings.constraints.accepts_image_url,
            bounds=self._bounds_of(settings.name),
            settings=settings,
        )

    def filled(self, pattern: Model, name: str, matched: str) -> Model:
        """The model that a pattern means by a name, its targets' `*` replaced by what the pattern's `*` stands for.

        Its targets share the health of the pattern's, for callers invent names.
        """
        settings = pattern.settings
        assert settings is not None
        targets = [one.model_copy(update={"model": one.model.replace("*", matched)}) for one in settings.targets]
        model = self.model(settings.model_copy(update={"targets": targets}))
        keyed = tuple(
            replace(target, key=origin.key) for target, origin in zip(model.targets, pattern.targets, strict=True)
        )
        return replace(model, name=name, targets=keyed, label=pattern.name)

    def found(self, upstream: str, model_id: str, name: str = "") -> Model:
        """A model that an upstream lists, as `upstream/id` or under a name."""
        label = f"{upstream}/*"
        rules, layers = self._found_rules(upstream, model_id), self._found_layers(upstream, model_id)
        target = Target(upstream, model_id, key=label, longest=layers.longest, rules=rules, layers=layers)
        return Model(
            name or f"{upstream}/{model_id}",
            (target,),
            retries=self._routing.retries,
            owned_by=upstream,
            label=label,
            bounds=self._bounds_of(label),
        )

    def _target(self, settings: TargetSettings, model: ModelSettings, *, needs_price: bool) -> Target:
        facts = self._facts_of(settings.upstream, settings.model)
        price = settings.price or model.price
        layers = RuleLayers(self._parameters, model, settings, facts)
        return Target(
            upstream=settings.upstream,
            model=settings.model,
            name=settings.id or "",
            order=settings.order or 0,
            weight=1.0 if settings.weight is None else settings.weight,
            tags=frozenset(settings.tags),
            limits=self._limits(settings.limits),
            timeout=settings.timeout or 0.0,
            stream_timeout=settings.stream_timeout or 0.0,
            context=settings.context_window or model.capabilities.context_window or facts.context_window or 0,
            longest=model.capabilities.max_output_tokens or facts.max_output_tokens or 0,
            price=price_from(price) if price else None,
            list_price=None if price else self._listed(settings, needs_price=needs_price),
            rules=layers.rules(),
            layers=layers,
        )

    def _listed(self, settings: TargetSettings, *, needs_price: bool) -> Price | None:
        """The list is only asked where the price decides: reading it takes a tenth of a second."""
        return self._price_of(settings.upstream, settings.model) if needs_price else None

    def _rules_of_found(self, upstream: str, model_id: str) -> Rules | None:
        return self._found_layers(upstream, model_id).rules()

    def _layers_of_found(self, upstream: str, model_id: str) -> RuleLayers:
        return RuleLayers(self._parameters, None, None, self._facts_of(upstream, model_id))

    def _limits(self, settings: TargetLimitSettings) -> Limits | None:
        values = (settings.requests_per_minute, settings.tokens_per_minute, settings.in_flight)
        if not any(values):
            return None
        return Limits(*(0 if value is None else max(1, value // self._workers) for value in values))


def price_from(settings: PriceSettings) -> Price:
    return Price(
        input=nano(settings.input),
        output=nano(settings.output),
        cached_input=_nano(settings.cached_input),
        cache_write=_nano(settings.cache_write),
        request=nano(settings.request),
        audio_input=_nano(settings.audio_input),
        audio_output=_nano(settings.audio_output),
        image_input=_nano(settings.image_input),
        image_output=_nano(settings.image_output),
    )


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else nano(usd)
