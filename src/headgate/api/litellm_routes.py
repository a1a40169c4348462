"""The URLs of LiteLLM's administration, in its shapes and with the types of its errors."""

from headgate.api import litellm_health, litellm_keys, litellm_teams, litellm_users, model_info
from headgate.api.gate import Gate
from headgate.api.litellm_refused import REMEDIES, Refused
from headgate.api.litellm_reports import LitellmReports
from headgate.api.route import Route
from headgate.api.spend import SpendRoutes


def litellm_routes(gate: Gate) -> list[Route]:
    return [
        *_model_routes(),
        *_key_routes(),
        *_user_routes(),
        *_team_routes(),
        Route("/health/services", litellm_health.services, logged=True, litellm=True),
        *_spend_routes(SpendRoutes(gate.reports, gate.list_price)),
        *_report_routes(LitellmReports(gate.reports)),
        *_refused_routes(),
    ]


def _model_routes() -> list[Route]:
    return [
        Route("/v1/model/info", model_info.list_deployments, logged=True),
        Route("/model/info", model_info.list_deployments, logged=True),
        Route("/v2/model/info", model_info.page_deployments, logged=True),
        Route("/model_group/info", model_info.list_groups, logged=True),
    ]


def _key_routes() -> list[Route]:
    read, write = "keys:read", "keys:write"
    return [
        Route("/key/generate", litellm_keys.generate, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/info", litellm_keys.info, logged=True, litellm=True),
        Route("/v2/key/info", litellm_keys.infos, ("POST",), logged=True, needs=read, litellm=True),
        Route("/key/update", litellm_keys.update, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/delete", litellm_keys.delete, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/block", litellm_keys.block, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/unblock", litellm_keys.unblock, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/regenerate", litellm_keys.regenerate, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/{key}/regenerate", litellm_keys.regenerate, ("POST",), logged=True, needs=write, litellm=True),
        Route("/key/list", litellm_keys.list_all, logged=True, needs=read, litellm=True),
    ]


def _user_routes() -> list[Route]:
    """Who asks for itself needs no scope to read."""
    read, write = "users:read", "users:write"
    return [
        Route("/user/new", litellm_users.new, ("POST",), logged=True, needs=write, litellm=True),
        Route("/user/info", litellm_users.info, logged=True, litellm=True),
        Route("/v2/user/info", litellm_users.info_alone, logged=True, litellm=True),
        Route("/user/update", litellm_users.update, ("POST",), logged=True, needs=write, litellm=True),
        Route("/user/delete", litellm_users.delete, ("POST",), logged=True, needs=write, litellm=True),
        Route("/user/list", litellm_users.list_all, logged=True, needs=read, litellm=True),
    ]


def _team_routes() -> list[Route]:
    read, write, users = "tenants:read", "tenants:write", "users:write"
    return [
        Route("/team/new", litellm_teams.new, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/info", litellm_teams.info, logged=True, needs=read, litellm=True),
        Route("/team/update", litellm_teams.update, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/delete", litellm_teams.delete, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/list", litellm_teams.list_all, logged=True, needs=read, litellm=True),
        Route("/v2/team/list", litellm_teams.page, logged=True, needs=read, litellm=True),
        Route("/team/available", litellm_teams.available, logged=True, litellm=True),
        Route("/team/block", litellm_teams.block, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/unblock", litellm_teams.unblock, ("POST",), logged=True, needs=write, litellm=True),
        Route("/team/member_add", litellm_teams.member_add, ("POST",), logged=True, needs=users, litellm=True),
        Route("/team/member_update", litellm_teams.member_update, ("POST",), logged=True, needs=users, litellm=True),
        Route("/team/member_delete", litellm_teams.member_delete, ("POST",), logged=True, needs=users, litellm=True),
    ]


def _spend_routes(spend: SpendRoutes) -> list[Route]:
    """They need no scope: a key without `usage:read` sees what it spent itself."""
    return [
        Route("/spend/logs", spend.logs, logged=True, litellm=True),
        Route("/spend/keys", spend.keys, logged=True, litellm=True),
        Route("/spend/users", spend.users, logged=True, litellm=True),
        Route("/spend/tags", spend.tags, logged=True, litellm=True),
        Route("/spend/calculate", spend.calculate, ("POST",), logged=True, litellm=True),
    ]


def _report_routes(reports: LitellmReports) -> list[Route]:
    """A key without the scope `usage:read` sees what it spent itself."""
    return [
        Route("/global/spend", reports.spend, logged=True, litellm=True),
        Route("/global/spend/logs", reports.by_day, logged=True, litellm=True),
        Route("/global/spend/keys", reports.keys, logged=True, litellm=True),
        Route("/global/spend/teams", reports.teams, logged=True, litellm=True),
        Route("/global/spend/models", reports.models, logged=True, litellm=True),
        Route("/global/spend/tags", reports.tags, logged=True, litellm=True),
        Route("/global/spend/end_users", reports.end_users, ("POST",), logged=True, litellm=True),
        Route("/global/spend/report", reports.report, logged=True, litellm=True),
        Route("/global/all_end_users", reports.names_of_users, logged=True, litellm=True),
        Route("/global/activity", reports.activity, logged=True, litellm=True),
        Route("/global/activity/model", reports.activity_by_model, logged=True, litellm=True),
        Route("/user/daily/activity", reports.daily_of_users, logged=True, litellm=True),
        Route("/team/daily/activity", reports.daily_of_teams, logged=True, litellm=True),
        Route("/tag/daily/activity", reports.daily_of_tags, logged=True, litellm=True),
    ]


def _refused_routes() -> list[Route]:
    """What LiteLLM's clients may ask and is not had: told with what to do instead."""
    return [
        Route(path, Refused(remedy), ("GET", "POST", "PUT", "PATCH", "DELETE"), logged=True, litellm=True)
        for path, remedy in REMEDIES.items()
    ]
