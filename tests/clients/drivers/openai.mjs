// The official npm client does what a program would do with it, and prints what came of it as JSON.
import { createRequire } from "node:module";

const [modules, demo, script, key] = process.argv.slice(2);
const OpenAI = createRequire(`${modules}/`)("openai");
const connect = (url, apiKey = key) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const model = "dspark-demo";
const ask = (content, more = {}) => ({ model, temperature: 0, messages: [{ role: "user", content }], ...more });
const failure = (promise) =>
  promise.then(
    () => "no error",
    (error) => ({ kind: error.constructor.name, status: error.status, code: error.code, param: error.param })
  );
const client = connect(demo);
const told = {};

const whole = await client.chat.completions.create(ask("What is 2 + 2?", { max_tokens: 24 }));
told.whole = { text: whole.choices[0].message.content, reason: whole.choices[0].finish_reason, usage: whole.usage };

const stream = client.chat.completions.stream(
  ask("What is 2 + 2?", { max_tokens: 24, stream_options: { include_usage: true } })
);
let pieces = "";
stream.on("content", (piece) => (pieces += piece));
const final = await stream.finalChatCompletion();
told.stream = { pieces, text: final.choices[0].message.content, usage: final.usage };

const runner = (streamed) =>
  connect(script).chat.completions.runTools(
    ask("How is the weather?", {
      stream: streamed,
      tools: [
        {
          type: "function",
          function: {
            name: "get_weather",
            parameters: { type: "object", properties: { city: { type: "string" } } },
            parse: JSON.parse,
            function: ({ city }) => `${city} is sunny`,
          },
        },
      ],
    })
  );
told.tools = await runner(false).finalContent();
told.tools_streamed = await runner(true).finalContent();

const schema = {
  type: "object",
  properties: { name: { type: "string", maxLength: 8 }, count: { type: "integer", minimum: 0, maximum: 99 } },
  required: ["name", "count"],
  additionalProperties: false,
};
const formed = await client.chat.completions.parse(
  ask("Name something.", { response_format: { type: "json_schema", json_schema: { name: "thing", strict: true, schema } } })
);
told.schema = formed.choices[0].message.parsed ?? JSON.parse(formed.choices[0].message.content);

const thought = await client.chat.completions.create(ask("What is 2 + 2?", { reasoning_effort: "high" }));
told.reasoning = {
  thought: thought.choices[0].message.reasoning_content,
  text: thought.choices[0].message.content,
  tokens: thought.usage.completion_tokens_details.reasoning_tokens,
};

const cut = await client.chat.completions.create(ask("What is 2 + 2?", { max_tokens: 24, stop: told.whole.text.slice(2, 4) }));
told.stop = { text: cut.choices[0].message.content, stopped_by: cut.choices[0].stop_reason };
const half = told.whole.text.slice(0, told.whole.text.indexOf(" ", 3));
const rest = await client.chat.completions.create(
  ask("What is 2 + 2?", {
    messages: [
      { role: "user", content: "What is 2 + 2?" },
      { role: "assistant", content: half, prefix: true },
    ],
  })
);
told.continued = half + rest.choices[0].message.content;

const response = await client.responses.create({ model, input: "What is 2 + 2?", temperature: 0 });
let responded = "";
for await (const event of await client.responses.create({ model, input: "What is 2 + 2?", temperature: 0, stream: true })) {
  if (event.type === "response.output_text.delta") responded += event.delta;
}
told.responses = { whole: response.output_text, streamed: responded };
told.models = (await client.models.list()).data.map((entry) => entry.id);

told.errors = {
  context: await failure(client.chat.completions.create(ask("word ".repeat(4000)))),
  model: await failure(client.chat.completions.create(ask("Hi", { model: "gpt-9" }))),
  key: await failure(connect(demo, "wrong").chat.completions.create(ask("Hi"))),
  value: await failure(client.chat.completions.create(ask("Hi", { temperature: -1 }))),
};

const endless = await connect(script).chat.completions.create(ask("endless", { stream: true }));
let seen = 0;
for await (const chunk of endless) {
  if (chunk.choices[0]?.delta?.content && ++seen === 5) break; // which aborts the request
}
told.cancelled_after = seen;
console.log(JSON.stringify(told));
