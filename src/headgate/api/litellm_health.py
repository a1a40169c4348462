"""LiteLLM's `/health`, `/health/readiness` and `/health/services`. No model is called to find out."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.answers import json_answer
from headgate.api.gate import Gate
from headgate.api.health import Readiness
from headgate.api.models import usable
from headgate.core.errors import InvalidField, MissingField, Unauthenticated
from headgate.core.version import __version__
from headgate.routing.types import Target

_WELL = ("up", "unknown", "loading")


class LitellmHealth:
    """The routes, around the readiness that is asked of the upstreams."""

    def __init__(self, ready: Readiness) -> None:
        self._ready = ready

    async def health(self, request: Request, gate: Gate) -> Response:
        """That the process is alive; for holders of a key also every target, by the state of its upstream."""
        told: dict[str, Any] = {"status": "healthy", "version": __version__}
        if gate.keys.is_stale:
            await gate.keys.refresh()
        try:
            request.scope["who"] = gate.recognise(dict(request.scope["headers"]))
        except Unauthenticated:
            return json_answer(told)
        wanted = request.query_params.get("model")
        states = await self._ready.states(gate)
        models = [one for one in await usable(request, gate) if wanted in (None, one.name)]
        well, unwell = [], []
        for target in {id(one): one for model in models for one in model.targets}.values():
            health = states.get(target.upstream)
            if health is None or health.state in _WELL:
                well.append(_shown(target))
            else:
                unwell.append({**_shown(target), "error": health.detail or health.state})
        return json_answer(
            {
                **told,
                "healthy_endpoints": well,
                "unhealthy_endpoints": unwell,
                "healthy_count": len(well),
                "unhealthy_count": len(unwell),
            }
        )

    async def readiness(self, request: Request, gate: Gate) -> Response:
        """Ours, with what LiteLLM's clients look for besides."""
        status, told = await self._ready.told(gate)
        database = "Not connected" if gate.identity is None or gate.trouble() else "connected"
        further = {"db": database, "cache": None, "litellm_version": f"headgate/{__version__}"}
        return json_answer({**told, **further, "success_callbacks": []}, status)


def _shown(target: Target) -> dict[str, Any]:
    return {"model": f"{target.upstream}/{target.model}", "model_id": target.name}


async def services(request: Request, gate: Gate) -> Response:
    """None is called, so none can be well."""
    service = request.query_params.get("service")
    if not service:
        raise MissingField("The parameter 'service' is missing.", param="service")
    message = f"Calls are not sent to '{service}'. GET /metrics and the JSON log lines hold what there is."
    raise InvalidField(message, param="service")
