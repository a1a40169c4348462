"""The call that sums a conversation up: the beginning of the conversation's own last call, and the task behind it.

So a provider that caches prompts reads little of it anew. The call is a run of its own, on the account of whoever it is
made for. Knows nothing of what becomes of the summary.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

from headgate.conversations.compaction import task_of
from headgate.conversations.items import told_of
from headgate.conversations.policy import Policy
from headgate.conversations.types import Item
from headgate.core.chat import ChatEvent
from headgate.core.chat_request import ChatRequest
from headgate.core.errors import UpstreamGarbled, UpstreamTimeout
from headgate.core.events import Event, Whole
from headgate.core.request import JsonRequest, ModelRequest, json_request
from headgate.core.run import Run
from headgate.core.surfaces import CHAT
from headgate.dialects import chat_reader
from headgate.dialects.table import DIALECTS
from headgate.pipeline.context import Deps
from headgate.pipeline.delegation import add_delegates
from headgate.pipeline.inner import inner_run
from headgate.pipeline.prepare import prepare
from headgate.pipeline.steer import steer
from headgate.tools.types import Caller

Relay = Callable[[ModelRequest, Run, Deps], AsyncGenerator[Event | ChatEvent]]
_NOT_MEANT = frozenset(
    (
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "response_format",
        "tool_choice",
        "stop",
        "logprobs",
        "top_logprobs",
        "modalities",
        "audio",
        "prediction",
        "web_search_options",
    )
)
"""Fields of a call that are meant for its own answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """For whom, and in the place of which call. `name` is the model or agent; `fields` are those of its last call,
    in the words of chat completions.
    """

    name: str
    fields: Mapping[str, Any]
    caller: Caller
    conversation: str
    inherits: str = ""
    lead: Sequence[Mapping[str, Any]] = ()
    """Messages that its calls begin with and that are not kept."""


class Said(NamedTuple):
    """`cost` in nano-USD, None where no price is known; `prompt_hash` is of all that the model was sent."""

    text: str
    model: str
    run: str
    cost: int | None
    prompt_hash: str


async def summarise(sent: Sequence[Item], asked: Asked, policy: Policy, relay: Relay, deps: Deps) -> Said:
    """A model's summary of these items; raises HeadgateError."""
    try:
        async with asyncio.timeout(policy.seconds):
            said = await _ask(sent, asked, policy, relay, deps, {})
            return said if said.text else await _ask(sent, asked, policy, relay, deps, {"tool_choice": "none"})
    except TimeoutError:
        raise UpstreamTimeout("The model did not write its summary in time.") from None


async def _ask(
    sent: Sequence[Item], asked: Asked, policy: Policy, relay: Relay, deps: Deps, more: Mapping[str, Any]
) -> Said:
    run = _run(asked)
    request = await request_of(sent, asked, policy, run, deps, more)
    run.model, run.bytes_in = request.model, request.size
    reader = chat_reader.Reader()
    async with aclosing(relay(request, run, deps)) as events:
        async for event in events:
            if isinstance(event, Whole):
                list(reader.whole(event.body))
            elif isinstance(event, bytes):
                list(reader.feed(event))
    list(reader.finish())
    text = reader.answer.text.strip()
    if not text and ("tools" not in request.fields or more):
        raise UpstreamGarbled("The model wrote no summary.")
    digest = hashlib.sha256(request.raw).hexdigest()
    return Said(text, request.model, run.id, run.cost, digest)


def _run(asked: Asked) -> Run:
    run = inner_run(asked.caller, "compaction", asked.name)
    run.component = "compaction"
    run.conversation, run.inherits = asked.conversation, asked.inherits
    run.status = 200
    return run


async def request_of(
    sent: Sequence[Item], asked: Asked, policy: Policy, run: Run, deps: Deps, more: Mapping[str, Any]
) -> JsonRequest:
    """The call itself."""
    items = told_of([one.data for one in sent])
    messages = DIALECTS[CHAT.dialect].render(ChatRequest(CHAT.dialect, asked.name, items)).fields["messages"]
    others = {name: value for name, value in asked.fields.items() if name not in _NOT_MEANT}
    own = json_request(CHAT, {"model": asked.name, "messages": [*asked.lead, *messages], **others})
    agent = deps.agents.find(asked.name) if deps.agents is not None else None
    if agent is None and deps.inject is not None:
        agent = deps.inject(own, run)
    fields: dict[str, Any] = dict(own.fields)
    if agent is not None:
        prompt = await prepare(agent, own, run, deps)
        add_delegates(prompt, run, deps, steer)
        fields = {
            name: value
            for name, value in prompt.request().fields.items()
            if name in ("model", "messages") or name not in _NOT_MEANT
        }
    fields["messages"] = [*fields["messages"], {"role": "user", "content": task_of(policy.summary_tokens)}]
    if policy.model:
        fields["model"] = policy.model
    return json_request(CHAT, fields | dict(more))
