// The official JavaScript client against a running server: node client.mjs http://127.0.0.1:8000/v1
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({baseURL: process.argv[2], apiKey: "none", maxRetries: 0});
const messages = [{role: "user", content: "Hello, 麻雀"}];

const models = await client.models.list();
const model = models.data[0].id;
assert.equal((await client.models.retrieve(model)).id, model);

const settings = {model, messages, max_tokens: 32, temperature: 0.7, seed: 3};
const whole = await client.chat.completions.create(settings);
assert.equal(whole.object, "chat.completion");
assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);

let reasoning = "", content = "", usage = null, finish = null;
for await (const chunk of await client.chat.completions.create({...settings, stream: true, stream_options: {include_usage: true}})) {
  for (const choice of chunk.choices) {
    reasoning += choice.delta.reasoning_content ?? "";
    content += choice.delta.content ?? "";
    finish = choice.finish_reason ?? finish;
  }
  usage = chunk.usage ?? usage;
}
assert.equal(reasoning, whole.choices[0].message.reasoning_content ?? "");
assert.equal(content, whole.choices[0].message.content ?? "");
assert.equal(finish, whole.choices[0].finish_reason);
assert.equal(usage.completion_tokens, whole.usage.completion_tokens);

const text = await client.completions.create({model, prompt: "Once", max_tokens: 12, temperature: 0});
let streamed = "";
for await (const chunk of await client.completions.create({model, prompt: "Once", max_tokens: 12, temperature: 0, stream: true})) {
  streamed += chunk.choices[0]?.text ?? "";
}
assert.equal(streamed, text.choices[0].text);

await assert.rejects(client.chat.completions.create({...settings, model: "nobody"}), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({...settings, temperature: 9}), OpenAI.BadRequestError);

// Leaving the loop aborts the request: the server must take it and go on.
for await (const _ of await client.chat.completions.create({...settings, max_tokens: 1000, stream: true})) break;
assert.equal((await client.chat.completions.create(settings)).choices[0].message.content, whole.choices[0].message.content);
console.log("all checks passed");
