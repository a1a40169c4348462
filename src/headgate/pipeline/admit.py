"""Whether the one who asks may: the model is allowed, and every limit and budget has room for the request."""

from headgate.core.bounds import Bound, Want
from headgate.core.errors import LedgerUnavailable, ModelUnpriced
from headgate.core.money import Price, dearest
from headgate.core.request import ModelRequest
from headgate.core.run import Run
from headgate.identity.access import refuse_model
from headgate.limits.estimate import wanted
from headgate.pipeline.context import Deps, Plan
from headgate.routing.types import Model, Target


async def admit(plan: Plan, request: ModelRequest, run: Run, deps: Deps) -> None:
    """Take what the request may use at most; raises Forbidden, LimitReached or Unavailable."""
    who, model = run.who, plan.model
    if who.is_choosy:
        refuse_model(who, request.model, *model.known_as)
    _refuse_unpriced(model, run, deps)
    bounds = who.bounds + model.bounds if model.bounds else who.bounds
    if why := deps.unwritable(bounds):
        raise LedgerUnavailable(f"What this call costs could not be written now: {why}", retry_after=1)
    if bounds and deps.limiter is not None:
        run.ticket = await deps.limiter.admit(bounds, _want(model, request, run, deps))


async def afford(model: Model, request: ModelRequest, run: Run, deps: Deps) -> None:
    """Before a request falls back on another model: reserve what that one may cost more than was reserved.

    Raises ModelUnpriced, LimitReached or LimitsUnavailable.
    """
    _refuse_unpriced(model, run, deps)
    if run.ticket is None or deps.limiter is None:
        return
    bounds = tuple(Bound(one.subject, budgets=one.budgets) for one in run.ticket.bounds if one.budgets)
    if not bounds:
        return
    held = run.ticket.want.nano_usd + sum(one.want.nano_usd for one in run.further)
    more = _want(model, request, run, deps).nano_usd - held
    if more > 0:
        run.further = (*run.further, await deps.limiter.admit(bounds, Want(nano_usd=more)))


def _refuse_unpriced(model: Model, run: Run, deps: Deps) -> None:
    of_tenant = run.who.terms.refuses_unpriced
    if not (deps.refuses_unpriced if of_tenant is None else of_tenant):
        return
    if any(_price_of(target, deps) is None for target in model.targets):
        raise ModelUnpriced(f"What '{model.name}' costs is not known.", param="model")


def _want(model: Model, request: ModelRequest, run: Run, deps: Deps) -> Want:
    """At the highest prices among the targets, for nobody knows yet which will answer."""
    price = model.dearest or dearest([one for target in model.targets if (one := _price_of(target, deps)) is not None])
    longest = (model.settings.capabilities.max_output_tokens or 0) if model.settings else 0
    typical = run.who.terms.typical_answer or deps.typical_answer
    return wanted(request, price, longest=longest, typical=typical)


def _price_of(target: Target, deps: Deps) -> Price | None:
    return target.price or deps.price_of(target)
