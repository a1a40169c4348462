"""OpenAI's Chat Completions request as a ChatRequest, and back. Knows no provider's quirks.

Rendering says `max_tokens`, since many servers know no other name; the rules of parameters exchange it for
`max_completion_tokens` where a provider is known to refuse it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from headgate.core.chat_request import ChatRequest, Choice, Effort, ForeignTool, Format, Function, Rendered
from headgate.dialects.chat_messages import Conversation, Messages
from headgate.dialects.effort import effort_of, known_effort
from headgate.dialects.fields import Losses, array, fail, flag, given, mapping, number, text, whole

_SHARED = frozenset(
    """
    metadata service_tier prompt_cache_key prompt_cache_retention safety_identifier verbosity top_logprobs logprobs
    seed presence_penalty frequency_penalty
    """.split()  # noqa: SIM905 - a row of quoted names would read worse
)
"""Fields that mean the same wherever they occur, so that they are carried from another dialect's `beside`."""
_TIERS = {"standard_only": "default", "auto": "auto", "default": "default", "flex": "flex", "priority": "priority"}
_FORMAT = {"schema": dict, "name": str, "description": str, "strict": bool}
_MODES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def parse(fields: Mapping[str, Any]) -> ChatRequest:
    """Raises InvalidField naming the path of what cannot be read."""
    rest = given(fields)
    return ChatRequest(
        dialect="chat",
        model=text(rest.pop("model", ""), "model"),
        items=tuple(Conversation().items(array(rest.pop("messages", []), "messages"))),
        stream=flag(rest.pop("stream", False), "stream"),
        tools=_tools(rest),
        choice=_choice(rest),
        parallel=_taken(rest, "parallel_tool_calls", flag),
        max_tokens=_most(rest),
        temperature=_taken(rest, "temperature", number),
        top_p=_taken(rest, "top_p", number),
        top_k=_taken(rest, "top_k", whole),
        stop=_stop(rest),
        effort=_effort(rest),
        thinks=_thinks(rest),
        format=_format(rest),
        user=text(rest.pop("user", ""), "user"),
        beside=rest,
    )


def _taken(rest: dict[str, Any], name: str, read: Any) -> Any:
    return read(rest.pop(name), name) if name in rest else None


def _effort(rest: dict[str, Any]) -> Effort | None:
    """Words that only some provider knows stay beside."""
    effort = known_effort(rest.get("reasoning_effort"))
    if effort is not None:
        del rest["reasoning_effort"]
    return effort


def _most(rest: dict[str, Any]) -> int | None:
    """The newer name wins; the older one stays beside it where it says something else."""
    newer, older = _taken(rest, "max_completion_tokens", whole), rest.get("max_tokens")
    if newer is None or newer == older:
        newer = _taken(rest, "max_tokens", whole)
    return cast("int | None", newer)


def _stop(rest: dict[str, Any]) -> tuple[str, ...]:
    stop = rest.pop("stop", [])
    listed = [stop] if type(stop) is str else array(stop, "stop")
    return tuple(text(one, f"stop[{at}]") for at, one in enumerate(listed))


def _thinks(rest: dict[str, Any]) -> int | None:
    """`thinking` as gateways take it for Anthropic's models; other forms of it stay beside."""
    match rest.get("thinking"):
        case {"type": "disabled", **more} if not more:
            budget = 0
        case {"type": "enabled", "budget_tokens": int(budget), **more} if not more and budget > 0:
            pass
        case _:
            return None
    del rest["thinking"]
    return budget


def _format(rest: dict[str, Any]) -> Format | None:
    """Forms that other dialects have too; any other stays beside, as it was sent."""
    form = rest.get("response_format")
    if form in ({"type": "text"}, {"type": "json_object"}):
        found = Format() if form["type"] == "json_object" else None
    elif type(form) is dict and form.keys() == {"type", "json_schema"} and type(form["json_schema"]) is dict:
        told = given(form["json_schema"])
        if any(type(value) is not _FORMAT.get(name) for name, value in told.items()):
            return None
        found = Format(**{"schema": {}, **told})
    else:
        return None
    del rest["response_format"]
    return found


def _tools(rest: dict[str, Any]) -> tuple[Function | ForeignTool, ...]:
    tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(array(rest.pop("tools", []), "tools"))]
    for at, function in enumerate(array(rest.pop("functions", []), "functions")):
        tools.append(_function(given(mapping(function, f"functions[{at}]")), {}, f"functions[{at}]"))
    return tuple(tools)


def _tool(tool: object, where: str) -> Function | ForeignTool:
    rest = given(mapping(tool, where))
    kind = rest.pop("type", "function")
    if kind != "function":
        return ForeignTool({"type": kind, **rest})
    if "function" in rest:
        return _function(given(mapping(rest.pop("function"), f"{where}.function")), rest, f"{where}.function")
    return _function(rest, {}, where)  # as Responses has it, or without a type


def _function(inner: dict[str, Any], outer: dict[str, Any], where: str) -> Function:
    name = text(inner.pop("name", None), f"{where}.name")
    description = text(inner.pop("description", ""), f"{where}.description")
    schema = mapping(inner.pop("parameters"), f"{where}.parameters") if "parameters" in inner else None
    strict = flag(inner.pop("strict"), f"{where}.strict") if "strict" in inner else None
    return Function(name, description, schema, strict, {**outer, "function": inner} if inner else outer)


def _choice(rest: dict[str, Any]) -> Choice | None:
    where = "tool_choice" if "tool_choice" in rest else "function_call"
    match rest.pop("tool_choice", rest.pop("function_call", None)):
        case None:
            return None
        case str(mode):
            if mode not in _MODES:
                fail(where, "'auto', 'none', 'required' or an object")
            return Choice(cast("Any", _MODES[mode]))
        case {"type": "function", "function": {"name": str(name)}} | {"name": str(name)}:
            return Choice("required", name)
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list(tools)}} if mode in _MODES:
            return _allowed(mode, tools)
        case {"type": str()} as foreign:
            return Choice("required", beside=foreign)
        case _:
            return fail(where, "'auto', 'none', 'required' or an object that names a function")


def _allowed(mode: str, tools: list[Any]) -> Choice:
    names = []
    for tool in tools:
        match tool:
            case {"type": "function", "function": {"name": str(name)}}:
                names.append(name)
            case _:
                return Choice("auto", beside={"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}})
    return Choice(cast("Any", _MODES[mode]), among=tuple(names))


def render(request: ChatRequest) -> Rendered:
    """The request's fields. What another dialect's request says beside is carried where it means the same here."""
    losses = Losses()
    own = request.dialect == "chat"
    messages = Messages(losses, own=own, said="input[]" if request.dialect == "responses" else "messages[]")
    for item in request.items:
        messages.add(item)
    fields: dict[str, Any] = {"model": request.model, "messages": messages.end()}
    _render_tools(request, fields, losses, own=own)
    most = "max_completion_tokens" if own and "max_tokens" in request.beside else "max_tokens"
    told = {
        most: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": list(request.stop) or None,
        "reasoning_effort": request.effort,
        "user": request.user or None,
        "stream": request.stream or None,
    }
    fields.update((name, value) for name, value in told.items() if value is not None)
    if request.format is not None:
        fields["response_format"] = format_of(request.format)
    if own:
        if request.thinks is not None:
            fields["thinking"] = _thinking(request.thinks)
        fields.update(request.beside)
    else:
        _render_foreign(request, fields, losses)
    return Rendered(fields, losses.paths)


def _render_foreign(request: ChatRequest, fields: dict[str, Any], losses: Losses) -> None:
    """What only another dialect says in these words."""
    if request.thinks is not None and request.effort is None:
        fields["reasoning_effort"] = effort_of(request.thinks)
    for name, value in request.beside.items():
        if name == "service_tier" and str(value) in _TIERS:
            fields[name] = _TIERS[str(value)]
        elif name in _SHARED and name != "service_tier":
            fields[name] = value
        else:
            losses.beside({name: value}, "")
    if "top_logprobs" in fields:
        fields["logprobs"] = True


def _thinking(budget: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": budget} if budget else {"type": "disabled"}


def _render_tools(request: ChatRequest, fields: dict[str, Any], losses: Losses, *, own: bool) -> None:
    choice = request.choice
    listed = list(_listed(request, losses, own=own))
    names = {one["function"]["name"] for one in listed if one.get("type") == "function"}
    if listed:
        fields["tools"] = listed
    if listed or own:
        if request.parallel is not None:
            fields["parallel_tool_calls"] = request.parallel
        if choice is not None:
            _render_choice(choice, fields, losses, names, own=own)
    elif choice is not None and choice.mode == "required":
        losses.add("tool_choice")


def _listed(request: ChatRequest, losses: Losses, *, own: bool) -> Iterator[dict[str, Any]]:
    """The tools that are offered. Few servers know a limit to some of them, so the others are left out instead."""
    among = () if own or request.choice is None else request.choice.among
    for at, tool in enumerate(request.tools):
        if isinstance(tool, ForeignTool):
            if own:
                yield dict(tool.fields)
            else:
                losses.add(f"tools[{at}]")
        elif not among or tool.name in among:
            if not own:
                losses.beside(tool.beside, f"tools[{at}].")
            yield tool_of(tool, own=own)


def _render_choice(choice: Choice, fields: dict[str, Any], losses: Losses, names: set[str], *, own: bool) -> None:
    if own and choice.beside:
        fields["tool_choice"] = dict(choice.beside)
        return
    if choice.beside or (choice.name and choice.name not in names and not own):
        losses.add("tool_choice")
    elif choice.name:
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice.among and own:
        tools = [{"type": "function", "function": {"name": name}} for name in choice.among]
        fields["tool_choice"] = {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}
    else:
        fields["tool_choice"] = choice.mode


def tool_of(tool: Function, *, own: bool = False) -> dict[str, Any]:
    beside = tool.beside if own else {}
    inner: dict[str, Any] = {"name": tool.name}
    if tool.description:
        inner["description"] = tool.description
    if tool.schema is not None:
        inner["parameters"] = tool.schema
    if tool.strict is not None:
        inner["strict"] = tool.strict
    return {"type": "function", **beside, "function": {**inner, **beside.get("function", {})}}


def format_of(form: Format) -> dict[str, Any]:
    if form.schema is None:
        return {"type": "json_object"}
    told: dict[str, Any] = {"name": form.name or "answer"}
    if form.description:
        told["description"] = form.description
    told["schema"] = form.schema
    if form.strict is not None:
        told["strict"] = form.strict
    return {"type": "json_schema", "json_schema": told}
