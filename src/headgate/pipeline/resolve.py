"""Which model a request means, whether that model can take it, and how it is to be routed."""

from collections.abc import Mapping
from typing import Any

from headgate.core.errors import ImageUrlNotSupported
from headgate.core.request import UNCHANGED, ModelRequest
from headgate.core.run import Run
from headgate.core.surfaces import SURFACES
from headgate.core.wishes import NOTHING, Wishes
from headgate.identity.access import may_use
from headgate.pipeline.context import Deps, Plan
from headgate.pipeline.overrides import wishes_in_body
from headgate.pipeline.provider import of_provider
from headgate.routing.affinity import beginning_of
from headgate.routing.plan import Ask, Policy
from headgate.routing.types import Model

_PLAIN = {surface: Ask(surface.name) for surface in SURFACES}
_IMAGES = ("image_url", "input_image", "image")
_BYTES_PER_TOKEN = 6
"""A careful guess: few texts have more bytes per token, so that no target is passed over that could do it."""


async def resolve(request: ModelRequest, run: Run, deps: Deps) -> Plan:
    """Raises ModelNotFound, or ImageUrlNotSupported when the model's constraints forbid what was sent."""
    model = deps.catalog.configured(request.model) or await deps.catalog.find(request.model)
    if not model.accepts_image_url and (where := _first_image(request.fields)):
        raise ImageUrlNotSupported(f"The model '{model.name}' does not take images.", param=where)
    if run.provider:
        model = of_provider(model, run.provider, deps)
    who, terms = run.who, run.who.terms
    is_bound = who.is_choosy
    is_usual = terms.retries is None and not terms.timeout
    if run.wishes is NOTHING and model.affinity == "none" and deps.planner.is_plain and is_usual and not is_bound:
        return Plan._make((model, _PLAIN[request.surface], 0.0, False, UNCHANGED))
    policy = deps.planner.policy
    wishes, changes = wishes_in_body(request, run.wishes) if policy.overrides.fields else (run.wishes, None)
    wishes, run.applied = _bounded(wishes, policy)
    run.wishes = wishes
    ask = Ask(
        request.surface.name,
        wishes.retries if wishes.retries is not None else _retries(model, terms.retries),
        wishes.tags,
        _belongs(model, wishes, request.fields),
        request.size // _BYTES_PER_TOKEN if policy.check_context else 0,
        wishes.fallbacks,
        (lambda other: may_use(who, *other.known_as)) if is_bound else None,
    )
    longest = terms.timeout or policy.timeout or 0.0
    timeout = min(wishes.timeout or longest, longest or float("inf"))
    hurried = wishes.timeout is not None and timeout < (longest or float("inf"))
    return Plan(model, ask, timeout, hurried) if changes is None else Plan(model, ask, timeout, hurried, changes)


def _retries(model: Model, of_tenant: int | None) -> int | None:
    """Those of the tenant, for models that say nothing themselves; None for the model's."""
    return of_tenant if model.settings is None or model.settings.retries is None else None


def _bounded(wishes: Wishes, policy: Policy) -> tuple[Wishes, tuple[str, ...]]:
    """The wishes within what the operator allows, and what was cut."""
    notes = []
    retries, timeout = wishes.retries, wishes.timeout
    if retries is not None and retries > policy.overrides.retries:
        retries = policy.overrides.retries
        notes.append(f"retries={retries}")
    if timeout is not None and timeout > policy.overrides.timeout:
        timeout = policy.overrides.timeout or None
        notes.append(f"timeout={timeout or 'none'}")
    if not notes:
        return wishes, ()
    return Wishes(timeout, retries, wishes.tags, wishes.session, wishes.fallbacks), tuple(notes)


def _belongs(model: Model, wishes: Wishes, fields: Mapping[str, Any]) -> bytes | None:
    """What keeps the request on one target: its session, or else how it begins."""
    if model.affinity == "none":
        return None
    session = wishes.session or fields.get("prompt_cache_key")
    if isinstance(session, str) and session:
        return session.encode()
    return beginning_of(fields) if model.affinity == "prefix" else None


def _has_image(part: Mapping[str, Any]) -> bool:
    """In the words of any dialect; in Anthropic's, results of tools hold parts of their own."""
    if part.get("type") == "tool_result" and isinstance(part.get("content"), list):
        return any(isinstance(inner, dict) and inner.get("type") == "image" for inner in part["content"])
    return part.get("type") in _IMAGES


def _first_image(fields: Mapping[str, Any]) -> str | None:
    """Where the first image part stands. A form may hold a text field of that name."""
    name = "messages" if "messages" in fields else "input"
    messages = fields.get(name)
    for at, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and _has_image(part):
                return f"{name}[{at}].content[{number}]"
    return None
