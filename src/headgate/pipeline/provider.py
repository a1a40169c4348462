"""A caller's choice of the provider that is to answer."""

from dataclasses import replace

from headgate.core.errors import InvalidField
from headgate.pipeline.context import Deps
from headgate.routing.types import NO_FALLBACKS, Model


def of_provider(model: Model, provider: str, deps: Deps) -> Model:
    """The model with its targets of an upstream, or of the provider behind it; else the model `<name>-<provider>`.

    Nobody else answers instead. Raises InvalidField where there is neither.
    """
    targets = tuple(one for one in model.targets if provider in (one.upstream, deps.provider_of(one.upstream)))
    if not targets:
        other = deps.catalog.configured(f"{model.name}-{provider}")
        if other is None:
            known = sorted({one.upstream for one in model.targets})
            message = f"The model '{model.name}' has no provider '{provider}'; it has: {', '.join(known)}."
            raise InvalidField(message, param="provider")
        model, targets = other, other.targets
    return replace(model, targets=targets, fallbacks=NO_FALLBACKS)
