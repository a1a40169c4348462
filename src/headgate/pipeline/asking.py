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
from headgate.tools.types import Held

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
    """The same, under the id of its action; as it was where nobody can be asked by this run."""
    info = prompt.tools[held.call.name].info
    rule = Policies(prompt.agent.tool_policy, prompt.agent.tool_policies).rule(info)
    return await asked_for(Held(held.call, rule, info.asks), held, run, deps)


async def asked_for(held: Held, told: ToolHeld, run: Run, deps: Deps) -> ToolHeld:
    """What to tell of a call that is held back. `told` names the call of the run's own that waits with it."""
    call, own = held.call, told.call
    if held.frames or call is own:
        if keeps(run) and deps.state is not None:
            within = {"frames": list(held.frames), "call": own._asdict()} if held.frames else {}
            action = action_of(held, within, run, deps)
            await deps.state.actions.ask(action)
            return ToolHeld(call, told.turn, action.id)
        if run.held is not None:
            run.held.append((held, own.id))
    return ToolHeld(call, told.turn)


def action_of(held: Held, within: Mapping[str, Any], run: Run, deps: Deps, model: str = "") -> Action:
    now, call = milliseconds(), held.call
    return Action(
        new_id("act"),
        "question" if held.asks else "approval",
        Owner(run.who.tenant, run.who.user),
        run.conversation,
        run.id,
        model or run.model or "",
        call.name,
        call.arguments,
        digest_of(call.name, call.arguments),
        held.rule,
        now,
        now + int(deps.action_seconds * 1000),
        within=within,
    )


def digest_of(tool: str, arguments: str) -> str:
    """What names a call: SHA-256 of the tool's name and its arguments, however their JSON is laid out."""
    try:
        laid_out = json.dumps(json.loads(arguments or "{}"), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        laid_out = arguments
    return hashlib.sha256(f"{tool}\0{laid_out}".encode()).hexdigest()
