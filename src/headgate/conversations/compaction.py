"""What a compaction covers, and what takes its place. Pure: knows no model, no store and no clock.

The leading system messages stay where they are. After them comes the summary, then the user's own words as far as
there is room for them, then the last turns. A call stays with its result, on one side or the other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from headgate.conversations.items import COMPACTED
from headgate.conversations.policy import Policy
from headgate.conversations.types import Item, new_id

HEADINGS = ("Goal", "Constraints", "Done", "Decisions", "Facts", "Open items", "Lookup hints")
BYTES_PER_TOKEN = 4
_ITEM_TOKENS = 4
_IMAGE_TOKENS = 1000
_UNTOLD = frozenset(("id", "type", "status", "role", "annotations", "logprobs", "created_by", "server_label"))
_INSTRUCTING = ("system", "developer")
_ROOMY = 0.6
"""Share of the room that a conversation should not fill when it has just been compacted."""
_LEAST_GAIN = 0.05
_LONGEST_SAID, _LONGEST_RESULT, _LONGEST_ARGUMENTS = 400, 200, 160
PLACE = "\n\n(It stands for"


class Plan(NamedTuple):
    """`dropped` are the items that are told no longer; `sent` those up to where the last turns begin, as told now.

    `covers` and `keeps` as in a Segment; `gain` is how many tokens fewer are told, before there is a summary.
    """

    covers: tuple[int, int]
    keeps: tuple[int, ...]
    dropped: tuple[Item, ...]
    sent: tuple[Item, ...]
    gain: int


def weight(data: Mapping[str, Any]) -> int:
    """An estimate of the tokens of an item."""
    return _ITEM_TOKENS + _size(data) // BYTES_PER_TOKEN


def weights(told: Iterable[Item]) -> int:
    return sum(weight(one.data) for one in told)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return _IMAGE_TOKENS * BYTES_PER_TOKEN if value.startswith("data:") else len(value.encode())
    if isinstance(value, Mapping):
        return sum(_size(one) for name, one in value.items() if name not in _UNTOLD)
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return 0


def plan_of(told: Sequence[Item], policy: Policy, room: int = 0, *, strict: bool = False) -> Plan | None:
    """What to cover of a conversation as it is told; None where there is nothing.

    `room` is how many tokens it may have, 0 if nobody knows. Fewer turns are kept where as many would fill it, unless
    it is `strict`.
    """
    start = next((at for at, one in enumerate(told) if one.data.get("role") not in _INSTRUCTING), len(told))
    begins = [at for at, _ in enumerate(told) if at >= start and _begins_turn(told, at)]
    budget = min(policy.user_text_tokens, room // 4) if room else policy.user_text_tokens
    plan: Plan | None = None
    whole = weights(told)
    for kept in range(policy.keep_turns, policy.keep_turns - 1 if strict else 0, -1):
        if len(begins) < kept:
            continue
        found = _covering(told, start, _unsplit(told, begins[-kept]), budget)
        plan = found or plan
        if strict or not room or (found is not None and whole - found.gain <= room * _ROOMY):
            return found
    if room and not strict and (plan is None or whole - plan.gain > room):
        inside = _covering(told, start, _unsplit(told, _inside(told, start, room)), budget)
        plan = max(filter(None, (plan, inside)), key=lambda one: one.gain, default=None)
    return plan


def is_worth(plan: Plan | None, room: int) -> bool:
    """Whether a compaction that nobody asked for gains enough."""
    return plan is not None and plan.gain >= room * _LEAST_GAIN


def _begins_turn(told: Sequence[Item], at: int) -> bool:
    """The last of several messages of the user: those before it are words that an earlier compaction kept."""
    return _is_user(told[at]) and not (at + 1 < len(told) and _is_user(told[at + 1]))


def _is_user(item: Item) -> bool:
    return item.data.get("role") == "user"


def _inside(told: Sequence[Item], start: int, room: int) -> int:
    """Where to cut through a turn that is too long by itself: behind that, a third of the room is filled."""
    at, left = len(told), room // 3
    while at > start and (left := left - weight(told[at - 1].data)) >= 0:
        at -= 1
    return at


def _unsplit(told: Sequence[Item], cut: int) -> int:
    """The same place or an earlier one, at which no call stands before it whose result does, or may yet, come after."""
    opened: dict[str, int] = {}
    ends: dict[int, int] = {}
    for at, one in enumerate(told):
        data = one.data
        if name := str(data.get("call_id") or data.get("approval_request_id") or ""):
            begun = opened.setdefault(name, at)
            if begun != at:
                ends[begun] = at
        elif data.get("type") == "mcp_approval_request":
            opened[one.id] = at
    last = max((at for at, _ in enumerate(told) if _is_user(told[at])), default=0)
    for at in opened.values():
        if at not in ends and at > last:
            ends[at] = len(told)
    for begun, end in sorted(ends.items(), reverse=True):
        if begun < cut <= end:
            cut = begun
    while 0 < cut < len(told) and told[cut - 1].data.get("type") == "reasoning":  # thoughts belong to what follows them
        cut -= 1
    return cut


def _covering(told: Sequence[Item], start: int, cut: int, budget: int) -> Plan | None:
    if cut <= start:
        return None
    kept = _words_that_stay(told[start:cut], budget)
    dropped = tuple(one for one in told[start:cut] if one.position not in kept)
    if all(is_summary(one) for one in dropped):
        return None
    first = told[start - 1].position + 1 if start else 1
    last = max(one.position for one in told[start:cut])
    keeps = kept | {one.position for one in told[cut:] if one.position <= last}
    return Plan((first, last), tuple(sorted(keeps)), dropped, tuple(told[:cut]), weights(dropped))


def _words_that_stay(old: Sequence[Item], budget: int) -> set[int]:
    """Positions of instructions, and of the user's messages, the newest first; what is too long is passed over."""
    kept = {one.position for one in old if one.data.get("role") in _INSTRUCTING}
    for one in reversed(old):
        if _is_user(one) and (size := weight(one.data)) <= budget:
            budget -= size
            kept.add(one.position)
    return kept


def is_summary(item: Item) -> bool:
    return item.data.get("type") == "compaction"


def summary_item(text: str) -> dict[str, Any]:
    """A summary as an item."""
    return {
        "id": new_id("cmp"),
        "type": "compaction",
        "status": "completed",
        "encrypted_content": COMPACTED + text,
        "created_by": "headgate",
    }


def task_of(tokens: int) -> str:
    """What the model is told behind the conversation that it has to sum up."""
    headings = "\n".join(f"## {one}" for one in HEADINGS)
    return f"""\
The conversation above becomes too long and is replaced by your summary. Whoever goes on with it sees your summary, \
some of the user's own messages and what follows, and nothing else.
Write it in the language of the conversation, under exactly these headings:
{headings}
Goal: what the user wants. Constraints: what must or must not be done. Done: what was done, and what came of it. \
Decisions: what was decided and why; of what was changed later, only what holds now, with a note that it changed. \
Facts: every identifier, name, number, date, path, address and value that may still matter, letter by letter. \
Open items: what remains, and questions without an answer. Lookup hints: words by which to search the whole \
conversation for what you left out. Write "None" under a heading that has nothing. If there is an earlier summary \
above, merge it into yours: nothing that still holds may be lost.
Answer with the summary alone, in at most {tokens * 3 // 4} words, and call no tool."""


def with_place(text: str, plan: Plan) -> str:
    """A summary that says what it stands for."""
    first, last = plan.covers
    return f"{text.strip()}{PLACE} items {first} to {last} of this conversation, which are all kept.)"


def trimmed(plan: Plan) -> str:
    """What takes the place of items that are left out without a summary."""
    earlier = [text_of(one.data).partition(PLACE)[0] for one in plan.dropped if is_summary(one)]
    note = f"{len(plan.dropped) - len(earlier)} earlier items of this conversation are left out here."
    return "\n\n".join((*earlier, note))


def line_of(item: Item, longest: Callable[[str], int] | None = None) -> str:
    """An item on one line, with its position; empty for thoughts. `longest(kind)` is how long a text may be."""
    data, kind = item.data, str(item.data.get("type"))
    limit = longest or {"said": _LONGEST_SAID, "result": _LONGEST_RESULT, "arguments": _LONGEST_ARGUMENTS}.__getitem__
    if kind == "reasoning":
        return ""
    if kind in ("function_call", "mcp_call"):
        told = f"called {data.get('name')}({cut(str(data.get('arguments') or ''), limit('arguments'))})"
        if kind == "mcp_call":
            told += f": {cut(str(data.get('output') or data.get('error') or ''), limit('result'))}"
    elif kind == "function_call_output":
        told = f"result: {cut(text_of(data), limit('result'))}"
    else:
        who = "summary" if kind == "compaction" else data.get("role") or kind
        told = f"{who}: {cut(text_of(data), limit('said'))}"
    return f"[{item.position}] {told}"


def text_of(data: Mapping[str, Any]) -> str:
    """All that an item says."""
    kind = data.get("type")
    if kind == "compaction":
        return str(data.get("encrypted_content") or "").removeprefix(COMPACTED)
    if kind in ("function_call", "mcp_call"):
        said = (data.get("name"), data.get("arguments"), data.get("output"), data.get("error"))
        return " ".join(str(one) for one in said if one)
    content = data.get("output") if kind == "function_call_output" else data.get("content") or data.get("summary")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(one.get("text") or one.get("refusal") or "") for one in content if isinstance(one, dict))
    return orjson.dumps(dict(data)).decode() if content is None and "content" not in data else ""


def cut(text: str, longest: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[:longest]} [...]"
