"""Has a model divide a request among agents. A plan that cannot be carried out goes back once, with all its faults."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headgate.agents.plan import AgentPlan, PlanFaulty, plan_schema, read_plan
from headgate.core.agent_errors import PlanInvalid
from headgate.core.request import JsonRequest
from headgate.core.run import Run
from headgate.pipeline.context import Deps
from headgate.pipeline.participants import Participant
from headgate.pipeline.prepare import Prompt
from headgate.pipeline.reasoning import ONLY_FOR_ANSWERS
from headgate.pipeline.settle import account
from headgate.pipeline.turns import Turn, Watch

COMPONENT = "planner"
_LENGTHS = frozenset(("max_tokens", "max_completion_tokens"))
_SYSTEM = frozenset(("system", "developer"))


async def planned(crew: Mapping[str, Participant], prompt: Prompt, watch: Watch, run: Run, deps: Deps) -> AgentPlan:
    """Raises PlanInvalid, and what goes wrong with the call; nothing is told before."""
    most = deps.orchestrator.settings.nodes
    notes: list[dict[str, Any]] = []
    while True:
        watch.turns += 1
        turn = Turn(_request(crew, prompt, notes, deps), watch)
        before = len(run.attempts)
        try:
            async for _ in turn.take(run, deps):
                pass
        finally:
            for attempt in run.attempts[before:]:
                attempt.component = COMPONENT
        account(run, deps, over=False)
        said = turn.answer.text or turn.answer.refusal
        try:
            return read_plan(said, crew, most)
        except PlanFaulty as faulty:
            if notes:
                raise PlanInvalid(f"The model's plan cannot be carried out. {faulty}") from None
            listed = "\n".join(f"- {one}" for one in faulty.problems)
            wish = f"That plan cannot be carried out:\n{listed}\nWrite all of it anew, as the one JSON object only."
            notes += ({"role": "assistant", "content": said or "(nothing)"}, {"role": "user", "content": wish})


def _request(crew: Mapping[str, Participant], prompt: Prompt, notes: list[dict[str, Any]], deps: Deps) -> JsonRequest:
    """The planner is shown the conversation, without the system text, which is for the answer."""
    settings = deps.orchestrator.settings
    model = settings.model or prompt.model
    listed = "\n".join(one.line for one in crew.values())
    text = f"{deps.prompts['plan']}\n- At most {settings.nodes} nodes.\n\nAgents:\n{listed}"
    conversation = [one for one in prompt.messages if one.get("role") not in _SYSTEM]
    given = prompt.fields if model == prompt.model else {}
    fields = {name: value for name, value in given.items() if name not in ONLY_FOR_ANSWERS | _LENGTHS}
    if settings.temperature is not None:
        fields["temperature"] = settings.temperature
    fields["response_format"] = plan_schema(crew) if deps.keeps_schemas(model) else {"type": "json_object"}
    messages = [{"role": "system", "content": text}, *conversation, *notes]
    return replace(prompt, model=model, messages=messages, fields=fields, schemas=[], stream=False).request()
