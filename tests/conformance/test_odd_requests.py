"""Requests that no client should send: each is read, or refused by the name of what is wrong; rendering never fails."""

from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest

from headgate.core.errors import HeadgateError, RequestError
from headgate.dialects.table import CALLERS, DIALECTS
from tests.conformance.conversations import BESIDE, PICTURE, SCHEMA, everything
from tests.conformance.mutants import odd_answer
from tests.conformance.through import NAMES, SPOKEN
from tests.conftest import Amount
from tests.requirements import covers

pytestmark = covers("conformance", "dialects")
OLLAMA: dict[str, Any] = {
    "model": "small",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi", "images": [PICTURE.partition(",")[2]]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}],
        },
        {"role": "tool", "tool_name": "get_weather", "content": "Rain."},
    ],
    "tools": [{"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": SCHEMA}}],
    "options": {"num_predict": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": ["x"], "seed": 1},
    "format": SCHEMA,
    "think": "low",
}


def sent(dialect: str) -> dict[str, Any]:
    """A request in a dialect's words that uses much of it."""
    if dialect == "ollama":
        return OLLAMA
    request = replace(everything(dialect), max_tokens=100, temperature=0.5, top_p=0.9, beside=BESIDE[dialect])
    return DIALECTS[dialect].render(request).fields


@pytest.mark.parametrize("caller", SPOKEN)
def test_an_odd_request_is_read_or_refused_by_the_name_of_what_is_wrong(caller: str, amount: Amount) -> None:
    body = orjson.dumps(sent(caller))
    read, refusals = 0, []
    for seed in range(amount(400, 20000)):
        odd = odd_answer(body, Random(f"{caller} {seed}"))
        try:
            fields = orjson.loads(odd)
        except orjson.JSONDecodeError:
            continue
        if type(fields) is not dict:
            continue
        try:
            request = CALLERS[caller].parse(fields)
            for upstream in NAMES:
                orjson.dumps(DIALECTS[upstream].render(request).fields)
        except RequestError as refusal:
            refusals.append((refusal.param, refusal.message, odd))
        except Exception as fault:
            fault.add_note(f"seed {seed}: {odd!r}")
            raise
        else:
            read += 1
    assert read
    assert refusals
    assert [odd for param, message, odd in refusals if not param or not message] == []


@pytest.mark.parametrize("caller", SPOKEN)
def test_a_usual_request_is_read(caller: str) -> None:
    try:
        CALLERS[caller].parse(sent(caller))
    except HeadgateError as error:
        pytest.fail(error.message)
