"""The routes that say what was used and what it cost: ours and LiteLLM's."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router

from headgate import app
from headgate.api.admin.usage import UsageRoutes
from headgate.api.control import Access, ControlRoute
from headgate.api.route import Handler, Route
from headgate.api.spend import SpendRoutes
from headgate.config.tree import Settings
from headgate.core.errors import InvalidAuthorization
from headgate.core.money import Price
from headgate.core.principal import Principal
from headgate.core.tokens import Tokens
from headgate.core.wishes import Wishes
from headgate.usage.entries import entries_of
from headgate.usage.reports import Reports
from headgate.usage.store import AttemptStore
from headgate.usage.types import UsageSettings
from tests.requirements import covers
from tests.usage.databases import ledger_database
from tests.usage.runs import attempt, price_of, run_of

pytestmark = covers("113", "134")
NOON = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)
READER = frozenset(("usage:read",))
HOLDERS = {
    "master": Principal("master", is_admin=True),
    "of-a": Principal("ka", tenant="a", scopes=READER),
    "of-all": Principal("kz", tenant="z", scopes=frozenset(("usage:read:*",))),
    "plain": Principal("kb", tenant="b"),
}


class Ring:
    """Keys by name."""

    is_stale = False

    def recognise(self, key: bytes | None) -> Principal:
        who = HOLDERS.get((key or b"").decode())
        if who is None:
            raise InvalidAuthorization("The key is not known here.")
        return who


def list_price(upstream: str, model: str, prompt: int) -> Price | None:
    return Price(2_000_000_000, 4_000_000_000) if model == "listed" else None


def rows(reports: Reports | None) -> list[Route]:
    usage, spend = UsageRoutes(reports), SpendRoutes(reports, list_price)
    return [
        Route("/admin/usage", usage.totals, needs="usage:read"),
        Route("/admin/usage/export", usage.export, needs="usage:read"),
        Route("/spend/logs", spend.logs),
        Route("/spend/keys", spend.keys),
        Route("/spend/users", spend.users),
        Route("/spend/tags", spend.tags),
        Route("/spend/calculate", spend.calculate, ("POST",)),
    ]


@pytest_asyncio.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The routes over a ledger of three attempts: 1 USD by `ka` of tenant a, 2 and 4 USD by `kb` of tenant b."""
    tree = Settings.model_validate(
        {
            "upstreams": [{"name": "u", "provider": "mock"}],
            "models": [
                {"name": name, "targets": [{"upstream": "u", "model": name}]} for name in ("listed", "unlisted")
            ],
        }
    )
    async with (
        ledger_database(tmp_path) as (_, store),
        app.gateway(app.Prepared(tree, (), b"pepper", {})) as gate,
    ):
        await fill(store)
        gate.keys = Ring()  # type: ignore[assignment]
        reports = Reports(store, UsageSettings(markup=Decimal(2), eur_per_usd=Decimal("0.5")))
        routes = [
            StarletteRoute(
                row.path,
                ControlRoute(cast(Handler, row.handler), gate, row.path, Access(needs=row.needs)),
                methods=list(row.methods),
            )
            for row in rows(reports)
        ]
        transport = httpx.ASGITransport(app=Router(routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            yield client


async def fill(store: AttemptStore) -> None:
    for days, cost, key, tenant, tag in ((0, 1, "ka", "a", "red"), (0, 2, "kb", "b", "red"), (1, 4, "kb", "b", "blue")):
        run = run_of(
            [attempt(tokens=Tokens(10, 5, cached=4), price=Price(request=cost * 10**9), first_token=101.2)],
            id=f"req_{cost}",
            who=Principal(key, tenant=tenant, user="ann"),
            wishes=Wishes(tags=frozenset((tag,))),
        )
        await store.add(entries_of(run, NOON + days * 86_400_000, price_of))


async def get(http: httpx.AsyncClient, path: str, holder: str = "master", **asked: str) -> Any:
    answer = await http.get(path, params=asked, headers={"authorization": f"Bearer {holder}"})
    return answer.json() if answer.status_code == 200 else (answer.status_code, answer.json()["error"]["code"])


async def test_sums_by_a_dimension_with_markup_and_in_eur(http: httpx.AsyncClient) -> None:
    report = await get(http, "/admin/usage", by="tenant")
    assert [(row["name"], row["cost_usd"], row["billed_usd"], row["billed_eur"]) for row in report["rows"]] == [
        ("a", "1.000000000", "2.000000000", "1.000000000"),
        ("b", "6.000000000", "12.000000000", "6.000000000"),
    ]
    assert (report["total"]["attempts"], report["total"]["prompt"], report["total"]["cached"]) == (3, 30, 12)
    assert (report["markup"], report["eur_per_usd"]) == ("2", "0.5")


async def test_sums_are_filtered_and_bounded_in_time(http: httpx.AsyncClient) -> None:
    report = await get(http, "/admin/usage", **{"by": "day", "key": "kb", "from": "2026-01-31", "to": "2026-01-31"})
    assert [(row["name"], row["cost_nano_usd"]) for row in report["rows"]] == [("2026-01-31", 2 * 10**9)]


@pytest.mark.parametrize("asked", [{"by": "colour"}, {"from": "yesterday"}, {"to": "2026-02-30"}, {"to": "9999-12-31"}])
async def test_a_wrong_question_is_told(http: httpx.AsyncClient, asked: dict[str, str]) -> None:
    assert await get(http, "/admin/usage", **asked) == (400, "invalid_field")


@pytest.mark.parametrize("path", ["/admin/usage", "/admin/usage/export"])
async def test_a_key_sees_the_tenants_that_its_scope_is_for(http: httpx.AsyncClient, path: str) -> None:
    assert await get(http, path, "plain") == (403, "forbidden")
    assert await get(http, path, "of-a", tenant="b") == (403, "forbidden")
    assert (await http.get(path)).status_code == 401


@pytest.mark.parametrize(("key", "tenants"), [("of-a", ["a"]), ("of-all", ["a", "b"]), ("master", ["a", "b"])])
async def test_what_others_used_is_not_in_the_sums(http: httpx.AsyncClient, key: str, tenants: list[str]) -> None:
    report = await get(http, "/admin/usage", key, by="tenant")
    assert [row["name"] for row in report["rows"]] == tenants
    assert report["total"]["attempts"] == (1 if tenants == ["a"] else 3)
    exported = await get(http, "/admin/usage/export", key, format="json")
    assert sorted({one["tenant"] for one in exported}) == tenants


async def test_an_export_is_a_file(http: httpx.AsyncClient) -> None:
    answer = await http.get("/admin/usage/export", headers={"authorization": "Bearer master"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    assert len(answer.text.splitlines()) == 4
    assert await get(http, "/admin/usage/export", format="xls") == (400, "invalid_field")


async def test_logs_are_rows_in_litellms_shape(http: httpx.AsyncClient) -> None:
    logs = await get(http, "/spend/logs", request_id="req_2")
    (row,) = logs
    assert row["request_id"] == "req_2"
    assert (row["api_key"], row["team_id"], row["user"], row["model_group"]) == ("kb", "b", "ann", "small")
    assert (row["spend"], row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (4.0, 10, 5, 15)
    assert (row["call_type"], row["status"], row["request_tags"]) == ("acompletion", "success", ["red"])
    assert row["startTime"] < row["completionStartTime"] < row["endTime"]


async def test_logs_of_a_span_are_sums_by_day_unless_asked_otherwise(http: httpx.AsyncClient) -> None:
    span = {"start_date": "2026-01-31", "end_date": "2026-02-01"}
    days = await get(http, "/spend/logs", **span)
    assert [(day["startTime"], day["spend"], day["models"]) for day in days] == [
        ("2026-01-31", 6.0, {"small": 6.0}),
        ("2026-02-01", 8.0, {"small": 8.0}),
    ]
    assert (days[0]["ka"], days[0]["kb"]) == (2.0, 4.0)
    logs = await get(http, "/spend/logs", **span, summarize="false")
    assert logs[0]["request_id"] == "req_4"
    assert {row["request_id"] for row in logs} == {"req_1", "req_2", "req_4"}


async def test_a_plain_key_sees_its_own_spend_in_litellms_routes(http: httpx.AsyncClient) -> None:
    assert {row["api_key"] for row in await get(http, "/spend/logs", "plain", api_key="ka")} == {"kb"}
    assert await get(http, "/spend/keys", "plain") == [{"token": "kb", "key_name": "kb", "spend": 12.0}]
    assert {row["api_key"] for row in await get(http, "/spend/logs", "of-a")} == {"ka"}


async def test_spend_by_key_user_and_tag_in_litellms_shapes(http: httpx.AsyncClient) -> None:
    assert [(row["token"], row["spend"]) for row in await get(http, "/spend/keys")] == [("kb", 12.0), ("ka", 2.0)]
    assert [(row["user_id"], row["spend"]) for row in await get(http, "/spend/users")] == [("ann", 12.0), ("ann", 2.0)]
    assert await get(http, "/spend/tags") == [
        {"individual_request_tag": "blue", "log_count": 1, "total_spend": 8.0},
        {"individual_request_tag": "red", "log_count": 2, "total_spend": 6.0},
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"completion_response": {"model": "listed", "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}},
            0.008,
        ),
        ({"completion_response": {"model": "unlisted", "usage": {"prompt_tokens": 1000}}}, None),
        ({"model": "listed", "messages": [{"role": "user", "content": "x" * 3984}]}, 0.004),
        ({"model": "nowhere", "messages": []}, (404, "model_not_found")),
        ({"model": "listed"}, (400, "missing_field")),
        ({"completion_response": {"model": "listed"}}, (400, "missing_field")),
        ({"messages": []}, (400, "invalid_field")),
        ([], (400, "invalid_json")),
    ],
)
async def test_a_cost_is_calculated_before_or_after_a_call(http: httpx.AsyncClient, asked: Any, told: Any) -> None:
    answer = await http.post("/spend/calculate", json=asked, headers={"authorization": "Bearer plain"})
    if isinstance(told, tuple):
        assert (answer.status_code, answer.json()["error"]["code"]) == told
    else:
        assert answer.json() == {"cost": told}


@pytest.mark.parametrize("row", [row for row in rows(None) if row.methods == ("GET",)], ids=lambda row: row.path)
async def test_without_a_database_the_routes_say_so(row: Route) -> None:
    async with app.gateway(app.Prepared(Settings.model_validate({}), (), b"pepper", {})) as gate:
        gate.keys = Ring()  # type: ignore[assignment]
        route = ControlRoute(cast(Handler, row.handler), gate, row.path, Access(needs=row.needs))
        transport = httpx.ASGITransport(app=route)
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            assert (await get(client, row.path))[0] == 503
