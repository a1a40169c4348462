"""The list of models and single ones."""

import json

import pytest

from tests.conftest import settings_for
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import Answer, Stub
from tests.requirements import covers


def offering(stub: Stub, *more: dict[str, object]) -> dict[str, object]:
    """Settings whose upstream offers all it lists, besides the model `small` and one with slashes."""
    settings = settings_for(stub)
    settings["upstreams"][0]["offer_all"] = True
    settings["upstreams"] += more
    settings["models"].append({"name": "org/deep/name", "targets": [{"upstream": "stub", "model": "x"}]})
    return settings


async def ids(gateway: Gateway, path: str = "/v1/models") -> list[str]:
    response = await gateway.http.get(path)
    assert response.status_code == 200
    return [model["id"] for model in response.json()["data"]]


@covers("4", "3")
async def test_configured_models_come_first_then_all_that_is_found_once_each(stub: Stub) -> None:
    async with running_gateway(offering(stub)) as gateway:
        expected = ["small", "org/deep/name", "stub/stub-large", "stub/stub-small"]
        assert await ids(gateway) == expected
        assert await ids(gateway, "/models") == expected
        assert [call.path for call in stub.requests] == ["/v1/models"], "asked once, then remembered"


@covers("4")
async def test_the_list_has_the_form_that_clients_read(gateway: Gateway) -> None:
    answer = (await gateway.http.get("/v1/models")).json()
    (entry,) = answer["data"]
    assert (answer["object"], answer["has_more"], answer["first_id"]) == ("list", False, "small")
    assert (entry["object"], entry["owned_by"], entry["type"]) == ("model", "headgate", "model")
    assert isinstance(entry["created"], int)


@covers("4")
@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=500),
        Answer(status=401),
        Answer(body=b"<html>"),
        Answer(body=b'{"data":5}'),
        Answer(body=b'{"data":[{}]}'),
        Answer(body=b"[]"),
        Answer(raw=b"nonsense\r\n\r\n"),
    ],
)
async def test_an_upstream_that_cannot_list_hides_nothing_else(stub: Stub, answer: Answer) -> None:
    stub.otherwise = lambda request: answer
    async with running_gateway(offering(stub)) as gateway:
        assert await ids(gateway) == ["small", "org/deep/name"]


@covers("4")
async def test_the_list_is_served_while_one_upstream_is_down(stub: Stub) -> None:
    async with Stub() as other:
        gone = {"name": "gone", "provider": "openai_compatible", "base_url": other.url, "offer_all": True}
    async with running_gateway(offering(stub, gone)) as gateway:
        assert await ids(gateway) == ["small", "org/deep/name", "stub/stub-large", "stub/stub-small"]


@covers("5")
@pytest.mark.parametrize("prefix", ["/v1", ""])
@pytest.mark.parametrize("name", ["small", "org/deep/name", "org%2Fdeep%2Fname", "stub/stub-large", "stub-large"])
async def test_a_model_is_found_by_its_name(stub: Stub, prefix: str, name: str) -> None:
    async with running_gateway(offering(stub)) as gateway:
        response = await gateway.http.get(f"{prefix}/models/{name}")
    assert response.status_code == 200
    assert response.json()["id"] == name.replace("%2F", "/")


@covers("5", "18")
@pytest.mark.parametrize("name", ["nope", "org/deep", "small/x", "SMALL", "", "é", "%00", "a" * 2000])
async def test_an_unknown_model_is_a_404_envelope(stub: Stub, name: str) -> None:
    async with running_gateway(offering(stub)) as gateway:
        response = await gateway.http.get(f"/v1/models/{name}")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert error["request_id"] == response.headers["x-request-id"]


@covers("4", "25")
@pytest.mark.parametrize("name", ["stub/stub-large", "stub-large", "stub/not-listed"])
async def test_found_models_are_called_by_either_name(stub: Stub, name: str) -> None:
    async with running_gateway(offering(stub)) as gateway:
        response = await gateway.chat(model=name)
    assert response.status_code == 200
    assert stub.last.json["model"] == name.removeprefix("stub/")
    assert response.json()["model"] == name
    assert len(stub.calls) == 1


@covers("fuzz", "metrics")
@pytest.mark.parametrize("model", ["stub/\u00e9", "stub/\U0001f600 x", 'stub/odd"}', "stub/" + "x" * 500])
async def test_an_odd_name_is_relayed_and_is_no_label(stub: Stub, model: str) -> None:
    async with running_gateway(offering(stub)) as gateway:
        whole = await gateway.chat(model=model)
        stream = await gateway.chat(model=model, stream=True)
        metrics = (await gateway.http.get("/metrics")).text
    assert (whole.status_code, stream.status_code) == (200, 200)
    assert stub.last.json["model"] == model.removeprefix("stub/")
    assert 'target="stub/*"' in metrics
    assert model.removeprefix("stub/") not in metrics


@covers("fuzz", "20")
@pytest.mark.parametrize("model", ["stub/a\r\nb: c", "stub/\x00", "stub/\t", "stub/" + "x" * 10_000, "stub/\x7f"])
async def test_a_name_that_no_header_can_hold_is_refused(stub: Stub, model: str) -> None:
    async with running_gateway(offering(stub)) as gateway:
        response = await gateway.chat(model=model)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "model")
    assert not stub.calls


@covers("18")
async def test_without_offers_an_unknown_model_is_404_without_asking_anyone(gateway: Gateway, stub: Stub) -> None:
    for name in ("nope", "stub/stub-small", "stub-small"):
        response = await gateway.chat(model=name)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert not stub.requests


@covers("4")
async def test_ids_with_the_prefix_models_lose_it(stub: Stub) -> None:
    listed = {"data": [{"id": "models/gemini-x"}, {"id": "b"}, {"id": "b"}]}
    stub.otherwise = lambda request: Answer(body=json.dumps(listed).encode())
    async with running_gateway(offering(stub)) as gateway:
        assert (await ids(gateway))[2:] == ["stub/b", "stub/gemini-x"]
