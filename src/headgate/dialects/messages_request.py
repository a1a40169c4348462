"""A request of Anthropic's Messages API (https://platform.claude.com/docs/en/api/messages) as values, and back.

Read strictly where it is understood; what is not stands in `beside`, and goes back into the same dialect as it came.
"""

from collections.abc import Mapping
from typing import Any

from headgate.core.chat_request import ChatRequest, Choice, Effort, ForeignTool, Format, Function, Rendered
from headgate.dialects.effort import budget_of, known_effort
from headgate.dialects.fields import Losses, array, fail, flag, given, mapping, number, text, whole
from headgate.dialects.messages_content import Conversation, items_of

USUAL_ANSWER = 8192
"""Tokens of an answer whose caller set no bound, for this API demands one. Thinking has its room besides."""
SMALLEST_BUDGET = 1024
"""Fewer tokens of thinking are refused; and as many are left for the answer itself."""
_PAST = 1.0
_MODES = {"auto": "auto", "any": "required", "none": "none", "tool": "required"}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "chat": {"thinking": "reasoning_effort", "format": "response_format", "items": "messages[]"},
    "responses": {"thinking": "reasoning.effort", "format": "text.format", "items": "input[]"},
}
"""What fields that may be lost are called in other dialects."""
_ASKS_NOTHING: Mapping[str, Any] = {
    "n": 1,
    "stream_options": ...,
    "truncation": "disabled",
    "top_logprobs": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
"""Fields of other dialects that ask for nothing if they have this value, or whatever they have (`...`)."""


def parse(fields: Mapping[str, Any]) -> ChatRequest:
    """Raises InvalidField naming the path of what cannot be read."""
    rest = given(fields)
    model = text(rest.pop("model", ""), "model")
    items = tuple(items_of(rest.pop("system", None), rest.pop("messages", [])))
    tools = tuple(
        _tool(given(mapping(tool, f"tools[{at}]")), f"tools[{at}]")
        for at, tool in enumerate(array(rest.pop("tools", []), "tools"))
    )
    choice, parallel = _choice(rest.pop("tool_choice", None))
    thinks = _budget(rest)
    effort, form = _output(rest)
    return ChatRequest(
        "messages",
        model,
        items,
        flag(rest.pop("stream", False), "stream"),
        tools,
        choice,
        parallel,
        whole(rest.pop("max_tokens"), "max_tokens") if "max_tokens" in rest else None,
        number(rest.pop("temperature"), "temperature") if "temperature" in rest else None,
        number(rest.pop("top_p"), "top_p") if "top_p" in rest else None,
        whole(rest.pop("top_k"), "top_k") if "top_k" in rest else None,
        tuple(
            text(one, f"stop_sequences[{at}]")
            for at, one in enumerate(array(rest.pop("stop_sequences", []), "stop_sequences"))
        ),
        effort,
        thinks,
        form,
        _user(rest),
        rest,
    )


def _tool(rest: dict[str, Any], where: str) -> Function | ForeignTool:
    """Tools of the caller's own have no type, or `custom`."""
    if rest.get("type", "custom") != "custom":
        return ForeignTool(rest)
    rest.pop("type", None)
    name = text(rest.pop("name", None), f"{where}.name")
    schema = mapping(rest.pop("input_schema"), f"{where}.input_schema") if "input_schema" in rest else None
    strict = flag(rest.pop("strict"), f"{where}.strict") if "strict" in rest else None
    return Function(name, text(rest.pop("description", ""), f"{where}.description"), schema, strict, rest)


def _choice(told: object) -> tuple[Choice | None, bool | None]:
    if told is None:
        return None, None
    rest = given(mapping(told, "tool_choice"))
    kind = text(rest.pop("type", None), "tool_choice.type")
    if kind not in _MODES:
        fail("tool_choice.type", "`auto`, `any`, `tool` or `none`")
    single = flag(rest.pop("disable_parallel_tool_use"), _SINGLE) if "disable_parallel_tool_use" in rest else None
    name = text(rest.pop("name", None), "tool_choice.name") if kind == "tool" else ""
    choice = Choice(_MODES[kind], name, beside=rest)  # type: ignore[arg-type]
    return choice, None if single is None else not single


_SINGLE = "tool_choice.disable_parallel_tool_use"


def _budget(rest: dict[str, Any]) -> int | None:
    """Tokens to think; what else is said of thinking stays."""
    if "thinking" not in rest:
        return None
    told = given(mapping(rest.pop("thinking"), "thinking"))
    thinks = None
    if told.get("type") == "disabled":
        del told["type"]
        thinks = 0
    elif told.get("type") == "enabled" and "budget_tokens" in told:
        del told["type"]
        thinks = whole(told.pop("budget_tokens"), "thinking.budget_tokens")
    if told:
        rest["thinking"] = told
    return thinks


def _output(rest: dict[str, Any]) -> tuple[Effort | None, Format | None]:
    """`output_config`; `output_format` is what the form of the answer was called before."""
    told = given(mapping(rest.pop("output_config", {}), "output_config"))
    effort = known_effort(told.get("effort"))
    if effort is not None:
        del told["effort"]
    shape, where = told.get("format"), "output_config.format"
    if shape is None and "output_format" in rest:
        shape, where = rest.pop("output_format"), "output_format"
    form = None
    if shape is not None and given(mapping(shape, where)).get("type") == "json_schema":
        form = Format(mapping(shape.get("schema"), f"{where}.schema"))
        told.pop("format", None)
    if told:
        rest["output_config"] = told
    return effort, form


def _user(rest: dict[str, Any]) -> str:
    told = given(mapping(rest.pop("metadata", {}), "metadata"))
    user = text(told.pop("user_id", ""), "metadata.user_id")
    if told:
        rest["metadata"] = told
    return user


def render(request: ChatRequest) -> Rendered:
    """The request in this dialect. `max_tokens` is USUAL_ANSWER where the caller set no bound."""
    return _Rendering(request).done()


class _Rendering:
    """One request on its way. `own`: it was read from this dialect."""

    def __init__(self, request: ChatRequest) -> None:
        self.request = request
        self.own = request.dialect == "messages"
        self.losses = Losses()
        self.words = _WORDS.get(request.dialect, {"thinking": "thinking", "format": "format", "items": "messages[]"})
        self.fields: dict[str, Any] = {"model": request.model}

    def done(self) -> Rendered:
        request, fields = self.request, self.fields
        conversation = Conversation(self.own, self.words["items"], self.losses)
        conversation.add(request.items)
        if conversation.system:
            fields["system"] = conversation.system
        fields["messages"] = conversation.messages
        self._tools()
        self._format()
        self._bounds()
        if request.stop:
            fields["stop_sequences"] = list(request.stop)
        if request.user:
            fields["metadata"] = {"user_id": request.user}
        if request.stream:
            fields["stream"] = True
        self._beside()
        return Rendered(fields, self.losses.paths)

    def _tools(self) -> None:
        request, tools = self.request, []
        among = request.choice.among if request.choice is not None else ()
        for at, tool in enumerate(request.tools):
            if isinstance(tool, ForeignTool):
                if self.own:
                    tools.append(dict(tool.fields))
                else:
                    self.losses.add(f"tools[{at}]")
            elif not among or tool.name in among:
                tools.append(self._tool(tool, at))
        if tools:
            self.fields["tools"] = tools
        if (tools or self.own) and (choice := self._choice(request.choice)) is not None:
            self.fields["tool_choice"] = choice

    def _tool(self, tool: Function, at: int) -> dict[str, Any]:
        told: dict[str, Any] = {"name": tool.name}
        if tool.description:
            told["description"] = tool.description
        if tool.schema is not None or not self.own:
            schema = tool.schema or {}
            told["input_schema"] = schema if self.own or "type" in schema else {"type": "object", **schema}
        if tool.strict is not None:
            told["strict"] = tool.strict
        if self.own:
            return {**told, **tool.beside}
        if mark := tool.beside.get("cache_control"):
            told["cache_control"] = mark
        self.losses.beside(tool.beside, f"tools[{at}].", ("cache_control",))
        return told

    def _choice(self, choice: Choice | None) -> dict[str, Any] | None:
        single = self.request.parallel is False
        if choice is None:
            return {"type": "auto", "disable_parallel_tool_use": True} if single else None
        told: dict[str, Any] = {"type": _CHOICES[choice.mode]}
        if choice.name:
            told = {"type": "tool", "name": choice.name}
        if choice.mode != "none" and (single or (self.own and self.request.parallel is not None)):
            told["disable_parallel_tool_use"] = single
        if self.own:
            told.update(choice.beside)
        return told

    def _format(self) -> None:
        form = self.request.format
        if form is not None and form.schema is not None:
            self.fields["output_config"] = {"format": {"type": "json_schema", "schema": form.schema}}
            if form.description:
                self.losses.add(f"{self.words['format']}.description")
        elif form is not None:
            self.losses.add(self.words["format"])

    def _bounds(self) -> None:
        request, fields = self.request, self.fields
        budget = self._own_thinking() if self.own else self._thinking()
        if request.max_tokens is not None:
            fields["max_tokens"] = request.max_tokens
        elif not self.own:
            fields["max_tokens"] = USUAL_ANSWER + budget
        if self.own or not budget:
            self._sampling(request.temperature, request.top_p, request.top_k)
        else:
            self._sampling_of_thinkers()

    def _sampling(self, temperature: float | None, top_p: float | None, top_k: int | None) -> None:
        if temperature is not None and temperature > _PAST and not self.own:
            self.losses.add("temperature")
            temperature = _PAST
        for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
            if value is not None:
                self.fields[name] = value

    def _sampling_of_thinkers(self) -> None:
        """Who thinks samples as it likes: the API refuses the request otherwise."""
        request = self.request
        if request.temperature not in (None, 1):
            self.losses.add("temperature")
        if request.top_k is not None:
            self.losses.add("top_k")
        narrow = request.top_p is not None and request.top_p < 0.95
        if narrow:
            self.losses.add("top_p")
        self._sampling(None, None if narrow else request.top_p, None)

    def _own_thinking(self) -> int:
        """As the caller said it, in the two places where it may be said."""
        request, told = self.request, self.request.beside.get("thinking", {})
        if request.thinks == 0:
            told = {"type": "disabled", **told}
        elif request.thinks is not None:
            told = {"type": "enabled", "budget_tokens": request.thinks, **told}
        if told:
            self.fields["thinking"] = told
        if request.effort is not None:
            self.fields["output_config"] = {**self.fields.get("output_config", {}), "effort": request.effort}
        return request.thinks or 0

    def _thinking(self) -> int:
        """As tokens, which every model that thinks takes; returns how many."""
        request = self.request
        told = request.beside.get("thinking")
        if isinstance(told, dict) and "type" in told:  # said in this dialect's words within another one
            self.fields["thinking"] = told
            budget = told.get("budget_tokens", 0)
            return budget if type(budget) is int else 0
        budget = request.thinks
        if budget is None:
            if request.effort is None:
                return 0
            budget = budget_of(request.effort)
        if budget == 0:
            self.fields["thinking"] = {"type": "disabled"}
            return 0
        budget = max(budget, SMALLEST_BUDGET)
        if request.max_tokens is not None:
            budget = min(budget, request.max_tokens - SMALLEST_BUDGET)
        if budget < SMALLEST_BUDGET or not self._may_think():
            self.losses.add(self.words["thinking"])
            return 0
        self.fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
        return budget

    def _may_think(self) -> bool:
        """Not when a call is forced, nor in the middle of a turn that began without a signed thought."""
        choice = self.request.choice
        if choice is not None and choice.mode == "required" and "tool_choice" in self.fields:
            return False
        messages = self.fields["messages"]
        said: list[dict[str, Any]] = next(
            (one["content"] for one in reversed(messages) if one["role"] == "assistant"), []
        )
        asked = messages[-1]["content"] if messages else []
        is_amid = any(block["type"] == "tool_result" for block in asked)
        return not is_amid or (bool(said) and said[0]["type"] in ("thinking", "redacted_thinking"))

    def _beside(self) -> None:
        fields, beside = self.fields, dict(self.request.beside)
        beside.pop("thinking", None)
        if self.own:
            for name in ("output_config", "metadata"):
                if name in beside:
                    fields[name] = {**fields.get(name, {}), **beside.pop(name)}
            fields.update(beside)
            return
        tier = beside.pop("service_tier", None)
        if str(tier) in _TIERS:
            fields["service_tier"] = _TIERS[str(tier)]
        elif tier is not None:
            self.losses.add("service_tier")
        if mark := beside.pop("cache_control", None):
            fields["cache_control"] = mark
        for name, value in _ASKS_NOTHING.items():
            if name in beside and (value is ... or beside[name] == value):
                del beside[name]
        self.losses.beside(beside, "")
