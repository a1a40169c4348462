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
    """`what` becomes `instead` in the dialect `into`. `told`: the paths in the header that say so; empty where the
    request means the same as before. `of`: the dialects in which it occurs.
    """

    into: str
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


def _refusal_as_text(part: Part) -> Part:
    return TextPart(part.text) if isinstance(part, RefusalPart) else part


def _undetailed(part: Part) -> Part:
    return replace(part, detail="") if isinstance(part, ImagePart) else part


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


def _same(request: ChatRequest) -> ChatRequest:
    return request


_FORMAT = r"response_format|text\.format"
_FOREIGN = "parts that only the other dialect knows"
ROWS = (
    Row("chat", _FOREIGN, "left out", without(ForeignPart), r".*\[\]\..+"),
    Row("chat", "tools that only the other dialect knows", "left out", _known_tools, r"tools\[\d+\]"),
    Row("chat", "calls of such tools, and their results", "left out", over_items(_no_foreign_items), r"messages.*"),
    Row("chat", "the role `developer`", "`system`, which every server knows", over_items(_developer_as_system)),
    Row("chat", "that a tool failed", "left out; its text stays", over_items(_tolerant), r"messages\[\]\.is_error"),
    Row(
        "chat",
        "pictures and files in the results of tools",
        "a message of the user behind all results, since most servers take text alone from tools",
        _pictures_behind,
    ),
    Row("chat", "the limit to some of the tools", "the other tools are not offered", _allowed_only),
    Row("chat", "a budget of thinking", "the smallest effort that stands for as much", _budget_as_effort),
    Row("chat", "a schema without a name", "is called `answer`", _named_schema),
    Row("chat", "words and thoughts behind a call", "stand in one message with it, in front of the calls", _same),
    Row("messages", _FOREIGN, "left out", without(ForeignPart), r".*\[\]\..+"),
    Row("messages", "tools that only the other dialect knows", "left out", _known_tools, r"tools\[\d+\]"),
    Row("messages", "calls of such tools, and their results", "left out", over_items(_no_foreign_items), r".+"),
    Row("messages", "names of participants", "left out", over_items(_nameless), r".*\.name"),
    Row("messages", "sound", "left out", without(AudioPart), r".*input_audio"),
    Row("messages", "files that the provider keeps", "left out", over_parts(_unkept), r".*\.file"),
    Row("messages", "the detail of pictures", "left out (`auto` without being told)", over_parts(_undetailed)),
    Row("messages", "refusals in the conversation", "texts", over_parts(_refusal_as_text)),
    Row("messages", "system and developer messages", "all in front, as `system`", _system_in_front),
    Row(
        "messages",
        "thoughts without a signature, or sealed by OpenAI",
        "left out, since the API refuses them",
        over_items(_proven),
        r".*\.reasoning",
    ),
    Row("messages", "messages that nothing is left of", "left out", _empty_left_out),
    Row("messages", "messages of one role that follow each other then", "may be one", _same),
    Row("messages", "ids of calls with other letters than the API takes", "spelled otherwise, and read back", _same),
    Row("messages", "arguments of calls that are no JSON object", "stand in one, as `arguments`", _same),
    Row("messages", "the limit to some of the tools", "the other tools are not offered", _allowed_only),
    Row("messages", "tools without a schema", "take an object", over_functions(_object_schema)),
    Row("messages", "that calls may be parallel", "not said; that they may not, is", _parallel_of_anthropic),
    Row("messages", "JSON of any schema", "left out", _of_a_schema, _FORMAT),
    Row("messages", "the description of a schema", "left out", _described, rf"({_FORMAT})\.description"),
    Row("messages", "name and strictness of a schema", "not said; schemas are always strict", _schema_alone),
    Row("messages", "no bound on the answer", "8,192 tokens, and those of thinking, for the API demands one", _same),
    Row("messages", "an effort", "a budget of thinking below the bound on the answer, where it may think", _same),
    Row("messages", "a temperature above 1, or with thinking", "1, or left out", _same),
    Row("responses", _FOREIGN, "left out", without(ForeignPart), r"input\[.*"),
    Row(
        "responses",
        "tools that only the other dialect knows",
        "left out",
        lambda request: replace(request, tools=tuple(one for one in request.tools if isinstance(one, Function))),
        r"tools\[\d+\]",
    ),
    Row("responses", "calls of such tools, and their results", "left out", over_items(_no_foreign_items), r"input.*"),
    Row("responses", "names of participants", "left out", over_items(_nameless), r"input\[.*\.name"),
    Row("responses", "that a tool failed", "left out; its text stays", over_items(_tolerant), r"input\[.*"),
    Row("responses", "signatures of thoughts", "left out; the thoughts stay", over_items(_unsigned), r".*signature"),
    Row("responses", "sequences that stop the model", "left out", put(stop=()), "stop"),
    Row("responses", "`top_k`", "left out", put(top_k=None), "top_k"),
    Row("responses", "a budget of thinking", "the smallest effort that stands for as much", _budget_as_effort),
    Row("responses", "the effort `max`", "`xhigh`", _effort_of_most),
    Row("responses", "tools that do not say whether they are strict", "not strict", over_functions(_not_strict)),
    Row("responses", "a schema without a name", "is called `answer`", _named_schema),
)


def rows_of(caller: str, upstream: str) -> tuple[Row, ...]:
    """What a request loses on its way from a caller to an upstream."""
    return () if caller == upstream else tuple(row for row in ROWS if row.into == upstream and caller in row.of)


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
