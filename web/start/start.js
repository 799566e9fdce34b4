// The start page: one chat over /v1/chat/completions. Every text of the model goes through
// textContent, never through HTML. No dependency, no build.

const texts = {
  zh: {
    engine: "本地逻辑推理引擎", about: "基于蒸馏技术的轻量级推理模型，支持纯CPU运行。",
    model: "模型", metrics: "指标", prompt: "问题", send: "发送", stop: "停止", clear: "清空",
    key: "API 密钥", thinking: "思考过程", stopped: "（已停止）", failed: "出错了：",
    cut: "（已达到长度上限）", placeholder: "输入问题，Enter 发送，Shift+Enter 换行",
  },
  en: {
    engine: "local reasoning engine", about: "A small distilled reasoning model that runs on a CPU.",
    model: "Model", metrics: "Metrics", prompt: "Question", send: "Send", stop: "Stop",
    clear: "Clear", key: "API key", thinking: "Thinking", stopped: "(stopped)", failed: "Error: ",
    cut: "(length limit reached)", placeholder: "Ask something; Enter sends, Shift+Enter breaks",
  },
};
const examples = [
  "请证明：任意奇数的平方减1都能被8整除",
  "写一个Python函数判断回文字符串",
  "如果今天是星期三，100天后是星期几？",
];
const $ = (id) => document.getElementById(id);
let language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
let model = "";
let history = [];
let running = null; // AbortController of the answer being written

function show_texts() {
  const text = texts[language];
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = text[node.dataset.text];
  }
  $("prompt").placeholder = text.placeholder;
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh-CN";
  const is_r1 = /deepseek-r1.*1\.5b/i.test(model);
  const name = is_r1 ? "DeepSeek-R1 (1.5B)" : model || "Sparrow";
  document.title = $("title").textContent = `🧠 ${name} - ${text.engine}`;
}

function headers() {
  const key = $("key").value;
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function error_text(response) {
  if (response.status === 401) $("key-label").hidden = false;
  const body = await response.json().catch(() => null);
  return body?.error?.message ?? `HTTP ${response.status}`;
}

async function load_model() {
  try {
    const response = await fetch("/v1/models", { headers: headers() });
    if (!response.ok) throw new Error(await error_text(response));
    model = (await response.json()).data[0]?.id ?? "";
    $("model").textContent = model;
  } catch (error) {
    $("model").textContent = `– (${error.message})`;
  }
  show_texts();
}

function add(parent, tag, css_class, text = "") {
  const node = document.createElement(tag);
  if (css_class) node.className = css_class;
  node.textContent = text;
  parent.append(node);
  return node;
}

// Yields the JSON of each `data:` line; comments and other fields are skipped.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

function begin_answer() {
  const message = add($("chat"), "div", "message assistant");
  const details = add(message, "details");
  details.hidden = true;
  add(details, "summary", "", texts[language].thinking);
  const thinking = add(details, "div");
  return { message, details, thinking, content: add(message, "div"), text: "" };
}

function take_chunk(answer, chunk) {
  if (chunk.error) throw new Error(chunk.error.message);
  if (chunk.usage) add(answer.message, "div", "usage", usage_text(chunk));
  const choice = chunk.choices?.[0];
  if (!choice) return;
  const thought = choice.delta?.reasoning_content;
  if (thought) {
    answer.details.hidden = false;
    answer.thinking.append(thought);
  }
  if (choice.delta?.content) {
    answer.text += choice.delta.content;
    answer.content.append(choice.delta.content);
  }
  if (choice.finish_reason === "length") add(answer.message, "div", "usage", texts[language].cut);
}

function usage_text(chunk) {
  const speed = chunk.timings?.predicted_per_second;
  const tokens = `${chunk.usage.prompt_tokens} + ${chunk.usage.completion_tokens} tokens`;
  return speed ? `${tokens}, ${speed.toFixed(1)} tokens/s` : tokens;
}

async function ask(question) {
  add($("chat"), "div", "message user", question);
  history.push({ role: "user", content: question });
  const answer = begin_answer();
  const mine = (running = new AbortController());
  show_running();
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST", headers: headers(), signal: mine.signal,
      body: JSON.stringify({
        model, messages: history, stream: true, stream_options: { include_usage: true },
      }),
    });
    if (!response.ok) throw new Error(await error_text(response));
    for await (const chunk of events(response)) take_chunk(answer, chunk);
  } catch (error) {
    const stopped = mine.signal.aborted;
    answer.message.classList.toggle("error", !stopped);
    const text = texts[language];
    add(answer.message, "div", "usage", stopped ? text.stopped : text.failed + error.message);
  }
  if (running !== mine) return; // the chat was cleared meanwhile
  // A question without an answer would break the alternation that templates expect.
  if (answer.text) history.push({ role: "assistant", content: answer.text });
  else history.pop();
  running = null;
  show_running();
  $("prompt").focus();
}

function show_running() {
  $("send").hidden = running !== null;
  $("stop").hidden = running === null;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("prompt").value.trim();
  if (!question || running) return;
  $("prompt").value = "";
  ask(question);
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("form").requestSubmit();
});
$("stop").addEventListener("click", () => running?.abort());
$("clear").addEventListener("click", () => {
  const old = running;
  running = null;
  old?.abort();
  history = [];
  $("chat").replaceChildren();
  show_running();
});
$("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  show_texts();
});
$("key").addEventListener("change", load_model);
for (const example of examples) {
  const button = add($("examples"), "button", "", example);
  button.type = "button";
  button.lang = "zh-CN";
  button.addEventListener("click", () => running || ask(example));
}
$("api").textContent = `${location.origin}/v1`;
load_model();
