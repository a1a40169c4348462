"""A call that policy holds back in a stored conversation becomes an action, which `answering.py` is about."""

import hashlib
import json

from headgate.conversations.types import Action, Owner, milliseconds, new_id
from headgate.core.chat import ToolHeld
from headgate.core.run import Run
from headgate.pipeline.context import Deps
from headgate.pipeline.prepare import Prompt
from headgate.tools.policy import Policies


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
