"""`headgate check --probe`: ask each upstream whether it is there, takes the key, and has the models."""

import asyncio

from headgate import app
from headgate.config.load import Loaded
from headgate.config.problems import Problem, did_you_mean
from headgate.core.errors import UpstreamError
from headgate.core.ports import Upstream
from headgate.upstreams.types import LocalAddress

_SECONDS = 15.0


async def problems_of(loaded: Loaded) -> list[Problem]:
    """What the upstreams say; all are asked at once. The local model runs in no other process yet, so it is not."""
    settings = loaded.settings
    asked = [number for number, one in enumerate(settings.upstreams) if one.provider != "local"]
    local = {
        one.name: LocalAddress("http://127.0.0.1:9", "http://127.0.0.1:9", "")
        for one in settings.upstreams
        if one.provider == "local"
    }
    async with app.gateway(app.Prepared(settings, (), b"probe", local)) as gate:
        upstreams = [gate.deps.upstreams[settings.upstreams[number].name] for number in asked]
        await asyncio.gather(*(_ask(loaded, *pair) for pair in zip(asked, upstreams, strict=True)))
    return loaded.draft.problems


async def _ask(loaded: Loaded, number: int, upstream: Upstream) -> None:
    """Note what is wrong with one upstream in the draft, where places are known."""
    draft, here = loaded.draft, ("upstreams", number)
    try:
        async with asyncio.timeout(_SECONDS):
            health = await upstream.check()
            listed = await upstream.models() if health.state == "up" and not health.detail else []
    except TimeoutError:
        draft.problem(
            here, f"'{upstream.name}' does not answer within {_SECONDS:.0f} seconds.", "Is the address right?"
        )
        return
    except UpstreamError as error:
        draft.problem(here, f"'{upstream.name}' cannot list its models: {error.message}", error.remedy)
        return
    if health.detail == "upstream_key_refused":
        draft.problem((*here, "api_key"), f"'{upstream.name}' refuses the key.", "Set a key that is valid there.")
    elif health.state == "down":
        draft.problem(here, f"'{upstream.name}' is not there ({health.detail}).", "Check its address and that it runs.")
    elif listed:
        _check_models(loaded, upstream.name, listed)


def _check_models(loaded: Loaded, name: str, listed: list[str]) -> None:
    for number, model in enumerate(loaded.settings.models):
        for at, target in enumerate(model.targets):
            if target.upstream == name and "*" not in target.model and target.model not in listed:
                remedy = did_you_mean(target.model, listed, "GET /models of the upstream shows what it has.")
                message = f"'{name}' does not list the model '{target.model}'."
                loaded.draft.problem(("models", number, "targets", at, "model"), message, remedy)
