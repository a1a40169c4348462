"""Responses that another process left, taken up from what is stored of them."""

from dataclasses import replace

import orjson

from headgate.conversations.items import kept_of, retold_of, told_of, with_results
from headgate.conversations.types import StoredRun
from headgate.core.run import Run
from headgate.core.surfaces import RESPONSES
from headgate.dialects.responses_items import parse_items
from headgate.pipeline.asking import standing
from headgate.pipeline.claim import LEASE_SECONDS, Claim
from headgate.pipeline.context import Deps
from headgate.pipeline.placing import request_of
from headgate.pipeline.referring import with_referred
from headgate.pipeline.responding import ResponseTurn


async def again(left: StoredRun, run: Run, holder: str, deps: Deps) -> ResponseTurn:
    """A turn that another process left, from what is stored of it."""
    state, scribe = deps.state, deps.scribe
    assert state is not None
    assert scribe is not None
    claim = Claim(deps, run, left.owner, holder)
    head = await state.heads.get(left.conversation, left.owner)
    await state.runs.release(head, left.holder)
    await state.runs.hold(head, holder, LEASE_SECONDS)
    fields = run.asked or {}
    before = [one.data for one in await state.heads.told(replace(head, segment=left.segment, depth=left.base))]
    claim.have(head, (), is_held=True)
    claim.stored, claim.is_begun = left, True
    given = await with_referred(fields.get("input"), before, left.owner, state)
    added = with_results(before, kept_of(parse_items(given, told_of(before))))
    made = request_of(RESPONSES, fields, [*retold_of(before), *retold_of(added)], stream=True)
    turn = ResponseTurn(left.id, claim, scribe, fields, made, added, True, True)
    turn.resource = dict(left.response or {})
    kept = [one for one in await state.heads.latest(head) if one.run == left.id]
    if kept:
        turn.was_kept = True
        turn.earlier = [dict(one.data) for one in reversed(kept)][len(added) :]
    turn.renew()
    return turn


async def finish(turn: ResponseTurn) -> None:
    """Say that a turn is complete whose items are kept."""
    claim = turn.claim
    assert claim.stored is not None
    response = {**turn.resource, "status": "completed", "output": turn.earlier}
    turn.telling.number = claim.stored.events
    told = {"type": "response.completed", "sequence_number": claim.stored.events, "response": response}
    event, base = turn.telling.next(orjson.dumps(told)), claim.head.depth - len(turn.earlier)
    change, segment = claim.state.runs.change, claim.head.segment
    status = standing("completed", turn.earlier)
    await change(claim.stored, status, response=response, told=[event], segment=segment, base=base)
    turn.is_over = True
    await turn.leave()
