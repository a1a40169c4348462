"""The clock by the name that other systems' files and templates give it."""

from pathlib import Path

from tests.harness.gateway import running_gateway
from tests.harness.stub import Stub, chat
from tests.journeys.test_agents import calling, settings
from tests.requirements import covers

pytestmark = covers("101")


async def test_an_agents_file_and_its_template_may_use_the_former_name(stub: Stub, tmp_path: Path) -> None:
    prompt = 'It is {{get_current_time(timezone="UTC")}} and {{current_time(timezone="UTC")}}.'
    made = settings(stub, tools=["get_current_time"], tool_groups=["compute"], system_prompt=prompt)
    async with running_gateway(made, tmp_path) as gateway:
        stub.answer(calling(("get_current_time", {"timezone": "+05:30"})), chat("Late."))
        assert (await gateway.chat(model="augmented/helper")).status_code == 200
        sent = stub.last.json
        assert [one["function"]["name"] for one in sent["tools"]] == [
            "get_current_time",
            *("calculator", "date_math", "text_stats", "json_query"),
        ]
        assert "+05:30" in sent["messages"][-1]["content"]
        assert sent["messages"][0]["content"].count("(UTC, ") == 2


async def test_programs_may_call_it_so_and_the_list_has_it_once(stub: Stub, tmp_path: Path) -> None:
    async with running_gateway(settings(stub), tmp_path) as gateway:
        body = {"name": "get_current_time", "arguments": {"timezone": "UTC"}}
        told = (await gateway.http.post("/v1/tools/execute", json=body)).json()
        assert (told["name"], told["is_error"]) == ("current_time", False)
        names = [one["name"] for one in (await gateway.http.get("/v1/tools")).json()["data"]]
        assert [name for name in names if "time" in name] == ["current_time"]
