"""What a stored run waits for becomes an action, which `answering.py` is about: a call that policy holds back, and one
of the caller's own tools.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headgate.conversations.items import is_result, open_calls
from headgate.conversations.types import Action, Conversation, Owner, Status, milliseconds, new_id
from headgate.core.chat import ToolHeld
from headgate.core.run import Run
from headgate.pipeline.context import Deps
from headgate.pipeline.prepare import Prompt
from headgate.tools.policy import Policies

_OPEN = frozenset(("function_call", "mcp_approval_request"))


def keeps(run: Run) -> bool:
    """Whether what the run says is kept, so that it can be gone on with."""
    return bool(run.conversation) and (run.continues is None or run.continues.keeps)


def standing(status: Status, output: Iterable[Mapping[str, Any]]) -> Status:
    """The status of a run that ended so with this output: while a part of it waits for somebody, it is not complete."""
    waits = status == "completed" and any(one.get("type") in _OPEN for one in output)
    return "requires_action" if waits else status


async def note_calls(
    head: Conversation, added: Sequence[Mapping[str, Any]], output: Sequence[Mapping[str, Any]], run: Run, deps: Deps
) -> None:
    """Calls of the caller's own tools, once they are kept, become actions; those whose results came are done."""
    assert deps.state is not None
    given = [str(one["call_id"]) for one in added if is_result(one)]
    if given:
        await deps.state.actions.given(head.id, given, by_of(run))
    asked = [one for one in open_calls(output).values() if one.get("status") == "completed"]
    if not asked:
        return
    now = milliseconds()
    until = now + int(deps.action_seconds * 1000)
    model = run.model or head.model
    actions = []
    for one in asked:
        name, arguments = str(one.get("name")), str(one.get("arguments") or "{}")
        place = (head.owner, head.id, run.id, model, name, arguments, digest_of(name, arguments), "client_tool")
        id_, call = new_id("act"), str(one.get("call_id"))
        actions.append(Action(id_, "client_tool", *place, now, until, call=call))
    await deps.state.actions.ask(*actions)


def by_of(run: Run) -> str:
    """Who asks, as it is noted of an answer."""
    return f"{run.who.key_id} for {run.who.user}" if run.who.user else run.who.key_id


async def asked(held: ToolHeld, prompt: Prompt, run: Run, deps: Deps) -> ToolHeld:
    """The same, under the id of its action; as it was where nothing is kept."""
    if deps.state is None:
        return held
    call, info, now = held.call, prompt.tools[held.call.name].info, milliseconds()
    policies = Policies(prompt.agent.tool_policy, prompt.agent.tool_policies)
    action = Action(
        new_id("act"),
        "question" if info.asks else "approval",
        Owner(run.who.tenant, run.who.user),
        run.conversation,
        run.id,
        run.model or prompt.agent.name,
        call.name,
        call.arguments,
        digest_of(call.name, call.arguments),
        policies.rule(info),
        now,
        now + int(deps.action_seconds * 1000),
    )
    await deps.state.actions.ask(action)
    return held._replace(action=action.id)


def digest_of(tool: str, arguments: str) -> str:
    """What names a call: SHA-256 of the tool's name and its arguments, however their JSON is laid out."""
    try:
        laid_out = json.dumps(json.loads(arguments or "{}"), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        laid_out = arguments
    return hashlib.sha256(f"{tool}\0{laid_out}".encode()).hexdigest()
