"""Official Python clients, one conversation with a tool call each. Arguments: which, the gateway's address, a key."""
# mypy: ignore-errors
# It runs with what the clients bring, not with what is installed here.

import asyncio
import json
import sys

which, url, key = sys.argv[1:]
ASK = "What is the secret number?"
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}


def secret(place: str) -> str:
    return f"headgate-secret-4711 in {place}"


def openai_chat() -> str:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
    tools = [{"type": "function", "function": {"name": "secret", "description": "Tells.", "parameters": SCHEMA}}]
    messages = [{"role": "user", "content": ASK}]
    message = client.chat.completions.create(model="small", messages=messages, tools=tools).choices[0].message
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": secret(**json.loads(call.function.arguments))}
    said = client.chat.completions.create(model="small", messages=[*messages, message, result], stream=True)
    return "".join(one.choices[0].delta.content or "" for one in said if one.choices)


def openai_responses() -> str:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
    tools = [{"type": "function", "name": "secret", "description": "Tells.", "parameters": SCHEMA, "strict": False}]
    items = [{"role": "user", "content": ASK}]
    answer = client.responses.create(model="small", input=items, tools=tools, store=False)
    call = next(one for one in answer.output if one.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": secret(**json.loads(call.arguments))}
    items += [*answer.output, result]
    with client.responses.stream(model="small", input=items, tools=tools, store=False) as stream:
        return stream.get_final_response().output_text


def anthropic() -> str:
    import anthropic as sdk

    @sdk.beta_tool
    def tell(place: str) -> str:
        """Tell the secret number.

        Args:
            place: Where it is.
        """
        return secret(place)

    client = sdk.Anthropic(base_url=url, auth_token=key)
    runner = client.beta.messages.tool_runner(
        model="small", max_tokens=1000, messages=[{"role": "user", "content": ASK}], tools=[tell]
    )
    return runner.until_done().content[-1].text


def openai_agents(responses: bool) -> str:
    import agents
    import openai

    agents.set_tracing_disabled(True)
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key)
    kind = agents.OpenAIResponsesModel if responses else agents.OpenAIChatCompletionsModel
    told = agents.function_tool(secret, name_override="secret", description_override="Tells.")
    agent = agents.Agent("helper", instructions="Be kind.", tools=[told], model=kind("small", client))

    async def run() -> str:
        streamed = agents.Runner.run_streamed(agent, ASK)
        async for _ in streamed.stream_events():
            pass
        return str(streamed.final_output)

    return asyncio.run(run())


print(
    {
        "openai-chat": openai_chat,
        "openai-responses": openai_responses,
        "anthropic": anthropic,
        "agents-chat": lambda: openai_agents(False),
        "agents-responses": lambda: openai_agents(True),
    }[which]()
)
