"""Answers to actions: what was asked for is done or refused, once, and what came of it is kept in the conversation.

Whoever answers holds the conversation meanwhile. An answer is taken before the call is made, so that no call is made
twice: of one that was being made when the gateway stopped, the model is told that nobody knows whether it happened.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from headgate.conversations.items import in_time, open_calls, result_of, with_id
from headgate.conversations.store import State
from headgate.conversations.types import Action, ActionQuery, Conversation, Item, New, Owner, Verdict
from headgate.core.audit import ORIGIN, Origin
from headgate.core.errors import InvalidField
from headgate.core.request import ModelRequest, json_request
from headgate.core.run import Run, ToolCall
from headgate.core.state_errors import ActionGone, ConversationBusy, ConversationMoved, ItemNotFound
from headgate.core.surfaces import CHAT
from headgate.identity.access import refuse_model
from headgate.pipeline.asking import action_of, by_of, digest_of
from headgate.pipeline.below import agent_called, inheriting
from headgate.pipeline.context import Deps
from headgate.pipeline.delegation import add_delegates
from headgate.pipeline.prepare import Prompt, prepare
from headgate.pipeline.resuming import resumed
from headgate.pipeline.steer import steer
from headgate.pipeline.tools import bounds_of
from headgate.tools.runner import problem, run_tool
from headgate.tools.types import Caller, Tool, ToolResult

LEASE_SECONDS = 60.0
REQUEST, RESPONSE = "mcp_approval_request", "mcp_approval_response"
REFUSED = "Error: A person refused this call, and it was not made."
UNKNOWN = "Error: The call was approved, and the gateway stopped while it was made: nobody knows whether it happened."
ABSENT = "Error: The call was approved, but there is no such tool any more."
_TRIES = 5
_LISTS = ("messages", "input")


class Answer(NamedTuple):
    """What somebody says to an action. `said` may hold `arguments` (JSON), `text` and `reason`."""

    action: str
    verdict: Verdict
    said: Mapping[str, Any]


def answer_item(answer: Answer) -> dict[str, Any]:
    """As it stands among what a caller sends, in chats as in Responses."""
    item = {"type": RESPONSE, "approval_request_id": answer.action, "approve": answer.verdict != "reject"}
    return {"role": "user", **item, **answer.said}


def concerns_actions(request: ModelRequest, stored: Sequence[Item]) -> bool:
    """Whether there may be anything to do here for a turn."""
    data = [item.data for item in stored]
    if any(one.get("type") == REQUEST for one in data) or open_calls(data):
        return True
    return any(_is_answer(one) for name in _LISTS for one in _listed(request, name))


def answers_in(request: ModelRequest) -> tuple[ModelRequest, list[Answer]]:
    """The request without the answers to actions that it holds, and these; raises InvalidField."""
    for name in _LISTS:
        listed = _listed(request, name)
        if any(map(_is_answer, listed)):
            found = [_read(one, f"{name}[{at}]") for at, one in enumerate(listed) if _is_answer(one)]
            rest = [one for one in listed if not _is_answer(one)]
            made = json_request(request.surface, {**request.fields, "model": request.model, name: rest})
            return replace(made, wants_usage=request.wants_usage), found
    return request, []


async def catch_up(request: ModelRequest, head: Conversation, holder: str, run: Run, deps: Deps) -> Conversation:
    """The conversation with what came of the answers in the request. `holder` holds it.

    Raises ActionNotFound, ActionGone, ActionExpired, ActionAnswered, and InvalidField for answers that do not fit.
    """
    state = deps.state
    assert state is not None
    head = await _recover(head, state)
    request, answers = answers_in(request)
    for answer in answers:
        head = await _settle(answer, head, holder, run, deps)
    return head


async def waiting(action: Action, state: State) -> int:
    """How many actions of the same run wait for an answer."""
    return await state.actions.count(action.owner, ActionQuery(run=action.run, waiting=True))


async def _recover(head: Conversation, state: State) -> Conversation:
    """Of answers whose outcome was not kept, the gateway having stopped, say so."""
    for action in await state.actions.page(head.owner, ActionQuery(limit=100, conversation=head.id)):
        if action.state == "answered":
            try:
                await state.heads.item(head, _call_id(action))
            except ItemNotFound:
                result = _said(action) if action.kind == "client_tool" else ToolResult(UNKNOWN, failed=True)
                head = await _append(head, await _items(action, result, head, state), "", state)
            await state.actions.done(action)
    return head


async def _settle(answer: Answer, head: Conversation, holder: str, run: Run, deps: Deps) -> Conversation:
    state = deps.state
    assert state is not None
    action = await state.actions.get(answer.action, Owner(run.who.tenant, run.who.user))
    await _check_place(action, head, state)
    prompt = await _prompt(action, run, deps)
    tool = prompt.tools.get(action.tool) if prompt is not None else None
    await _check(answer, action, tool)
    origin = ORIGIN.get()
    ORIGIN.set(Origin(run.who, origin.address if origin.request_id == run.id else "", run.id))
    async with _holding(head, holder, state):
        action = await state.actions.answer(action, answer.verdict, answer.said, by_of(run))
        result = ToolResult(UNKNOWN, failed=True)
        try:
            result = await _outcome(action, tool, prompt, run, deps)
        finally:
            head = await asyncio.shield(_keep(action, result, head, run, deps))
    run.pictures += result.shown
    return head


async def _check_place(action: Action, head: Conversation, state: State) -> None:
    if action.conversation != head.id:
        message = f"The action {action.id} belongs to the conversation {action.conversation}."
        raise InvalidField(message, param="approval_request_id")
    if digest_of(action.tool, action.arguments) != action.digest:
        raise ActionGone(f"The call of the action {action.id} is not the one that was asked for.")
    if action.kind == "client_tool":
        told = [one.data for one in await state.heads.told(head)]
        if any(one.get("type") == "function_call" and one.get("call_id") == action.call for one in told):
            return
    else:
        with suppress(ItemNotFound):
            await state.heads.item(head, action.id)
            return
    raise ActionGone(f"The conversation {head.id} no longer holds the action {action.id}.")


async def _check(answer: Answer, action: Action, tool: Tool | None) -> None:
    """Raise InvalidField for an answer that the action cannot have."""
    verdict = answer.verdict
    takes_text = action.kind != "approval"
    if (verdict == "answer") != takes_text and verdict != "reject":
        wanted = "'answer' with a 'text'" if takes_text else "'approve', 'edit'"
        raise InvalidField(f"This action takes {wanted} or 'reject'.", param="decision")
    if verdict != "edit" or tool is None:
        return
    wrong = await problem(tool, orjson.loads(answer.said["arguments"]))
    if wrong is not None:
        message = f"The argument '{wrong[0]}' is not right: {wrong[1]}."
        raise InvalidField(message, param=f"arguments.{wrong[0]}")


async def _prompt(action: Action, run: Run, deps: Deps) -> Prompt | None:
    """What whoever asked works with; None if there is no such agent any more, or no tool of its own is meant. Raises
    ModelForbidden.
    """
    chat = json_request(CHAT, {"model": action.model, "messages": []})
    agent = deps.agents.find(action.model) if deps.agents is not None else None
    if agent is None and deps.inject is not None:
        agent = deps.inject(chat, run)
    if agent is None and (action.kind == "client_tool" or deps.catalog.configured(action.model) is not None):
        agent = deps.reasoner.on(action.model)  # what a plain model is that was asked to reason
    if agent is None:
        return None
    refuse_model(run.who, action.model, *agent.known_as)
    if action.kind == "client_tool":
        return None
    if action.within:
        innermost = action.within["frames"][0]
        agent = inheriting(agent_called(innermost["agent"], deps), innermost["model"])
    prompt = await prepare(agent, chat, run, deps)
    add_delegates(prompt, run, deps, steer)
    return prompt


async def _outcome(action: Action, tool: Tool | None, prompt: Prompt | None, run: Run, deps: Deps) -> ToolResult:
    """What the model is told."""
    made = await _made(action, tool, prompt, run, deps)
    if not action.within:
        return made
    result = await resumed(action, made, run, deps, steer)
    return replace(result, shown=(*made.shown, *result.shown))


async def _made(action: Action, tool: Tool | None, prompt: Prompt | None, run: Run, deps: Deps) -> ToolResult:
    """What the call itself came to."""
    if action.verdict in ("reject", "answer"):
        return _said(action)
    if tool is None or prompt is None:
        return ToolResult(ABSENT, failed=True)
    started = time.monotonic()
    level = len(action.within.get("frames", ()))
    caller = Caller(run.who, run.id, prompt.agent.name, run.depth + level, run.trace.traceparent)
    result = await run_tool(tool, _arguments(action), caller, bounds_of(prompt, run, deps, None))
    note = ToolCall(action.tool, "failed" if result.failed else "ok", time.monotonic() - started)
    run.tools += (note,)
    return result


def _said(action: Action) -> ToolResult:
    """Of an answer for which no call has to be made."""
    said = action.answer
    if action.verdict == "reject":
        return ToolResult(f"{REFUSED} The reason: {said['reason']}" if said.get("reason") else REFUSED, failed=True)
    return ToolResult(str(said.get("text") or ""))


async def _keep(action: Action, result: ToolResult, head: Conversation, run: Run, deps: Deps) -> Conversation:
    state = deps.state
    assert state is not None
    call = action.within.get("call") or {"id": _call_id(action), "name": action.tool, "arguments": _arguments(action)}
    further = [one for one in result.held if one.frames]
    asked = [action_of(one, {"frames": list(one.frames), "call": call}, run, deps, action.model) for one in further]
    if asked:
        await state.actions.ask(*asked)
    items = [*await _items(action, result, head, state), *map(_request, asked)]
    head = await _append(head, items, run.id, state)
    await state.actions.done(action)
    return head


def _request(action: Action) -> dict[str, Any]:
    asked = {"name": action.tool, "arguments": action.arguments}
    return with_id({"type": REQUEST, "id": action.id, "server_label": "headgate", **asked})


async def _items(action: Action, result: ToolResult, head: Conversation, state: State) -> list[dict[str, Any]]:
    """What stands in the conversation for an answer and what came of it."""
    if action.kind != "client_tool":
        return [_response(action), _call(action, result)]
    told = [one.data for one in await state.heads.told(head)]
    return in_time(told, [with_id({**result_of(action.call, result.text), "id": _call_id(action)})])


async def _append(head: Conversation, items: Sequence[dict[str, Any]], run: str, state: State) -> Conversation:
    for _ in range(_TRIES):
        try:
            return (await state.heads.append(head, [New(item, run) for item in items]))[0]
        except ConversationMoved:
            head = await state.heads.get(head.id, head.owner)
    raise ConversationBusy(f"The conversation {head.id} does not come to rest.")


@asynccontextmanager
async def _holding(head: Conversation, holder: str, state: State) -> AsyncIterator[None]:
    """Prolong the lease for as long as a call takes."""

    async def keep_holding() -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await state.runs.hold(head, holder, LEASE_SECONDS)

    renewing = asyncio.get_running_loop().create_task(keep_holding())
    try:
        yield
    finally:
        renewing.cancel()


def _listed(request: ModelRequest, name: str) -> Sequence[Any]:
    listed = request.fields.get(name)
    return listed if isinstance(listed, list) else ()


def _is_answer(one: object) -> bool:
    return isinstance(one, dict) and one.get("type") == RESPONSE


def _read(fields: Mapping[str, Any], where: str) -> Answer:
    id_, approve, arguments = fields.get("approval_request_id"), fields.get("approve"), fields.get("arguments")
    if not isinstance(id_, str) or not id_:
        field = f"{where}.approval_request_id"
        raise InvalidField(f"The field '{field}' must be the id of an action.", param=field)
    if type(approve) is not bool:
        raise InvalidField(f"The field '{where}.approve' must be true or false.", param=f"{where}.approve")
    said = {name: str(fields[name]) for name in ("reason", "text") if fields.get(name)}
    if not approve:
        return Answer(id_, "reject", said)
    if arguments is not None:
        return Answer(id_, "edit", {**said, "arguments": json_object(arguments, f"{where}.arguments")})
    return Answer(id_, "answer" if "text" in said else "approve", said)


def json_object(arguments: object, where: str) -> str:
    """Arguments as JSON, of an object or of JSON that holds one; raises InvalidField."""
    try:
        found = orjson.loads(arguments) if isinstance(arguments, str) else arguments
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise InvalidField(f"The field '{where}' must be an object, or JSON that holds one.", param=where)
    return orjson.dumps(found).decode()


def _arguments(action: Action) -> str:
    return str(action.answer["arguments"]) if action.verdict == "edit" else action.arguments


def _call_id(action: Action) -> str:
    return ("fco_" if action.kind == "client_tool" else "mcp_") + action.id.removeprefix("act_")


def _response(action: Action) -> dict[str, Any]:
    said = {name: value for name, value in action.answer.items() if value}
    told = {"approval_request_id": action.id, "approve": action.verdict != "reject", **said}
    return with_id({"type": RESPONSE, "id": "mcpa_" + action.id.removeprefix("act_"), **told})


def _call(action: Action, result: ToolResult) -> dict[str, Any]:
    """The call with what came of it. `images` are pictures that the model is shown."""
    failed, told = result.failed, result.text
    own = action.within.get("call") or {"name": action.tool, "arguments": _arguments(action)}
    called = {"name": own["name"], "arguments": own["arguments"], "approval_request_id": action.id}
    outcome: dict[str, Any] = {"output": None if failed else told, "error": told if failed else None}
    if result.images:
        outcome["images"] = [f"data:{one.mime_type};base64,{one.data}" for one in result.images]
    status = "failed" if failed else "completed"
    return {
        "type": "mcp_call",
        "id": _call_id(action),
        "server_label": "headgate",
        "status": status,
        **called,
        **outcome,
    }
