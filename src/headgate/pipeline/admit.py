"""Whether the one who asks may: the model is allowed, and every limit and budget has room for the request."""

from headgate.core.errors import LedgerUnavailable, ModelUnpriced
from headgate.core.money import Price
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.identity.access import refuse_model
from headgate.limits.estimate import wanted
from headgate.pipeline.context import Deps, Plan
from headgate.routing.types import Model, Target


async def admit(plan: Plan, request: ModelRequest, run: Run, deps: Deps) -> None:
    """Take what the request may use at most; raises Forbidden, LimitReached or Unavailable."""
    who, model = run.who, plan.model
    if who.allow or who.deny or who.within:
        refuse_model(who, request.model, *model.known_as)
    if deps.refuses_unpriced and any(_price_of(target, deps) is None for target in model.targets):
        raise ModelUnpriced(f"What '{model.name}' costs is not known.", param="model")
    bounds = who.bounds + model.bounds if model.bounds else who.bounds
    if why := deps.unwritable(bounds):
        raise LedgerUnavailable(f"What this call costs could not be written now: {why}", retry_after=1)
    if bounds and deps.limiter is not None:
        want = wanted(request, _dearest(model, deps), longest=_longest(model), typical=deps.typical_answer)
        run.ticket = await deps.limiter.admit(bounds, want)


def _dearest(model: Model, deps: Deps) -> Price | None:
    """The highest price among the targets, for nobody knows yet which will answer."""
    prices = [price for target in model.targets if (price := _price_of(target, deps)) is not None]
    return max(prices, key=lambda price: price.input + price.output, default=None)


def _price_of(target: Target, deps: Deps) -> Price | None:
    return target.price or deps.price_of(target)


def _longest(model: Model) -> int:
    return (model.settings.capabilities.max_output_tokens or 0) if model.settings else 0
