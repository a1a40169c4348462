"""Requests as they can be said in a dialect: conversations with texts, pictures, thoughts, refusals, parallel calls."""

import string
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import strategies as st

from headgate.core.chat_request import (
    AudioPart,
    ChatRequest,
    Choice,
    FilePart,
    ForeignItem,
    ForeignPart,
    ForeignTool,
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

EXAMPLES = 30
"""How many of them a test tries; many more with `--long`."""
PICTURE = "data:image/png;base64,iVBORw0KGgo="
DOCUMENT = "data:application/pdf;base64,JVBERi0="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FOREIGN_PARTS: dict[str, dict[str, Any]] = {
    "chat": {"type": "video_url", "video_url": {"url": "https://example.org/v"}},
    "messages": {"type": "search_result", "source": "https://example.org", "title": "A", "content": []},
    "responses": {"type": "input_image", "file_id": "file-1"},
}
FOREIGN_TOOLS: dict[str, dict[str, Any]] = {
    "chat": {"type": "custom", "custom": {"name": "patch"}},
    "messages": {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
    "responses": {"type": "web_search", "search_context_size": "low"},
}
FOREIGN_ITEMS: dict[str, dict[str, Any]] = {
    "chat": {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "x"}},
    "messages": {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
    "responses": {"type": "web_search_call", "id": "ws_1", "status": "completed"},
}
BESIDE: dict[str, dict[str, Any]] = {
    "chat": {
        "seed": 7,
        "logit_bias": {"50256": -100},
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "n": 2,
        "prompt_cache_key": "k",
        "verbosity": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "presence_penalty": 0.5,
        "modalities": ["text"],
        "safety_identifier": "s",
        "web_search_options": {"search_context_size": "low"},
    },
    "messages": {
        "service_tier": "standard_only",
        "container": "container_1",
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "mcp_servers": [{"type": "url", "url": "https://example.org/mcp", "name": "a"}],
        "inference_geo": "eu",
    },
    "responses": {
        "metadata": {"a": "b"},
        "service_tier": "priority",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "verbosity": "high",
        "top_logprobs": 3,
        "logprobs": True,
        "truncation": "auto",
        "max_tool_calls": 4,
        "client_metadata": {"x": "y"},
        "reasoning.summary": "auto",
        "include": ["web_search_call.action.sources"],
    },
}
"""Fields that a dialect has besides; each may stand in a request with this value."""

words = st.text(string.ascii_letters + ' é😀\n"\\<>', min_size=1, max_size=12).map(lambda text: f"w{text}")
addresses = st.sampled_from([PICTURE, "https://example.org/a.png"])
names = st.sampled_from(["get_weather", "get_time", "list_files"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(words, values, max_size=3).map(lambda told: orjson.dumps(told).decode())
texts = st.builds(TextPart, words)
details = st.sampled_from(["", "low", "high", "auto"])


def pictures(dialect: str) -> st.SearchStrategy[Part]:
    detail = st.just("") if dialect == "messages" else details
    return st.builds(ImagePart, addresses, detail)


def parts_of_users(dialect: str) -> st.SearchStrategy[Part]:
    """What somebody may send."""
    files: st.SearchStrategy[Part] = st.builds(FilePart, st.just(DOCUMENT), name=st.sampled_from(["", "a.pdf"]))
    kinds = [texts, texts, pictures(dialect), files, st.just(ForeignPart(FOREIGN_PARTS[dialect]))]
    if dialect != "messages":
        kinds.append(st.just(AudioPart("UklGRg==", "wav")))
    if dialect != "responses":
        kinds.append(st.just(TextPart("kept", {"cache_control": {"type": "ephemeral"}})))
    kinds.append(st.just(FilePart("", "file-1")))
    return st.one_of(kinds)


def thoughts(dialect: str) -> st.SearchStrategy[list[Thinking]]:
    """Anthropic signs or seals each of its thoughts; elsewhere there is one, told or sealed."""
    signed = st.builds(Thinking, words, st.just("EqQB"))
    sealed = st.just(Thinking(sealed="Emw"))
    if dialect == "messages":
        return st.lists(signed | sealed, max_size=2)
    if dialect == "responses":
        return st.lists(st.builds(Thinking, words, sealed=st.sampled_from(["", "gAAAAAB"])) | signed, max_size=2)
    return st.lists(st.builds(Thinking, words), max_size=1) | st.lists(signed | sealed, max_size=2)


def results(dialect: str) -> st.SearchStrategy[tuple[tuple[Part, ...], bool]]:
    """What tools give back, and whether they failed."""
    said: st.SearchStrategy[Part] = texts if dialect == "chat" else texts | pictures(dialect)
    failed = st.booleans() if dialect == "messages" else st.just(False)
    return st.tuples(st.lists(said, min_size=1, max_size=2).map(tuple), failed)


@st.composite
def turns(draw: st.DrawFn, dialect: str, number: int) -> list[Item]:
    """Somebody asks; the model thinks, speaks and calls; the tools answer, and the model again."""
    name = draw(st.sampled_from(["", "anna"])) if dialect == "chat" else ""
    asked: list[Item] = [Message("user", tuple(draw(st.lists(parts_of_users(dialect), min_size=1, max_size=3))), name)]
    spoken: list[Item] = [*draw(thoughts(dialect))]
    said: list[Part] = draw(st.lists(texts, max_size=2))
    if dialect != "messages" and draw(st.booleans()):
        said.append(RefusalPart("I can't."))
    calls = [
        ToolCall(f"call_{number}.{at}" if dialect != "messages" else f"toolu_{number}{at}", called, told)
        for at, (called, told) in enumerate(draw(st.lists(st.tuples(names, arguments), max_size=3)))
    ]
    if said or not (spoken or calls):
        spoken.append(Message("assistant", tuple(said) or (TextPart("So be it."),)))
    made: list[Item] = [*spoken, *calls]
    if dialect != "chat":
        made = draw(st.permutations(made))  # thoughts, words and calls come in any order there
    answered: list[Item] = [ToolResult(call.id, *draw(results(dialect))) for call in calls]
    goes_on = draw(st.booleans())
    after: list[Item] = [Message("assistant", (TextPart("Done."),))] if calls and goes_on else []
    return [*asked, *made, *answered, *after]


def _systems(dialect: str) -> st.SearchStrategy[list[Item]]:
    roles = ["system"] if dialect == "messages" else ["system", "developer"]
    one = st.builds(Message, st.sampled_from(roles), st.lists(texts, min_size=1, max_size=2).map(tuple))
    return st.lists(one, max_size=1)


@st.composite
def tools(draw: st.DrawFn, dialect: str) -> tuple[Function | ForeignTool, ...]:
    """Some of the functions by their names, and one that only the dialect knows."""
    listed: list[Function | ForeignTool] = [
        Function(name, draw(st.sampled_from(["", "What it does."])), SCHEMA, draw(st.sampled_from([None, True, False])))
        for name in draw(st.sets(names, min_size=1).map(sorted))
    ]
    if draw(st.booleans()):
        listed.append(ForeignTool(FOREIGN_TOOLS[dialect]))
    return tuple(listed)


@st.composite
def choices(draw: st.DrawFn, dialect: str, offered: tuple[Function | ForeignTool, ...]) -> Choice | None:
    names_offered = [tool.name for tool in offered if isinstance(tool, Function)]
    kinds = [None, Choice(), Choice("none"), Choice("required"), Choice("required", names_offered[0])]
    if dialect != "messages":
        kinds.append(Choice("auto", among=(names_offered[-1],)))
    return draw(st.sampled_from(kinds))


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def _formats(dialect: str) -> st.SearchStrategy[Format | None]:
    if dialect == "messages":
        return st.sampled_from([None, Format(SCHEMA)])
    return st.sampled_from([None, Format(), Format(SCHEMA, "weather", "How it is.", True)])


def everything(dialect: str) -> ChatRequest:
    """One request that holds all that some other dialect cannot carry."""
    kept: tuple[Part, ...] = (FilePart("", "file-1"), AudioPart("UklGRg==", "wav"), ImagePart(PICTURE, "auto"))
    items: tuple[Item, ...] = (
        Message("user", (TextPart("Hi"),), "anna"),
        Message("developer", (TextPart("Be kind."),)),
        Message("user", (*kept, ImagePart(PICTURE, "low"), ForeignPart(FOREIGN_PARTS[dialect]))),
        Message("assistant", (RefusalPart("No."),)),
        Message("user", (AudioPart("UklGRg==", "wav"),)),
        Thinking("Hm.", "EqQB"),
        Thinking("So."),
        ForeignItem(FOREIGN_ITEMS[dialect]),
        ToolCall("call.1", "get_weather", "{}"),
        Message("assistant", (TextPart("I asked."),)),
        ToolResult("call.1", (ImagePart(PICTURE),), failed=True),
    )
    return ChatRequest(
        dialect,
        "small",
        items,
        tools=(Function("get_weather"), Function("get_time"), ForeignTool(FOREIGN_TOOLS[dialect])),
        choice=Choice("auto", among=("get_weather",)),
        parallel=True,
        top_k=40,
        stop=("x",),
        effort="max",
        thinks=None if dialect == "responses" else 9000,
        format=Format(SCHEMA, "", "How it is.", True),
    )


@st.composite
def requests(draw: st.DrawFn, dialect: str) -> ChatRequest:
    """A request that says all it says in the one way that its dialect reads it in."""
    items = draw(_systems(dialect))
    for number in range(draw(st.integers(1, 3))):
        items += draw(turns(dialect, number))
    offered = draw(st.just(()) | tools(dialect))
    choice = draw(choices(dialect, offered)) if offered else None
    parallel = draw(st.sampled_from([None, True, False])) if offered else None
    if dialect == "messages" and (choice is None or choice.mode == "none"):
        parallel = None
    request = ChatRequest(
        dialect,
        "small",
        tuple(items),
        stream=draw(st.booleans()),
        tools=offered,
        choice=choice,
        parallel=parallel,
        max_tokens=draw(_maybe(st.sampled_from([100, 5000, 60000]))),
        temperature=draw(_maybe(st.sampled_from([0.0, 0.5, 1.0, 1.5][: 3 if dialect == "messages" else 4]))),
        top_p=draw(_maybe(st.sampled_from([0.1, 0.99]))),
        effort=draw(_maybe(st.sampled_from(["minimal", "low", "medium", "high", "xhigh", "max"]))),
        format=draw(_formats(dialect)),
        user=draw(st.sampled_from(["", "u-1"])),
        beside={name: BESIDE[dialect][name] for name in draw(st.sets(st.sampled_from(sorted(BESIDE[dialect]))))},
    )
    if dialect == "responses":
        return request
    return replace(
        request,
        top_k=draw(_maybe(st.just(40))),
        stop=tuple(draw(st.lists(words, max_size=2, unique=True))),
        thinks=draw(_maybe(st.sampled_from([0, 1024, 9000]))),
    )
