// The official Node SDK against a gateway: `node client.mjs CASE BASE_URL KEY` prints what it saw as JSON.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [name, baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 10_000 });
const asked = { model: "small", messages: [{ role: "user", content: "Hi" }] };
const tools = [
  { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } },
];

async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    return {
      kind: error.constructor.name,
      status: error.status,
      code: error.code,
      param: error.param,
      hasRequestId: Boolean(error.requestID),
      retryAfter: error.headers?.get("retry-after") ?? null,
      message: error.message,
    };
  }
  return { kind: null };
}

const cases = {
  async chat() {
    const answer = await client.chat.completions.create(asked);
    return { text: answer.choices[0].message.content, model: answer.model, id: answer._request_id };
  },
  async stream() {
    const stream = await client.chat.completions.create({
      ...asked,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return {
      text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""),
      usage: chunks.at(-1).usage.total_tokens,
      lastChoices: chunks.at(-1).choices,
    };
  },
  async tools() {
    const whole = await client.chat.completions.create({ ...asked, tools });
    const runner = client.chat.completions.stream({ ...asked, tools });
    const streamed = await runner.finalChatCompletion();
    return [whole, streamed].map((one) => one.choices[0].message.tool_calls[0].function.arguments);
  },
  async structured() {
    const City = z.object({ city: z.string(), people: z.number() });
    const answer = await client.chat.completions.parse({
      ...asked,
      response_format: zodResponseFormat(City, "city"),
    });
    return answer.choices[0].message.parsed;
  },
  async embeddings() {
    const usual = await client.embeddings.create({ model: "small", input: ["Hi", "there"] });
    const floats = await client.embeddings.create({ model: "small", input: [1, 2], encoding_format: "float" });
    return [usual, floats].map((answer) => answer.data.map((one) => Array.from(one.embedding)));
  },
  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    return { names, one: (await client.models.retrieve("small")).id };
  },
  async speech() {
    const answer = await client.audio.speech.create({ model: "small", voice: "alloy", input: "Hello." });
    return Buffer.from(await answer.arrayBuffer()).toString("base64");
  },
  async mistakes() {
    const stranger = new OpenAI({ baseURL, apiKey: "sk-wrong", maxRetries: 0 });
    return [
      await errorOf(() => stranger.chat.completions.create(asked)),
      await errorOf(() => client.chat.completions.create({ ...asked, model: "none" })),
      await errorOf(() => client.chat.completions.create({ ...asked, temperature: "hot" })),
    ];
  },
  async failure() {
    return errorOf(() => client.chat.completions.create(asked));
  },
  async broken() {
    return errorOf(async () => {
      for await (const _ of await client.chat.completions.create({ ...asked, stream: true }));
    });
  },
  async abort() {
    const stream = await client.chat.completions.create({ ...asked, stream: true });
    for await (const _ of stream) stream.controller.abort();
    process.stdout.write(JSON.stringify({ aborted: true }) + "\n");
    return new Promise((resolve) => process.stdin.once("data", () => resolve(null)));
  },
};

console.log(JSON.stringify(await cases[name]()));
process.exit(0);
