"""A server with everything that the conformance suite asks for, also what the gateway does not offer itself: prompts,
resources, questions to the client. What each piece must do stands in the suite's own descriptions.
"""

import asyncio
import hashlib
import hmac
import json
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ToolsListChanged
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.tools.mcp_bad_server import PNG

Context = ServerRequestContext[Any, Any]
Given = t.CallToolRequestParams
Result = t.CallToolResult | t.InputRequiredResult
SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
KEY = b"of this process alone"
BUS = InMemorySubscriptionBus()
NOTHING = {"type": "object", "properties": {}}


def text(words: str) -> t.CallToolResult:
    return t.CallToolResult(content=[t.TextContent(text=words)])


def form(message: str, name: str, kind: str = "string") -> t.ElicitRequest:
    schema: Any = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return t.ElicitRequest(params=t.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(words: str, most: int) -> t.CreateMessageRequest:
    said = t.SamplingMessage(role="user", content=t.TextContent(text=words))
    return t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[said], max_tokens=most))


def sealed(state: str) -> str:
    return f"{state}.{hmac.new(KEY, state.encode(), hashlib.sha256).hexdigest()}"


def opened(state: str | None) -> str:
    """The state that was sealed; raises MCPError when it was changed."""
    words, _, seal = (state or "").rpartition(".")
    if not hmac.compare_digest(sealed(words), f"{words}.{seal}"):
        raise MCPError(t.INVALID_PARAMS, "The state was changed.")
    return words


def asking(state: str | None = None, **questions: Any) -> t.InputRequiredResult:
    return t.InputRequiredResult(input_requests=questions, request_state=sealed(state) if state else None)


def answer(given: Any, name: str, kind: type[Any]) -> Any:
    """The client's answer to a question; None if it is missing or of another kind."""
    found = (given.input_responses or {}).get(name)
    return found if isinstance(found, kind) else None


async def fixed(ctx: Context, given: Given) -> Result:
    page = t.EmbeddedResource(
        resource=t.TextResourceContents(uri="test://embedded-resource", mime_type="text/plain", text="Embedded.")
    )
    image = t.ImageContent(data=PNG, mime_type="image/png")
    sound = t.AudioContent(data=SOUND, mime_type="audio/wav")
    contents: dict[str, list[Any]] = {
        "test_simple_text": [t.TextContent(text="This is a simple text response for testing.")],
        "test_image_content": [image],
        "test_audio_content": [sound],
        "test_embedded_resource": [page],
        "test_multiple_content_types": [t.TextContent(text="Multiple content types test:"), image, page],
    }
    return t.CallToolResult(content=contents[given.name])


async def fails(ctx: Context, given: Given) -> Result:
    error = t.TextContent(text="This tool intentionally returns an error for testing")
    return t.CallToolResult(content=[error], is_error=True)


async def progress(ctx: Context, given: Given) -> Result:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return text("done")


async def logs(ctx: Context, given: Given) -> Result:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            await ctx.session.send_log_message(level="info", data=words, related_request_id=ctx.request_id)
        await asyncio.sleep(0.05)
    return text("done")


async def samples(ctx: Context, given: Given) -> Result:
    words = str((given.arguments or {}).get("prompt", "Hi"))
    said = t.SamplingMessage(role="user", content=t.TextContent(text=words))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = await ctx.session.create_message([said], max_tokens=100, related_request_id=ctx.request_id)
    return text(f"LLM response: {getattr(got.content, 'text', '')}")


def elicits(schema: Callable[[], dict[str, Any]]) -> Callable[[Context, Given], Awaitable[Result]]:
    async def call(ctx: Context, given: Given) -> Result:
        message = str((given.arguments or {}).get("message", "Please answer"))
        got = await ctx.session.elicit_form(message, schema(), related_request_id=ctx.request_id)
        return text(f"User response: action={got.action}, content={json.dumps(got.content or {})}")

    return call


def one_field() -> dict[str, Any]:
    return {"type": "object", "properties": {"response": {"type": "string"}}, "required": ["response"]}


def defaults() -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return {"type": "object", "properties": fields, "required": []}


def enums() -> dict[str, Any]:
    titled = [{"const": one, "title": one.title()} for one in ("value1", "value2", "value3")]
    plain = ["option1", "option2", "option3"]
    fields: dict[str, Any] = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": plain, "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return {"type": "object", "properties": fields, "required": []}


async def asks_name(ctx: Context, given: Given) -> Result:
    got = answer(given, "user_name", t.ElicitResult)
    if got is None or "name" not in (got.content or {}):
        return asking(user_name=form("What is your name?", "name"))
    return text(f"Hello, {got.content['name']}!")


async def asks_model(ctx: Context, given: Given) -> Result:
    got = answer(given, "capital_question", t.CreateMessageResult)
    return text(str(got.content)) if got else asking(capital_question=sample("What is the capital of France?", 100))


async def asks_roots(ctx: Context, given: Given) -> Result:
    got = answer(given, "client_roots", t.ListRootsResult)
    if got is None:
        return asking(client_roots=t.ListRootsRequest())
    return text(", ".join(str(root.uri) for root in got.roots))


async def keeps_state(ctx: Context, given: Given) -> Result:
    if not given.input_responses:
        return asking("begun", confirm=form("Please confirm", "ok", "boolean"))
    return text(f"state-ok {opened(given.request_state)}")


async def asks_all(ctx: Context, given: Given) -> Result:
    if {"user_name", "greeting", "client_roots"} <= set(given.input_responses or {}):
        return text(opened(given.request_state))
    questions = {"user_name": form("What is your name?", "name"), "greeting": sample("Generate a greeting", 50)}
    return asking("all", **questions, client_roots=t.ListRootsRequest())


async def asks_twice(ctx: Context, given: Given) -> Result:
    if not given.input_responses:
        return asking("one", step1=form("Step 1: What is your name?", "name"))
    if opened(given.request_state) == "one":
        return asking("two", step2=form("Step 2: What is your favorite color?", "color"))
    return text("done")


async def asks_what_it_may(ctx: Context, given: Given) -> Result:
    able = ctx.session.client_capabilities
    questions: dict[str, Any] = {}
    if able and able.sampling is not None:
        questions["greeting"] = sample("Generate a greeting", 50)
    if able and able.elicitation is not None:
        questions["user_name"] = form("What is your name?", "name")
    return asking(**questions) if questions else text("nothing can be asked")


async def needs_sampling(ctx: Context, given: Given) -> Result:
    able = ctx.session.client_capabilities
    if able is None or able.sampling is None:
        data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(t.MISSING_REQUIRED_CLIENT_CAPABILITY, "The client cannot sample.", data)
    return text("It can.")


async def changes(ctx: Context, given: Given) -> Result:
    await BUS.publish(ToolsListChanged() if "tool" in given.name else PromptsListChanged())
    return text("changed")


TOOLS: dict[str, Callable[[Context, Given], Awaitable[Result]]] = {
    **dict.fromkeys(("test_simple_text", "test_image_content", "test_audio_content"), fixed),
    **dict.fromkeys(("test_embedded_resource", "test_multiple_content_types"), fixed),
    "test_error_handling": fails,
    "test_tool_with_progress": progress,
    "test_streaming_elicitation": progress,
    "test_tool_with_logging": logs,
    "test_logging_tool": logs,
    "test_sampling": samples,
    "test_elicitation": elicits(one_field),
    "test_elicitation_sep1034_defaults": elicits(defaults),
    "test_elicitation_sep1330_enums": elicits(enums),
    "test_input_required_result_elicitation": asks_name,
    "test_input_required_result_sampling": asks_model,
    "test_input_required_result_list_roots": asks_roots,
    "test_input_required_result_request_state": keeps_state,
    "test_input_required_result_tampered_state": keeps_state,
    "test_input_required_result_multiple_inputs": asks_all,
    "test_input_required_result_multi_round": asks_twice,
    "test_input_required_result_capabilities": asks_what_it_may,
    "test_missing_capability": needs_sampling,
    "test_trigger_tool_change": changes,
    "test_trigger_prompt_change": changes,
}
PROMPTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


async def list_tools(ctx: Context, _: Any) -> t.ListToolsResult:
    return t.ListToolsResult(
        tools=[t.Tool(name=name, description=f"Fixture {name}.", input_schema=NOTHING) for name in TOOLS], ttl_ms=1000
    )


async def call_tool(ctx: Context, given: Given) -> Result:
    if given.name not in TOOLS:
        raise MCPError(t.INVALID_PARAMS, f"There is no tool '{given.name}'.")
    return await TOOLS[given.name](ctx, given)


async def list_prompts(ctx: Context, _: Any) -> t.ListPromptsResult:
    prompts = [
        t.Prompt(
            name=name,
            description=f"Fixture {name}.",
            arguments=[t.PromptArgument(name=one, required=True) for one in arguments],
        )
        for name, arguments in PROMPTS.items()
    ]
    return t.ListPromptsResult(prompts=prompts, ttl_ms=1000)


async def get_prompt(ctx: Context, given: t.GetPromptRequestParams) -> t.GetPromptResult | t.InputRequiredResult:
    told = given.arguments or {}
    content: list[Any] = [t.TextContent(text=f"A prompt for testing: {json.dumps(told)} " + " ".join(told.values()))]
    if given.name == "test_prompt_with_arguments":
        content = [t.TextContent(text=f"Prompt with arguments: arg1='{told['arg1']}', arg2='{told['arg2']}'")]
    elif given.name == "test_prompt_with_image":
        content.insert(0, t.ImageContent(data=PNG, mime_type="image/png"))
    elif given.name == "test_prompt_with_embedded_resource":
        page = t.TextResourceContents(uri=told["resourceUri"], mime_type="text/plain", text="Embedded.")
        content.insert(0, t.EmbeddedResource(resource=page))
    elif given.name == "test_input_required_result_prompt" and not given.input_responses:
        return asking(user_context=form("What context should the prompt use?", "context"))
    return t.GetPromptResult(messages=[t.PromptMessage(role="user", content=one) for one in content])


async def list_resources(ctx: Context, _: Any) -> t.ListResourcesResult:
    names = ("static-text", "static-binary", "watched-resource")
    found = [t.Resource(name=name, uri=f"test://{name}", description="Fixture.") for name in names]
    return t.ListResourcesResult(resources=found, ttl_ms=1000)


async def list_templates(ctx: Context, _: Any) -> t.ListResourceTemplatesResult:
    one = t.ResourceTemplate(name="template", uri_template="test://template/{id}/data", mime_type="application/json")
    return t.ListResourceTemplatesResult(resource_templates=[one], ttl_ms=1000)


async def read_resource(ctx: Context, given: t.ReadResourceRequestParams) -> t.ReadResourceResult:
    uri = str(given.uri)
    if uri == "test://static-binary":
        binary = t.BlobResourceContents(uri=uri, blob=PNG, mime_type="image/png")
        return t.ReadResourceResult(contents=[binary], ttl_ms=1000)
    if uri in ("test://static-text", "test://watched-resource"):
        words, kind = "This is the content of the static text resource.", "text/plain"
    elif uri.startswith("test://template/"):
        words, kind = json.dumps({"id": uri.split("/")[3], "templateTest": True}), "application/json"
    else:
        code = t.INVALID_PARAMS if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else -32002
        raise MCPError(code, "Resource not found", {"uri": uri})
    return t.ReadResourceResult(contents=[t.TextResourceContents(uri=uri, text=words, mime_type=kind)], ttl_ms=1000)


async def nothing(ctx: Context, _: Any) -> t.EmptyResult:
    return t.EmptyResult()


async def complete(ctx: Context, _: Any) -> t.CompleteResult:
    return t.CompleteResult(completion=t.Completion(values=[], total=0, has_more=False))


def everything() -> Server[Any]:
    """The server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Server(
            "everything",
            version="1",
            on_list_tools=list_tools,
            on_call_tool=call_tool,
            on_list_prompts=list_prompts,
            on_get_prompt=get_prompt,
            on_list_resources=list_resources,
            on_list_resource_templates=list_templates,
            on_read_resource=read_resource,
            on_subscribe_resource=nothing,
            on_unsubscribe_resource=nothing,
            on_completion=complete,
            on_set_logging_level=nothing,
            on_subscriptions_listen=ListenHandler(BUS),
        )
