"""What a dialect cannot carry of a request that came in another one, row by row: what becomes of it, as a function,
and how the caller is told. The page docs/conformance.md shows these rows, and the differential run holds them to it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from headgate.core.chat_request import (
    AudioPart,
    ChatRequest,
    Choice,
    FilePart,
    ForeignItem,
    ForeignPart,
    Format,
    Function,
    ImagePart,
    Item,
    Message,
    Part,
    RefusalPart,
    TextPart,
    Thinking,
    ToolCall,
    ToolResult,
)

Change = Callable[[ChatRequest], ChatRequest]
ALL = frozenset(("chat", "messages", "responses"))
BUDGETS = {"none": 0, "minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 60000}


@dataclass(frozen=True)
class Row:
    """`what` becomes `instead`. `told`: a pattern of the paths in the header that say so; empty where the request means
    the same as before. `of`: the dialects in which it occurs.
    """

    what: str
    instead: str
    change: Change
    told: str = ""
    of: frozenset[str] = ALL

    def is_told_in(self, lost: Iterable[str]) -> bool:
        return not self.told or any(re.fullmatch(self.told, path) for path in lost)


def over_items(change: Callable[[Item], Iterable[Item]]) -> Change:
    """A change of the conversation, item by item."""
    return lambda request: replace(request, items=tuple(new for item in request.items for new in change(item)))


def over_parts(change: Callable[[Part], Part | None]) -> Change:
    """A change of the parts of messages and results; None leaves one out."""

    def changed(item: Item) -> Iterable[Item]:
        if not isinstance(item, Message | ToolResult):
            return [item]
        parts = tuple(new for part in item.parts if (new := change(part)) is not None)
        return [replace(item, parts=parts)]

    return over_items(changed)


def without(*kinds: type) -> Change:
    return over_parts(lambda part: None if isinstance(part, kinds) else part)


def put(**fields: Any) -> Change:
    return lambda request: replace(request, **fields)


def over_functions(change: Callable[[Function], Function]) -> Change:
    return lambda request: replace(
        request, tools=tuple(change(tool) if isinstance(tool, Function) else tool for tool in request.tools)
    )


def _nameless(item: Item) -> Iterable[Item]:
    return [replace(item, name="") if isinstance(item, Message) else item]


def _tolerant(item: Item) -> Iterable[Item]:
    return [replace(item, failed=False) if isinstance(item, ToolResult) else item]


def _unsigned(item: Item) -> Iterable[Item]:
    if not isinstance(item, Thinking) or not item.signature:
        return [item]
    return [replace(item, signature="")]


def _proven(item: Item) -> Iterable[Item]:
    """Thoughts that Anthropic takes back: signed, or sealed by itself."""
    is_known = not isinstance(item, Thinking) or item.signature or item.sealed[:5] not in ("", "gAAAA")
    return [item] if is_known else []


def _developer_as_system(item: Item) -> Iterable[Item]:
    return [replace(item, role="system") if isinstance(item, Message) and item.role == "developer" else item]


def _system_in_front(request: ChatRequest) -> ChatRequest:
    told = [one for one in request.items if isinstance(one, Message) and one.role in ("system", "developer")]
    rest = tuple(one for one in request.items if one not in told)
    parts = tuple(part for one in told for part in one.parts)
    return replace(request, items=(Message("system", parts), *rest) if parts else rest)


def _pictures_behind(request: ChatRequest) -> ChatRequest:
    items: list[Item] = []
    waiting: list[Part] = []

    def show() -> None:
        if waiting:
            items.append(Message("user", (TextPart("Pictures that the tools gave back:"), *waiting)))
            waiting.clear()

    for item in request.items:
        if not isinstance(item, ToolResult):
            show()
            items.append(item)
            continue
        shown = [part for part in item.parts if not isinstance(part, TextPart)]
        texts = [part for part in item.parts if isinstance(part, TextPart)]
        waiting += shown
        if shown and not texts:
            texts = [TextPart("The tool gave back what is shown below.")]
        items.append(replace(item, parts=tuple(texts)))
    show()
    return replace(request, items=tuple(items))


def _calls_last(request: ChatRequest) -> ChatRequest:
    """A chat message has its thoughts, then its words, then its calls; behind a call no other one may begin."""
    items: list[Item] = []
    thoughts: list[Item] = []
    said: list[Message] = []
    calls: list[Item] = []

    def close() -> None:
        items.extend(thoughts)
        if said:
            items.append(replace(said[0], parts=tuple(part for one in said for part in one.parts)))
        items.extend(calls)
        for kind in (thoughts, said, calls):
            kind.clear()

    for item in request.items:
        is_word = isinstance(item, Message) and item.role == "assistant"
        if (is_word or isinstance(item, Thinking)) and said and not calls:
            close()
        if isinstance(item, Message) and is_word:
            said.append(item)
        elif isinstance(item, Thinking):
            thoughts.append(item)
        elif isinstance(item, ToolCall):
            calls.append(item)
        else:
            close()
            items.append(item)
    close()
    return replace(request, items=tuple(items))


def _refusal_as_text(part: Part) -> Part:
    return TextPart(part.text) if isinstance(part, RefusalPart) else part


def _undetailed(part: Part) -> Part:
    return replace(part, detail="") if isinstance(part, ImagePart) and part.detail in ("low", "high") else part


def _automatic(part: Part) -> Part:
    return replace(part, detail="") if isinstance(part, ImagePart) and part.detail == "auto" else part


def _unkept(part: Part) -> Part | None:
    return None if isinstance(part, FilePart) and not part.url else part


def _empty_left_out(request: ChatRequest) -> ChatRequest:
    return replace(request, items=tuple(one for one in request.items if not isinstance(one, Message) or one.parts))


def _object_schema(tool: Function) -> Function:
    return replace(tool, schema={"type": "object", **(tool.schema or {})})


def _allowed_only(request: ChatRequest) -> ChatRequest:
    choice = request.choice
    if choice is None or not choice.among:
        return request
    tools = tuple(tool for tool in request.tools if isinstance(tool, Function) and tool.name in choice.among)
    return replace(request, tools=tools, choice=replace(choice, among=()))


def _known_tools(request: ChatRequest) -> ChatRequest:
    tools = tuple(tool for tool in request.tools if isinstance(tool, Function))
    return replace(request, tools=tools) if tools else replace(request, tools=(), choice=None, parallel=None)


def _functions_alone(request: ChatRequest) -> ChatRequest:
    return replace(request, tools=tuple(one for one in request.tools if isinstance(one, Function)))


def _named_schema(request: ChatRequest) -> ChatRequest:
    form = request.format
    if form is None or form.schema is None or form.name:
        return request
    return replace(request, format=replace(form, name="answer"))


def _schema_alone(request: ChatRequest) -> ChatRequest:
    form = request.format
    return replace(request, format=Format(form.schema) if form is not None and form.schema is not None else form)


def _described(request: ChatRequest) -> ChatRequest:
    return request if request.format is None else replace(request, format=replace(request.format, description=""))


def _of_a_schema(request: ChatRequest) -> ChatRequest:
    return request if request.format is None or request.format.schema is not None else replace(request, format=None)


def _budget_as_effort(request: ChatRequest) -> ChatRequest:
    if request.thinks is None:
        return request
    least = next((name for name, tokens in BUDGETS.items() if request.thinks <= tokens), "max")
    return replace(request, thinks=None, effort=request.effort or least)  # type: ignore[arg-type]


def _effort_of_most(request: ChatRequest) -> ChatRequest:
    return replace(request, effort="xhigh") if request.effort == "max" else request


def _parallel_of_anthropic(request: ChatRequest) -> ChatRequest:
    """Only that calls may not be parallel is said there, and within the choice."""
    if request.parallel is not False or (request.choice is not None and request.choice.mode == "none"):
        return replace(request, parallel=None)
    return replace(request, choice=request.choice or Choice())


def _no_foreign_items(item: Item) -> Iterable[Item]:
    return [] if isinstance(item, ForeignItem) else [item]


def _not_strict(tool: Function) -> Function:
    return replace(tool, strict=bool(tool.strict))


def same(request: ChatRequest) -> ChatRequest:
    return request


_FORMAT = r"response_format|text\.format"
_FOREIGN = "parts that only the other dialect knows"
_LEFT_OUT = "left out"
_OF_MESSAGES, _OF_RESPONSES, _OF_CHAT = frozenset(("messages",)), frozenset(("responses",)), frozenset(("chat",))
_ITEMS = r"(messages|input)\[\]"
_FOREIGN_TOOLS = "tools that only the other dialect knows"
_FOREIGN_CALLS = "calls of such tools, and their results"
_ROWS = {
    "chat": (
        Row(_FOREIGN, _LEFT_OUT, without(ForeignPart), rf"{_ITEMS}\.content\[\]\..+"),
        Row(_FOREIGN_TOOLS, _LEFT_OUT, _known_tools, r"tools\[\d+\]"),
        Row(_FOREIGN_CALLS, _LEFT_OUT, over_items(_no_foreign_items), rf"{_ITEMS}\..+"),
        Row("the role `developer`", "`system`, which every server knows", over_items(_developer_as_system)),
        Row(
            "that a tool failed",
            "left out; its text stays",
            over_items(_tolerant),
            rf"{_ITEMS}\.is_error",
            _OF_MESSAGES,
        ),
        Row(
            "pictures and files in the results of tools",
            "a message of the user behind all results, since most servers take text alone from tools",
            _pictures_behind,
        ),
        Row("the limit to some of the tools", "the others are not offered", _allowed_only, of=_OF_RESPONSES),
        Row("a budget of thinking", "the least effort that stands for as much", _budget_as_effort, of=_OF_MESSAGES),
        Row("a schema without a name", "is called `answer`", _named_schema),
        Row("words and thoughts behind a call", "stand in one message with it, in front of the calls", _calls_last),
    ),
    "messages": (
        Row(_FOREIGN, _LEFT_OUT, without(ForeignPart), rf"{_ITEMS}\.content\[\]\..+"),
        Row(_FOREIGN_TOOLS, _LEFT_OUT, _known_tools, r"tools\[\d+\]"),
        Row(_FOREIGN_CALLS, _LEFT_OUT, over_items(_no_foreign_items), rf"{_ITEMS}\..+"),
        Row("names of participants", _LEFT_OUT, over_items(_nameless), rf"{_ITEMS}\.name", _OF_CHAT),
        Row("sound", _LEFT_OUT, without(AudioPart), rf"{_ITEMS}\.content\[\]\.input_audio"),
        Row("files that the provider keeps", _LEFT_OUT, over_parts(_unkept), rf"{_ITEMS}\.content\[\]\.file"),
        Row("the detail of pictures, `low` or `high`", _LEFT_OUT, over_parts(_undetailed), rf"{_ITEMS}\..*\.detail"),
        Row("the detail `auto`", "not said", over_parts(_automatic)),
        Row("refusals in the conversation", "texts", over_parts(_refusal_as_text)),
        Row("system and developer messages", "all in front, as `system`", _system_in_front),
        Row(
            "thoughts without a signature, or sealed by OpenAI",
            "left out, since the API refuses them",
            over_items(_proven),
            rf"{_ITEMS}\.reasoning",
        ),
        Row("messages that nothing is left of", _LEFT_OUT, _empty_left_out),
        Row("messages of one role that follow each other then", "may be one", same),
        Row("ids of calls with other letters than the API takes", "spelled otherwise, and read back", same),
        Row("arguments of calls that are no JSON object", "stand in one, as `arguments`", same),
        Row("the limit to some of the tools", "the others are not offered", _allowed_only),
        Row("tools without a schema", "take an object", over_functions(_object_schema)),
        Row("that calls may be parallel", "not said; that they may not, is", _parallel_of_anthropic),
        Row("JSON of any schema", _LEFT_OUT, _of_a_schema, _FORMAT),
        Row("the description of a schema", _LEFT_OUT, _described, rf"({_FORMAT})\.description"),
        Row("name and strictness of a schema", "not said; schemas are always strict", _schema_alone),
        Row("no bound on the answer", "8,192 tokens, and those of thinking, for the API demands one", same),
        Row("an effort", "a budget of thinking below the bound on the answer; named where it may not think", same),
        Row("a temperature above 1, or beside thinking", "1, or left out; named", same),
    ),
    "responses": (
        Row(_FOREIGN, _LEFT_OUT, without(ForeignPart), rf"{_ITEMS}\.content\[\]\..+"),
        Row(_FOREIGN_TOOLS, _LEFT_OUT, _functions_alone, r"tools\[\d+\]"),
        Row(_FOREIGN_CALLS, _LEFT_OUT, over_items(_no_foreign_items), rf"{_ITEMS}\..+"),
        Row("names of participants", _LEFT_OUT, over_items(_nameless), rf"{_ITEMS}\.name", _OF_CHAT),
        Row(
            "that a tool failed",
            "left out; its text stays",
            over_items(_tolerant),
            rf"{_ITEMS}\.is_error",
            _OF_MESSAGES,
        ),
        Row("signatures of thoughts", "left out; the thoughts stay", over_items(_unsigned), rf"{_ITEMS}\.signature"),
        Row("sequences that stop the model", _LEFT_OUT, put(stop=()), "stop"),
        Row("`top_k`", _LEFT_OUT, put(top_k=None), "top_k"),
        Row("a budget of thinking", "the least effort that stands for as much", _budget_as_effort),
        Row("the effort `max`", "`xhigh`", _effort_of_most),
        Row("tools that do not say whether they are strict", "not strict", over_functions(_not_strict)),
        Row("a schema without a name", "is called `answer`", _named_schema, of=_OF_MESSAGES),
    ),
}
ROWS = tuple(row for rows in _ROWS.values() for row in rows)


def rows_of(caller: str, upstream: str) -> tuple[Row, ...]:
    """What a request loses on its way from a caller to an upstream."""
    return () if caller == upstream else tuple(row for row in _ROWS[upstream] if caller in row.of)


def bare(request: ChatRequest) -> ChatRequest:
    """A request without what belongs to one dialect alone, and without differences that mean nothing."""
    items = tuple(_bare(item) for item in request.items)
    tools = tuple(replace(tool, beside={}) if isinstance(tool, Function) else tool for tool in request.tools)
    choice = replace(request.choice, beside={}) if request.choice is not None else None
    return replace(request, dialect="", items=items, tools=tools, choice=choice, beside={})


def _bare(item: Item) -> Item:
    match item:
        case Message(parts=parts) | ToolResult(parts=parts):
            kept = tuple(_bare_part(part) for part in parts if part != TextPart(""))
            return replace(item, parts=kept, beside={})
        case ToolCall(arguments=arguments):
            return replace(item, arguments=orjson.dumps(orjson.loads(arguments)).decode(), beside={})
        case Thinking():
            return replace(item, beside={})
    return item


def _bare_part(part: Part) -> Part:
    return part if isinstance(part, RefusalPart | ForeignPart) else replace(part, beside={})


def told_beside(beside: Mapping[str, Any], fields: Mapping[str, Any], lost: Iterable[str]) -> set[str]:
    """Fields beside a request that were neither carried nor told as lost: there must be none."""
    said = orjson.dumps(fields).decode()
    kept = {name for name in beside if f'"{name}"' in said or (name == "logprobs" and "output_text.logprobs" in said)}
    told = {path.partition("[")[0] for path in lost}
    return {name for name in beside if name not in kept | told}


def joined(request: ChatRequest) -> ChatRequest:
    """With messages of one role that follow each other put together."""
    items: list[Item] = []
    for item in request.items:
        last = items[-1] if items else None
        if isinstance(item, Message) and isinstance(last, Message) and item.role == last.role:
            items[-1] = replace(last, parts=last.parts + item.parts)
        else:
            items.append(item)
    return replace(request, items=tuple(items))
