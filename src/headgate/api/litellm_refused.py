"""Routes of LiteLLM's that are not had here. Its clients are told so, and what to do instead."""

from starlette.requests import Request
from starlette.responses import Response

from headgate.api.gate import Gate
from headgate.core.errors import RouteNotFound

_BUDGETS = "Budgets are not objects of their own here: give keys, users and teams `max_budget` and `budget_duration`."
_CUSTOMERS = "End users are users of a team: make them with /user/new, and name them with the header X-User-Id."
_ORGANIZATIONS = "There is no level above teams: give each team its own budget and models."
_PROJECTS = "There is no level below teams but users and keys."
_TAGS = "Tags are not made beforehand: put them on keys or requests; GET /spend/tags sums up by them."
_MODELS = "Models are those of the configuration file: change it, and start again."
_CREDENTIALS = "Keys of providers are those of the configuration: write `upstreams`, or `credential_list`."
_HEALTH = "GET /health/readiness tells how each upstream is, without calling a model."
_SPEND = "What was spent is what the ledger says; it cannot be set."
REMEDIES = {
    "/budget/{rest:path}": _BUDGETS,
    "/customer/{rest:path}": _CUSTOMERS,
    "/end_user/{rest:path}": _CUSTOMERS,
    "/organization/{rest:path}": _ORGANIZATIONS,
    "/project/{rest:path}": _PROJECTS,
    "/tag/{rest:path}": _TAGS,
    "/model/new": _MODELS,
    "/model/update": _MODELS,
    "/model/delete": _MODELS,
    "/credentials": _CREDENTIALS,
    "/credentials/{rest:path}": _CREDENTIALS,
    "/key/{rest:path}/reset_spend": _SPEND,
    "/global/spend/reset": _SPEND,
    "/global/spend/provider": "Ask GET /admin/usage?by=target.",
    "/provider/budgets": "GET /health/targets tells which targets rest, and why.",
    "/health/test_connection": _HEALTH,
    "/cache/ping": "Answers are not cached.",
    "/cache/flushall": "Answers are not cached.",
}
"""By the pattern of the path."""


class Refused:
    """The route of one such path."""

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy

    async def __call__(self, request: Request, gate: Gate) -> Response:
        """Say what to do instead."""
        raise RouteNotFound(f"There is no {request.url.path} here. {self._remedy}")
