"""Every route needs a key unless it is listed here as public."""

import pytest

from headgate.api import ollama
from headgate.api.application import Application
from headgate.api.litellm_refused import REMEDIES
from tests.conftest import settings_for
from tests.harness.gateway import TOKEN, Gateway, running_gateway
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("routes", "109")

PUBLIC = {
    "/",
    "/api/hello",
    "/healthz",
    "/health",
    "/health/liveness",
    "/health/liveliness",
    "/readyz",
    "/health/readiness",
    "/errors",
}
WITH_KEY = {
    "/admin/audit",
    "/admin/audit/verify",
    "/v1/runs",
    "/v1/runs/{id:path}",
    "/v1/runs/{id:path}/cancel",
    "/admin/usage",
    "/admin/usage/export",
    "/admin/usage/reconcile",
    "/admin/budgets",
    "/admin/reload",
    "/admin/template/eval",
    "/a1/agents",
    "/a1/agents/{name:path}",
    "/a1/agents/{name:path}/chat",
    "/v1/tenant/config",
    "/v1/tenant/config/{key}",
    "/admin/mcp/servers",
    "/admin/mcp/servers/{server}",
    "/admin/mcp/servers/{server}/tools",
    "/admin/mcp/servers/{server}/tools/{tool:path}",
    "/admin/mcp/tools",
    "/spend/logs",
    "/spend/keys",
    "/spend/users",
    "/spend/tags",
    "/spend/calculate",
    "/health/targets",
    "/metrics",
    "/v1/models",
    "/models",
    "/v1/models/{model:path}",
    "/models/{model:path}",
    "/v1/info",
    "/info",
    "/v1/tools",
    "/v1/tools/execute",
    "/tools",
    "/tools/execute",
    "/v1/model/info",
    "/model/info",
    "/v2/model/info",
    "/model_group/info",
    "/admin/keys",
    "/admin/keys/{id}",
    "/admin/keys/{id}/rotate",
    "/admin/keys/{id}/block",
    "/admin/keys/{id}/unblock",
    "/admin/keys/{id}/revoke",
    "/admin/tenants",
    "/admin/tenants/{id}",
    "/admin/tenants/{id}/block",
    "/admin/tenants/{id}/unblock",
    "/key/generate",
    "/key/info",
    "/key/update",
    "/key/delete",
    "/key/block",
    "/key/unblock",
    "/key/regenerate",
    "/key/{key}/regenerate",
    "/key/list",
    "/v2/key/info",
    *(f"/user/{verb}" for verb in ("new", "info", "update", "delete", "list", "daily/activity")),
    "/v2/user/info",
    *(f"/team/{verb}" for verb in ("new", "info", "update", "delete", "list", "available", "block", "unblock")),
    *(f"/team/member_{verb}" for verb in ("add", "update", "delete")),
    "/v2/team/list",
    "/team/daily/activity",
    "/tag/daily/activity",
    *(f"/global/spend/{what}" for what in ("logs", "keys", "teams", "models", "tags", "end_users", "report")),
    *("/global/spend", "/global/all_end_users", "/global/activity", "/global/activity/model"),
    "/health/services",
    *REMEDIES,
    *ollama.REMEDIES,
    *(f"/api/{verb}" for verb in ("version", "tags", "ps", "show", "chat", "generate", "embed", "embeddings")),
}
_INDEX = "/a1/rag/indices/{id}"
KNOWLEDGE = {
    *("/a1/rag/indices", _INDEX, f"{_INDEX}/reindex", f"{_INDEX}/query", "/a1/rag/query"),
    *(f"{_INDEX}/{path}" for path in ("documents", "documents:add", "documents/{document}")),
}
FREE_OF_SCOPES = {path for path in WITH_KEY if not path.startswith(("/admin/", "/v1/tenant/"))} - {
    f"/key/{act}"
    for act in ("generate", "update", "delete", "block", "unblock", "regenerate", "{key}/regenerate", "list")
}
FREE_OF_SCOPES -= {path for path in WITH_KEY if "/tools" in path}
FREE_OF_SCOPES -= {"/v2/key/info", "/v2/team/list", "/user/new", "/user/update", "/user/delete", "/user/list"}
FREE_OF_SCOPES -= {f"/team/{verb}" for verb in ("new", "info", "update", "delete", "list", "block", "unblock")}
FREE_OF_SCOPES -= {f"/team/member_{verb}" for verb in ("add", "update", "delete")}
RESPONSES_PATHS = {
    prefix + path
    for prefix in ("/v1", "")
    for path in ("/responses/{id}", "/responses/{id}/cancel", "/responses/{id}/input_items")
}
COUNTING = {f"{prefix}/messages/count_tokens" for prefix in ("/v1", "", "/anthropic/v1")}
WITH_KEY |= RESPONSES_PATHS | COUNTING | KNOWLEDGE
FREE_OF_SCOPES |= RESPONSES_PATHS | COUNTING
_KEPT = ("", "/fork", "/rewind", "/lineage", "/diff", "/compact")
_SESSIONS = "/a1/agents/{name:path}/sessions"
OWN_CONVERSATIONS = {
    *("/a1/actions", "/a1/actions/{id}", "/v1/memory", "/v1/memory/{id}"),
    *("/c1/chat", "/c1/conversations", "/c1/conversations/{id}/items", "/c1/conversations/{id}/compaction"),
    *(f"/c1/conversations/{{id}}{rest}" for rest in _KEPT),
    *(_SESSIONS, f"{_SESSIONS}/{{id}}/messages"),
    *(f"{_SESSIONS}/{{id}}{rest}" for rest in _KEPT),
    *(
        f"{every}{rest}"
        for every in ("/v1/conversations", "/conversations")
        for rest in ("", "/{id}", "/{id}/items", "/{id}/items/{item}")
    ),
    "/v1/runs/{id}/events",
}
WITH_KEY |= OWN_CONVERSATIONS | {"/admin/data/{tenant}", "/admin/data/{tenant}/{user:path}"}
FREE_OF_SCOPES |= OWN_CONVERSATIONS
SURFACE_PATHS = {
    "/messages",
    "/responses",
    "/responses/compact",
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/moderations",
    "/rerank",
    "/audio/speech",
    "/audio/transcriptions",
    "/audio/translations",
    "/images/generations",
    "/images/edits",
    "/images/variations",
}


@pytest.fixture
def application(gateway: Gateway) -> Application:
    return Application(gateway.gate)


def test_the_routes_are_these_and_no_others(application: Application) -> None:
    assert {route.path for route in application.controls} == PUBLIC | WITH_KEY
    assert set(application.model_paths) == {
        "/anthropic/v1/messages",
        *(prefix + path for prefix in ("/v1", "") for path in SURFACE_PATHS),
    }


async def test_every_route_that_is_not_public_refuses_a_caller_without_a_key(
    gateway: Gateway, application: Application
) -> None:
    del gateway.http.headers["authorization"]
    for route in application.controls:
        for method in (*route.methods, *(["HEAD"] if "GET" in route.methods else [])):
            response = await gateway.http.request(method, route.path.replace("{model:path}", "small"))
            assert (response.status_code == 401) is (route.path not in PUBLIC), (method, route.path)
            assert response.status_code in (200, 401)


@covers("116")
async def test_every_route_for_operators_names_the_scope_that_a_plain_key_lacks(
    gateway: Gateway, application: Application
) -> None:
    gateway.http.headers["authorization"] = f"Bearer {TOKEN}"
    for route in application.controls:
        assert bool(route.needs) is (route.path in WITH_KEY - FREE_OF_SCOPES), route.path
        if route.needs:
            response = await gateway.http.request(route.methods[0], route.path, content=b"no JSON at all")
            assert response.status_code == 403, route.path
            assert f"'{route.needs}'" in response.json()["error"]["message"]


async def test_every_model_path_refuses_a_caller_without_a_key(
    gateway: Gateway, application: Application, stub: Stub
) -> None:
    del gateway.http.headers["authorization"]
    for path in application.model_paths:
        response = await gateway.http.post(path, json={"model": "small", "messages": []})
        assert response.status_code == 401, path
    assert not stub.calls


@pytest.mark.parametrize("spelling", ["//metrics", "/v1//models", "/metrics/", "/%6detrics", "/METRICS", "/./metrics"])
async def test_no_spelling_of_a_path_goes_round_the_key(gateway: Gateway, spelling: str) -> None:
    del gateway.http.headers["authorization"]
    response = await gateway.http.get(gateway.url + spelling)
    assert response.status_code in (401, 404)


async def test_metrics_are_public_only_when_set_so(stub: Stub) -> None:
    async with running_gateway(settings_for(stub, server={"metrics_public": True})) as gateway:
        del gateway.http.headers["authorization"]
        assert (await gateway.http.get("/metrics")).status_code == 200
        assert (await gateway.http.get("/v1/models")).status_code == 401


@covers("18")
async def test_an_unknown_path_is_404_and_a_wrong_method_405_with_those_allowed(gateway: Gateway) -> None:
    for path in ("/nope", "/v1", "/v1/nope", "/v1/chat/completions/", "/v1/chat", "/favicon.ico", "/%ff", "/é"):
        response = await gateway.http.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "route_not_found"), path
    for method, path, allowed in (
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/embeddings", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("PUT", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/readyz", "GET, HEAD"),
        ("PATCH", "/v1/models/small", "GET, HEAD"),
    ):
        response = await gateway.http.request(method, path)
        assert (response.status_code, response.headers["allow"]) == (405, allowed), (method, path)
        assert response.json()["error"]["code"] == "method_not_allowed"


async def test_the_front_door_leads_to_places_that_are_there(gateway: Gateway) -> None:
    doors = (await gateway.http.get("/")).json()
    assert doors["name"] == "headgate"
    for name in ("models", "errors", "health", "readiness", "metrics"):
        assert (await gateway.http.get(doors[name])).status_code == 200, name
    assert (await gateway.http.head("/")).status_code == 200
