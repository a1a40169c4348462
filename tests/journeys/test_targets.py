"""Models with several targets, as a caller sees them: who answers when one fails, rests, is full, or is not meant."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.events import ends_well
from tests.harness.gateway import Gateway, running_gateway
from tests.harness.stub import BOUND, Answer, Stub, stream, stream_pieces
from tests.requirements import covers

both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


@pytest_asyncio.fixture
async def second() -> AsyncIterator[Stub]:
    async with Stub() as running:
        yield running


@asynccontextmanager
async def gate(stub: Stub, second: Stub, models: list[dict[str, Any]], **more: Any) -> AsyncIterator[Gateway]:
    """Two upstreams, `a` at the first stub and `b` at the second."""
    upstreams = [
        {"name": name, "provider": "openai_compatible", "base_url": one.url}
        for name, one in (("a", stub), ("b", second))
    ]
    async with running_gateway({"upstreams": upstreams, "models": models, **more}) as gateway:
        yield gateway


def model(name: str, *targets: str, **more: Any) -> dict[str, Any]:
    """`model("m", "a/x", "b/y")`"""
    listed = [dict(zip(("upstream", "model"), target.split("/"), strict=True)) for target in targets]
    return {"name": name, "targets": listed, "retries": 0, **more}


def failing(status: int = 503, code: str | None = None, **headers: str) -> Answer:
    told = f'{{"error":{{"message":"no","code":"{code}"}}}}' if code else '{"error":{"message":"no"}}'
    return Answer(status=status, body=told.encode(), headers=headers)


# --- failing well


@covers("164")
@both_ways
async def test_a_single_target_that_fails_keeps_being_tried(stub: Stub, second: Stub, streamed: bool) -> None:
    async with gate(stub, second, [model("small", "a/x")]) as gateway:
        for number in range(1, 9):
            stub.answer(failing())
            response = await gateway.chat(stream=streamed)
            assert (response.status_code, len(stub.calls)) == (503, number)
        assert (await gateway.chat(stream=streamed)).status_code == 200


@covers("164")
async def test_a_target_that_rests_is_left_to_the_others_until_it_has_rested(stub: Stub, second: Stub) -> None:
    routing = {"cooldown": {"failures": 2, "seconds": 0.3}}
    async with gate(stub, second, [model("small", "a/x", "b/y")], routing=routing) as gateway:
        stub.answer(failing(), failing())
        answered = [(await gateway.chat()).headers["x-headgate-target"] for _ in range(4)]
        assert answered == ["b/y"] * 4
        assert len(stub.calls) == 2
        await asyncio.sleep(0.35)
        assert (await gateway.chat()).headers["x-headgate-target"] == "a/x"


@covers("164")
@pytest.mark.parametrize("status", [400, 413, 422, 404, 403])
async def test_what_a_caller_got_wrong_is_no_failure_of_the_target(stub: Stub, second: Stub, status: int) -> None:
    async with gate(stub, second, [model("small", "a/x")], routing={"cooldown": {"failures": 1}}) as gateway:
        for _ in range(5):
            stub.answer(failing(status))
            await gateway.chat()
        assert gateway.gate.deps.book.resting() == []
        assert (await gateway.chat()).status_code == 200


@covers("164")
async def test_chat_goes_on_while_embeddings_fail_on_the_same_target(stub: Stub, second: Stub) -> None:
    targets = [model("small", "a/x", "b/y")]
    async with gate(stub, second, targets, routing={"cooldown": {"failures": 1, "seconds": 60}}) as gateway:
        stub.answer(failing())
        embedded = await gateway.http.post("/v1/embeddings", json={"model": "small", "input": "a"})
        assert embedded.headers["x-headgate-target"] == "b/y"
        again = await gateway.http.post("/v1/embeddings", json={"model": "small", "input": "a"})
        assert (again.headers["x-headgate-target"], again.headers["x-headgate-attempts"]) == ("b/y", "1")
        assert (await gateway.chat()).headers["x-headgate-target"] == "a/x"


@covers("164")
async def test_a_stream_that_breaks_off_speaks_against_its_target_and_a_caller_that_leaves_does_not(
    stub: Stub, second: Stub
) -> None:
    async with gate(stub, second, [model("small", "a/x")], routing={"cooldown": {"failures": 1}}) as gateway:
        stub.answer(stream(stream_pieces()[:2], hang=True))
        async with gateway.http.stream(
            "POST",
            "/v1/chat/completions",
            json={"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True},
        ) as response:
            await anext(response.aiter_bytes())
        await gateway.wait_for_lines(1)
        assert gateway.gate.deps.book.resting() == []
        stub.answer(stream(cut_after=400))
        await gateway.stream()
        assert gateway.gate.deps.book.resting() == ["a/x"]
        assert gateway.gate.deps.book.state("a/x").in_flight == 0


@covers("164")
async def test_a_probe_brings_a_resting_target_back(stub: Stub, second: Stub) -> None:
    routing = {"cooldown": {"failures": 1, "seconds": 60}, "probes": {"every": 0.05}}
    async with gate(stub, second, [model("small", "a/x", "b/y")], routing=routing) as gateway:
        stub.answer(failing())
        await gateway.chat()
        async with asyncio.timeout(BOUND):
            while gateway.gate.deps.book.resting():
                await asyncio.sleep(0.01)
        assert (await gateway.chat()).headers["x-headgate-target"] == "a/x"


# --- fallbacks


@covers("14")
@both_ways
async def test_another_model_answers_when_no_target_can_and_the_answer_says_so(
    stub: Stub, second: Stub, streamed: bool
) -> None:
    models = [model("small", "a/x", fallbacks=["large"]), model("large", "b/big")]
    async with gate(stub, second, models) as gateway:
        stub.answer(failing())
        response = await gateway.chat(stream=streamed)
        assert response.status_code == 200
        assert b'"small"' in response.content
        assert response.headers["x-headgate-fallback"] == "large"
        assert response.headers["x-headgate-failed"] == "a/x=upstream_unavailable"
        assert second.last.json["model"] == "big"
        [line] = await gateway.wait_for_lines(1)
        assert (line["fallback"], line["model"], line["target"]) == ("large", "small", "b/big")


@covers("14")
@both_ways
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (failing(400, "context_length_exceeded"), "long"),
        (failing(400, "content_policy_violation"), "lax"),
        (failing(400), None),
    ],
    ids=["too long", "filtered", "wrong"],
)
async def test_special_fallbacks_answer_for_special_refusals(
    stub: Stub, second: Stub, answer: Answer, expected: str | None, streamed: bool
) -> None:
    models = [
        model("small", "a/x", context_window_fallbacks=["long"], content_policy_fallbacks=["lax"]),
        model("long", "b/long"),
        model("lax", "b/lax"),
    ]
    async with gate(stub, second, models) as gateway:
        stub.answer(answer)
        response = await gateway.chat(stream=streamed)
        assert response.headers.get("x-headgate-fallback") == expected
        assert response.status_code == (200 if expected else 400)


@covers("14", "wishes")
async def test_a_caller_may_forbid_fallbacks_or_name_its_own(stub: Stub, second: Stub) -> None:
    models = [model("small", "a/x", fallbacks=["large"]), model("large", "b/big"), model("other", "b/other")]
    async with gate(stub, second, models) as gateway:
        gateway.http.headers["x-headgate-fallbacks"] = "none"
        stub.answer(failing())
        assert (await gateway.chat()).status_code == 503
        gateway.http.headers["x-headgate-fallbacks"] = "nowhere, other"
        stub.answer(failing())
        assert (await gateway.chat()).headers["x-headgate-fallback"] == "other"


# --- limits, tags, wishes


@covers("targets")
async def test_when_all_targets_are_full_the_caller_is_told_when_to_come_back(stub: Stub, second: Stub) -> None:
    full = model("small", "a/x")
    full["targets"][0]["limits"] = {"requests_per_minute": 2}
    async with gate(stub, second, [full]) as gateway:
        assert [(await gateway.chat()).status_code for _ in range(3)] == [200, 200, 429]
        response = await gateway.chat()
        assert response.headers["x-headgate-error"] == "targets_busy"
        assert 1 <= int(response.headers["retry-after"]) <= 66
        assert response.headers["x-headgate-passed-over"].startswith("a/x=at its limits")
        assert len(stub.calls) == 2


@covers("targets")
async def test_a_full_target_leaves_its_calls_to_the_next(stub: Stub, second: Stub) -> None:
    both = model("small", "a/x", "b/y")
    both["targets"][0]["limits"] = {"in_flight": 1}
    async with gate(stub, second, [both]) as gateway:
        release = asyncio.Event()
        stub.answer(stream(stream_pieces(), release=release))
        first = asyncio.create_task(gateway.chat(stream=True))
        await stub.wait_for_calls(1)
        assert (await gateway.chat()).headers["x-headgate-target"] == "b/y"
        release.set()
        assert ends_well((await first).content)
        assert (await gateway.chat()).headers["x-headgate-target"] == "a/x"


@covers("targets", "wishes")
@pytest.mark.parametrize("header", ["x-headgate-tags", "x-litellm-tags"])
async def test_tags_choose_the_target(stub: Stub, second: Stub, header: str) -> None:
    tagged = model("small", "a/x", "b/y")
    tagged["targets"][0]["tags"], tagged["targets"][1]["tags"] = ["free"], ["paid"]
    async with gate(stub, second, [tagged], routing={"tags": True}) as gateway:
        gateway.http.headers[header] = "paid"
        assert (await gateway.chat()).headers["x-headgate-target"] == "b/y"
        gateway.http.headers[header] = "free, other"
        assert (await gateway.chat()).headers["x-headgate-target"] == "a/x"
        gateway.http.headers[header] = "unknown"
        response = await gateway.chat()
        assert (response.status_code, response.headers["x-headgate-error"]) == (400, "no_target_for_tags")


@covers("wishes")
@both_ways
@pytest.mark.parametrize("header", ["x-headgate-timeout", "x-litellm-timeout"])
async def test_a_callers_timeout_holds_and_does_not_speak_against_the_target(
    stub: Stub, second: Stub, header: str, streamed: bool
) -> None:
    async with gate(stub, second, [model("small", "a/x")], routing={"cooldown": {"failures": 1}}) as gateway:
        stub.answer(Answer(raw=b"", hang=True))
        gateway.http.headers[header] = "0.1"
        response = await gateway.chat(stream=streamed)
        assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
        assert gateway.gate.deps.book.resting() == []
        await asyncio.wait_for(stub.last.left.wait(), BOUND)


@covers("wishes")
async def test_a_callers_retries_hold_within_the_bound(stub: Stub, second: Stub) -> None:
    routing = {"first_pause": 0.001, "overrides": {"retries": 3}}
    for wanted, calls in (("0", 1), ("2", 3), ("9", 4)):
        async with gate(stub, second, [model("small", "a/x")], routing=routing) as gateway:
            before = len(stub.calls)
            stub.answer(*[failing() for _ in range(calls)])
            gateway.http.headers["x-litellm-num-retries"] = wanted
            response = await gateway.chat()
            assert len(stub.calls) - before == calls
            assert response.status_code == 503
            assert response.headers.get("x-headgate-applied") == ("retries=3" if wanted == "9" else None)


@covers("wishes")
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-headgate-timeout", "soon"),
        ("x-headgate-timeout", "-1"),
        ("x-litellm-timeout", "nan"),
        ("x-headgate-retries", "1.5"),
        ("x-litellm-num-retries", "9" * 5000),
        ("x-headgate-tags", ",".join(map(str, range(30)))),
    ],
)
async def test_a_wish_that_cannot_be_read_is_refused(gateway: Gateway, stub: Stub, header: str, value: str) -> None:
    gateway.http.headers[header] = value
    response = await gateway.chat()
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_header")
    assert response.json()["error"]["param"] == header
    assert stub.calls == []


@covers("wishes")
async def test_wishes_in_the_body_are_taken_out_of_it_where_that_is_allowed(stub: Stub, second: Stub) -> None:
    wishes = {"num_retries": 1, "timeout": 5, "fallbacks": ["large"], "metadata": {"tags": ["free"], "team": "x"}}
    models = [model("small", "a/x"), model("large", "b/big")]
    routing = {"first_pause": 0.001, "overrides": {"fields": True}}
    async with gate(stub, second, models, routing=routing) as gateway:
        stub.answer(failing(), failing())
        response = await gateway.chat(**wishes, seed=4)
        assert (response.headers["x-headgate-fallback"], response.headers["x-headgate-attempts"]) == ("large", "3")
        assert second.last.json == {
            "model": "big",
            "messages": [{"role": "user", "content": "Hi"}],
            "metadata": {"team": "x"},
            "seed": 4,
        }
        assert (await gateway.chat(num_retries="many")).json()["error"]["param"] == "num_retries"
    async with gate(stub, second, models) as gateway:
        await gateway.chat(**wishes)
        assert stub.last.json["num_retries"] == 1


# --- names


@covers("wildcards")
async def test_a_pattern_passes_what_its_star_matched(stub: Stub, second: Stub) -> None:
    models = [model("openai/*", "a/*"), model("openai/gpt-*", "b/v-*"), model("exact", "a/e"), model("*", "b/any-*")]
    async with gate(stub, second, models) as gateway:
        for name, target in {
            "openai/o9": "a/o9",
            "openai/gpt-4": "b/v-4",
            "exact": "a/e",
            "house/model": "b/any-house/model",
        }.items():
            response = await gateway.chat(model=name)
            assert (response.headers["x-headgate-target"], response.json()["model"]) == (target, name)
        listed = (await gateway.http.get("/v1/models")).json()["data"]
        assert {entry["id"] for entry in listed} == {"openai/*", "openai/gpt-*", "exact", "*"}
        assert set(gateway.gate.deps.book.all()) == {"a/*", "b/v-*", "a/e", "b/any-*"}


@covers("wildcards")
async def test_aliases_mean_their_model_and_hidden_names_are_callable_but_not_listed(stub: Stub, second: Stub) -> None:
    aliases = [{"name": "shown", "model": "small"}, {"name": "secret", "model": "small", "hidden": True}]
    models = [model("small", "a/x"), model("inner", "b/y", hidden=True)]
    async with gate(stub, second, models, aliases=aliases) as gateway:
        listed = (await gateway.http.get("/v1/models")).json()["data"]
        assert [entry["id"] for entry in listed] == ["small", "shown"]
        for name in ("shown", "secret", "inner"):
            response = await gateway.chat(model=name)
            assert (response.status_code, response.json()["model"]) == (200, name)


# --- mirrors


@covers("targets")
@both_ways
async def test_a_mirrored_request_costs_the_caller_nothing(stub: Stub, second: Stub, streamed: bool) -> None:
    models = [model("small", "a/x", mirror={"model": "shadow"}), model("shadow", "b/y")]
    async with gate(stub, second, models) as gateway:
        second.answer(Answer(raw=b"", hang=True))
        response = await gateway.chat(stream=streamed)
        assert response.headers["x-headgate-target"] == "a/x"
        await second.wait_for_calls(1)
        second.answer(failing())
        assert (await gateway.chat(stream=streamed)).status_code == 200
        lines = await gateway.wait_for_lines(3)
        [mirrored] = [line for line in lines if line["route"] == "mirror"]
        assert (mirrored["outcome"], mirrored["error"]) == ("error", "upstream_unavailable")
        assert mirrored["mirror_of"] in {line["request_id"] for line in lines if line["route"] == "chat"}
        assert second.last.json["model"] == "y"


@covers("targets")
async def test_a_share_of_the_requests_is_mirrored(stub: Stub, second: Stub) -> None:
    models = [model("small", "a/x", mirror={"model": "shadow", "share": 0.5}), model("shadow", "b/y")]
    async with gate(stub, second, models) as gateway:
        for _ in range(60):
            await gateway.chat()
        async with asyncio.timeout(BOUND):
            while gateway.gate.deps.mirrors:
                await asyncio.sleep(0.01)
        assert 10 < len(second.calls) < 50


# --- what is told


@covers("14")
async def test_the_headers_of_litellms_proxy_are_sent_where_asked_for(stub: Stub, second: Stub) -> None:
    models = [model("small", "a/x", fallbacks=["large"]), model("large", "b/big")]
    async with gate(stub, second, models, server={"litellm_headers": True}) as gateway:
        stub.answer(failing())
        headers = (await gateway.chat()).headers
        assert headers["x-litellm-model-id"] == "b/big"
        assert headers["x-litellm-model-group"] == "large"
        assert (headers["x-litellm-attempted-retries"], headers["x-litellm-attempted-fallbacks"]) == ("0", "1")
        assert headers["x-litellm-call-id"] == headers["x-request-id"]
        assert float(headers["x-litellm-response-duration-ms"]) > 0


@covers("14")
async def test_a_failure_tells_every_target_that_was_tried(stub: Stub, second: Stub) -> None:
    async with gate(stub, second, [model("small", "a/x", "b/y")]) as gateway:
        stub.answer(failing())
        second.answer(failing(500))
        response = await gateway.chat()
        assert response.headers["x-headgate-attempts"] == "2"
        assert response.headers["x-headgate-failed"] == "a/x=upstream_unavailable, b/y=upstream_fault"


@covers("14")
async def test_an_outage_is_told_rather_than_that_another_target_knows_no_such_model(stub: Stub, second: Stub) -> None:
    async with gate(stub, second, [model("small", "a/x", "b/y")]) as gateway:
        stub.answer(failing())
        second.answer(failing(404))
        assert (await gateway.chat()).status_code == 503


@covers("mock")
@both_ways
async def test_the_mock_provider_answers_without_any_network(streamed: bool) -> None:
    upstreams = [{"name": "mock", "provider": "mock", "options": {"answer": "As you wish."}}]
    settings = {"upstreams": upstreams, "models": [model("small", "mock/any")]}
    async with running_gateway(settings) as gateway:
        response = await gateway.chat(
            stream=streamed, **({"stream_options": {"include_usage": True}} if streamed else {})
        )
        assert response.status_code == 200
        if streamed:
            assert ends_well(response.content)
            assert response.content.count(b'"usage":{') == 1
        else:
            assert response.json()["choices"][0]["message"]["content"] == "As you wish."
            assert (await gateway.wait_for_lines(1))[0]["completion_tokens"] == 3


@covers("164")
async def test_the_state_of_every_target_can_be_asked_for(stub: Stub, second: Stub) -> None:
    async with gate(stub, second, [model("small", "a/x", "b/y")], routing={"cooldown": {"failures": 1}}) as gateway:
        stub.answer(failing())
        await gateway.chat()
        [resting, well] = (await gateway.http.get("/health/targets")).json()["data"]
        assert (resting["target"], resting["surfaces"]["chat"]["state"]) == ("a/x", "resting")
        assert resting["surfaces"]["chat"]["last_error"] == "upstream_unavailable"
        assert 0 < resting["surfaces"]["chat"]["resting_for"] <= 5
        assert (well["target"], well["surfaces"], well["in_flight"]) == ("b/y", {}, 0)
        assert well["latency_ms"] > 0


@covers("109", "166")
async def test_a_further_header_may_carry_the_key(stub: Stub, second: Stub) -> None:
    auth = {"key_header": "X-Team-Key"}
    async with gate(stub, second, [model("small", "a/x")], auth=auth) as gateway:
        key = gateway.http.headers.pop("authorization").removeprefix("Bearer ")
        assert (await gateway.chat()).status_code == 401
        for value in (key, f"Bearer {key}"):
            gateway.http.headers["x-team-key"] = value
            assert (await gateway.chat()).status_code == 200
