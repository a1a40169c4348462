"""The demo agents of `conf/` share a request: two look things up on the demo MCP server at once; a third writes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.clients.test_demo_agent import configured
from tests.harness.gateway import KEY, running_gateway
from tests.harness.orchestra import check, node, part_of, plan, playing
from tests.harness.stub import Recorded, Stub
from tests.journeys.test_agents import calling
from tests.requirements import covers

__all__ = ["configured"]

pytestmark = covers("demo-agent", "40", "42")
QUESTION: Any = [{"role": "user", "content": "Compare the weather in Oslo with the price of a share of ABC."}]
TOOLS = {
    "weather": ("mcp_demo_get_weather", {"city": "Oslo"}),
    "share": ("mcp_demo_get_stock_price", {"symbol": "ABC"}),
}
NODES = [
    node("weather", "augmented/researcher"),
    node("share", "researcher"),
    node("text", "augmented/writer", "weather", "share"),
]


def scripted(request: Recorded) -> Any:
    """Researchers use their tool first; then everybody says its part."""
    part, messages = part_of(request), request.json["messages"]
    if part in TOOLS and messages[-1]["role"] != "tool":
        return calling(TOOLS[part])
    return playing(planner=plan(*NODES))(request)


@pytest.mark.timeout(60)
async def test_the_demo_agents_answer_together(stub: Stub, configured: Callable[[str], Path]) -> None:
    stub.otherwise = scripted
    async with (
        running_gateway(configured(stub.url)) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=30) as client,
    ):
        chunks = [
            one
            async for one in await client.chat.completions.create(
                model="augmented/study", messages=QUESTION, stream=True, stream_options={"include_usage": True}
            )
        ]
        lines = await gateway.wait_for_lines(4)
    deltas = [one.choices[0].delta for one in chunks if one.choices]
    events: list[Any] = [(one.model_extra or {}).get("reasoning_event") for one in deltas]
    events = [one for one in events if one]
    for one in events:
        check(one)
    assert "".join(one.content or "" for one in deltas) == "Whole answer."
    assert events[0]["metadata"]["nodes"][1]["agent"] == "augmented/researcher"
    used = {(one["metadata"]["node"], one["metadata"]["tool_name"]) for one in events if "tool_name" in one["metadata"]}
    assert used == {(part, name) for part, (name, _) in TOOLS.items()}
    assert events[-1]["metadata"]["completed"] == ["weather", "share", "text"]
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 10 * len(stub.calls) == 70
    assert sorted(line["model"] for line in lines) == [
        "augmented/researcher",
        "augmented/researcher",
        "augmented/study",
        "augmented/writer",
    ]
    results = [one.json["messages"][-1]["content"] for one in stub.calls if part_of(one) == "weather"]
    assert "Oslo" in json.dumps(results[-1])
