// Official Node clients, one conversation with a tool call each. Arguments: which one, the gateway's address, a key.
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'

const [which, url, key] = process.argv.slice(2)
const ask = 'What is the secret number?'
const schema = { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] }
const secret = ({ place }) => `headgate-secret-4711 in ${place}`
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key })
const clients = {
  'openai-chat': async () => {
    const tool = { type: 'function', function: { name: 'secret', parse: JSON.parse, function: secret, parameters: schema } }
    const messages = [{ role: 'user', content: ask }]
    const runner = openai.chat.completions.runTools({ model: 'small', messages, tools: [tool], stream: true })
    return runner.finalContent()
  },
  'openai-responses': async () => {
    const tools = [{ type: 'function', name: 'secret', parameters: schema, strict: false }]
    const input = [{ role: 'user', content: ask }]
    const answer = await openai.responses.stream({ model: 'small', input, tools, store: false }).finalResponse()
    const call = answer.output.find((one) => one.type === 'function_call')
    const result = { type: 'function_call_output', call_id: call.call_id, output: secret(JSON.parse(call.arguments)) }
    const more = [...input, call, result]
    return (await openai.responses.create({ model: 'small', input: more, tools, store: false })).output_text
  },
  anthropic: async () => {
    const client = new Anthropic({ baseURL: url, authToken: key, apiKey: null })
    const given = { model: 'small', max_tokens: 1000, tools: [{ name: 'secret', input_schema: schema }] }
    const messages = [{ role: 'user', content: ask }]
    const first = await client.messages.stream({ ...given, messages }).finalMessage()
    const call = first.content.find((one) => one.type === 'tool_use')
    const content = [{ type: 'tool_result', tool_use_id: call.id, content: secret(call.input) }]
    messages.push({ role: 'assistant', content: first.content }, { role: 'user', content })
    const last = await client.messages.create({ ...given, messages })
    return last.content.at(-1).text
  },
}
console.log(await clients[which]())
