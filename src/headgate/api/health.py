"""Liveness, readiness, metrics, the error catalogue and the front door."""

import asyncio
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from headgate.api.answers import json_answer
from headgate.api.errors import listing
from headgate.api.gate import Gate
from headgate.core.ports import Health
from headgate.core.version import __version__
from headgate.routing.health import State

_FRESH_SECONDS = 5.0


class Readiness:
    """Asks the upstreams how they are, at most once in five seconds however often it is asked itself."""

    def __init__(self) -> None:
        self._seen: dict[str, Health] = {}
        self._fresh_until = 0.0
        self._lock = asyncio.Lock()

    async def __call__(self, request: Request, gate: Gate) -> Response:
        status, told = await self.told(gate)
        return json_answer(told, status)

    async def states(self, gate: Gate) -> dict[str, Health]:
        """How each upstream is, by its name."""
        async with self._lock:
            if self._fresh_until <= monotonic():
                checks = (upstream.check() for upstream in gate.deps.upstreams.values())
                self._seen = dict(zip(gate.deps.upstreams, await asyncio.gather(*checks), strict=True))
                self._fresh_until = monotonic() + (_FRESH_SECONDS if self._all_up() else 1.0)
        return self._seen

    async def told(self, gate: Gate) -> tuple[int, dict[str, Any]]:
        """The status of the answer and what it holds."""
        seen = await self.states(gate)
        status, advice = self._status(gate)
        return 200 if status in ("ready", "degraded") else 503, {
            "status": status,
            "version": __version__,
            "upstreams": {name: _shown(health) for name, health in seen.items()},
            **({"mcp": servers} if (servers := _mcp(gate)) else {}),
            **({"ledger": trouble} if (trouble := gate.trouble()) else {}),
            **({"advice": advice} if advice else {}),
        }

    def _all_up(self) -> bool:
        return all(health.state == "up" for health in self._seen.values())

    def _status(self, gate: Gate) -> tuple[str, str]:
        """What is down makes us degraded, not unready: taking this process away would mend nothing."""
        if gate.draining:
            return "draining", ""
        states = {health.state for health in self._seen.values()}
        if not states:
            return (
                "not_ready",
                "No upstream is configured. Set a provider's key, such as OPENAI_API_KEY, or write headgate.yaml.",
            )
        if "loading" in states and "up" not in states:
            return "loading", "The local model is loading."
        is_well = states <= {"up", "unknown"} and not gate.trouble() and "down" not in _mcp(gate).values()
        return ("ready" if is_well else "degraded", "")


def _mcp(gate: Gate) -> dict[str, str]:
    """The state of each MCP server: it is asked by those who use it, not by us."""
    return {one.name: one.state for one in gate.mcp.statuses()} if gate.mcp is not None else {}


def _shown(health: Health) -> dict[str, Any]:
    return {
        "state": health.state,
        "latency_ms": health.latency_ms,
        **({"detail": health.detail} if health.detail else {}),
    }


async def healthz(request: Request, gate: Gate) -> Response:
    """The process is alive and its event loop turns."""
    return json_answer({"status": "healthy", "version": __version__})


async def alive(request: Request, gate: Gate) -> Response:
    """LiteLLM's form of liveness: one JSON string."""
    return json_answer("I'm alive!")


async def targets(request: Request, gate: Gate) -> Response:
    """How every target that was called has been doing in this worker: load, latency, and rests with their reason."""
    book = gate.deps.book
    now = book.clock()
    return json_answer({"object": "list", "data": [_target(key, state, now) for key, state in book.all().items()]})


def _target(key: str, state: State, now: float) -> dict[str, Any]:
    return {
        "target": key,
        "in_flight": state.in_flight,
        "latency_ms": round(state.latency * 1000, 1) if state.latency else None,
        "surfaces": {
            name: {
                "state": "resting" if fitness.rests and fitness.rests_until > now else "failing",
                "failures_in_a_row": fitness.failures,
                "resting_for": round(max(0.0, fitness.rests_until - now), 1),
                "last_error": fitness.why,
            }
            for name, fitness in state.surfaces.items()
            if fitness.failures
        },
    }


async def metrics(request: Request, gate: Gate) -> Response:
    """Prometheus text, summed over all workers of this machine."""
    text, content_type = await gate.exchange.exposed(await gate.measure())
    return Response(text, media_type=content_type)


async def errors(request: Request, gate: Gate) -> Response:
    """Every error code with its status, meaning and remedy."""
    return json_answer(listing())


async def hello(request: Request, gate: Gate) -> Response:
    """Some clients knock here, without a key, to see whether anybody is there."""
    return PlainTextResponse("")


async def front_door(request: Request, gate: Gate) -> Response:
    """Where things are."""
    if request.method == "HEAD":
        return PlainTextResponse("")
    return json_answer(
        {
            "name": "headgate",
            "version": __version__,
            "api": "/v1",
            "models": "/v1/models",
            "errors": "/errors",
            "health": "/healthz",
            "readiness": "/readyz",
            "metrics": "/metrics",
        }
    )
