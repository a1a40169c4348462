"""Changes to a request's fields on their way through the LiteLLM SDK, which takes fields as arguments."""

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.core.errors import UpstreamRejected
from headgate.core.events import Whole
from headgate.core.ports import Call
from headgate.core.request import Changes, parse_json
from headgate.core.run import Attempt
from headgate.core.surfaces import CHAT
from headgate.upstreams.litellm import LiteLLMUpstream
from headgate.upstreams.types import UpstreamSettings
from tests.requirements import covers

pytestmark = covers("16", "litellm-sdk")
HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the SDK was last called with."""
    seen: dict[str, Any] = {}

    async def acompletion(**fields: Any) -> dict[str, Any]:
        seen.update(fields)
        return {"model": "x", "choices": []}

    monkeypatch.setitem(sys.modules, "litellm", SimpleNamespace(acompletion=acompletion))
    return seen


async def call(changes: Changes, **fields: Any) -> None:
    upstream = LiteLLMUpstream(
        UpstreamSettings.model_validate(
            {"name": "sdk", "provider": "litellm", "api_key": "sk-upstream-secret-1", "litellm_provider": "bedrock"}
        )
    )
    body = json.dumps({"model": "m", "messages": HI, **fields}).encode()
    attempt = Attempt("sdk", "claude", "t", "k", "m", 0.0)
    answer = await upstream.open(Call(parse_json(CHAT, body), "claude", "run", "trace", changes), attempt)
    assert isinstance(answer, Whole)


async def test_fields_are_set_and_left_out(given: dict[str, Any]) -> None:
    changes = Changes({"seed": 3, "max_tokens": 64}, frozenset(["user", "x_unknown"]))
    await call(changes, user="u", x_unknown=1, max_tokens=1, temperature=0.5)
    fields = {name: given[name] for name in ("messages", "seed", "max_tokens", "temperature")}
    assert fields == {"messages": HI, "seed": 3, "max_tokens": 64, "temperature": 0.5}
    assert not {"user", "x_unknown"} & set(given)


async def test_an_operator_may_set_what_a_caller_may_not(given: dict[str, Any]) -> None:
    await call(Changes({"aws_bedrock_option": 1}))
    assert given["aws_bedrock_option"] == 1
    with pytest.raises(UpstreamRejected):
        await call(Changes({"seed": 1}), aws_bedrock_option=1)


async def test_no_change_touches_the_model_the_key_or_what_is_the_sdks_own(given: dict[str, Any]) -> None:
    await call(Changes({"model": "other", "api_key": "sk-of-nobody", "metadata": {"a": 1}}))
    assert (given["model"], given["api_key"]) == ("bedrock/claude", "sk-upstream-secret-1")
    assert "metadata" not in given
