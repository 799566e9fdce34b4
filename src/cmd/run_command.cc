// sparrow run: one answer to stdout, or a chat in the terminal.

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdio>
#include <iostream>

#include "base/log.h"
#include "base/random.h"
#include "cmd/command.h"
#include "cmd/model_session.h"
#include "cmd/options/model_options.h"
#include "cmd/options/speculation_options.h"
#include "engine/engine.h"

namespace sparrow {
namespace {

constexpr const char* kAnswer = "Answer";
constexpr const char* kThinkOpen = "<think>";
constexpr const char* kThinkClose = "</think>";

constexpr const char* kExamples =
    "  sparrow run \"What is 17 * 23?\"\n"
    "  sparrow run --model r1-q8_0.gguf --temperature 0.6 \"求解方程 x² - 5x + 6 = 0\"\n"
    "  sparrow run --no-thinking \"Say hello\"\n"
    "  sparrow run                                     a chat: /clear starts anew, /exit leaves\n";

std::vector<OptionSpec> own_options() {
  return {
      {.name = "system",
       .type = OptionType::kString,
       .default_text = "",
       .help = "Instructions put before the first question",
       .group = kAnswer},
      {.name = "temperature",
       .type = OptionType::kNumber,
       .default_text = "",
       .help = "0 is greedy; default: the model's",
       .min = 0,
       .max = 2,
       .group = kAnswer},
      {.name = "top-p",
       .type = OptionType::kNumber,
       .default_text = "",
       .help = "Share of the probability to choose from; default: the model's",
       .min = 1e-6,
       .max = 1,
       .group = kAnswer},
      {.name = "max-tokens",
       .type = OptionType::kSize,
       .default_text = "4096",
       .help = "Longest answer, thinking included",
       .unit = "tokens",
       .min = 1,
       .max = 1048576,
       .aliases = "-n",
       .group = kAnswer},
      {.name = "seed",
       .type = OptionType::kInt,
       .default_text = "",
       .help = "The same seed gives the same answer",
       .min = 0,
       .group = kAnswer},
      {.name = "thinking",
       .type = OptionType::kFlag,
       .default_text = "true",
       .help = "Let the model think first; --no-thinking answers at once",
       .group = kAnswer},
      {.name = "hide-thinking",
       .type = OptionType::kFlag,
       .default_text = "false",
       .help = "Print the answer only",
       .group = kAnswer},
      {.name = "raw",
       .type = OptionType::kFlag,
       .default_text = "false",
       .help = "Continue the text as it is, without the chat format",
       .group = kAnswer},
      {.name = "verbose",
       .type = OptionType::kFlag,
       .default_text = "false",
       .help = "Show the log lines of loading and the speed",
       .aliases = "-v",
       .group = kAnswer},
  };
}

// Set by Ctrl-C: stops the answer, not the program.
std::atomic<bool> g_interrupted{false};
void on_interrupt(int) { g_interrupted.store(true); }

// Prints events as they come: thinking dim on a terminal, in tags otherwise.
class Printer final : public EventSink {
 public:
  Printer(bool hide_thinking, bool starts_thinking)
      : is_terminal_(::isatty(STDOUT_FILENO) == 1), hide_(hide_thinking) {
    if (starts_thinking) enter_thinking();
  }

  void publish(std::vector<StreamEvent>&& events) override {
    for (const StreamEvent& event : events) {
      const bool thinking = event.channel == TextChannel::kReasoning;
      if (!event.text.empty() && thinking != thinking_)
        thinking ? enter_thinking() : leave_thinking();
      if (!thinking) answer_ += event.text;
      if (!thinking || !hide_) std::fputs(event.text.c_str(), stdout);
      if (event.finish != FinishReason::kNone) {
        finish_ = event.finish;
        usage_ = event.usage;
      }
    }
    std::fflush(stdout);
  }

  void end() {
    if (thinking_) leave_thinking();
    std::fputs("\n", stdout);
    std::fflush(stdout);
  }
  bool finished() const { return finish_ != FinishReason::kNone; }
  FinishReason finish() const { return finish_; }
  const ChoiceUsage& usage() const { return usage_; }
  const std::string& answer() const { return answer_; }

 private:
  void enter_thinking() {
    thinking_ = true;
    if (!hide_) std::fputs(is_terminal_ ? "\x1b[2m" : "<think>\n", stdout);
  }
  void leave_thinking() {
    thinking_ = false;
    if (!hide_) std::fputs(is_terminal_ ? "\x1b[0m" : "</think>", stdout);
  }

  const bool is_terminal_;
  const bool hide_;
  bool thinking_ = false;
  std::string answer_;
  FinishReason finish_ = FinishReason::kNone;
  ChoiceUsage usage_;
};

class Chat {
 public:
  Chat(const OptionValues& values, ModelSession session, const SpeculationOptions& speculation)
      : values_(values),
        session_(std::move(session)),
        engine_(*session_.executor, *session_.tokenizer, {.speculation = speculation}, nullptr) {}

  // Asks and prints; false when the answer failed.
  bool ask(const std::string& text) {
    Result<std::string> prompt = prompt_for(text);
    if (!prompt.ok()) return fail(prompt.status()), false;
    Request request = request_for(*prompt);
    const uint64_t id = request.id;
    Printer printer(values_.flag("hide-thinking"), request.reasoning.starts_inside);
    const Status submitted = engine_.submit(std::move(request), &printer);
    if (!submitted.ok()) return fail(submitted), false;
    g_interrupted.store(false);
    while (!printer.finished()) {
      if (g_interrupted.exchange(false)) engine_.cancel(id);
      engine_.step(clock_.now());
    }
    printer.end();
    messages_.push_back({{"role", "user"}, {"content", text}});
    messages_.push_back({{"role", "assistant"}, {"content", printer.answer()}});
    report(printer);
    return printer.finish() != FinishReason::kError && printer.finish() != FinishReason::kNotFinite;
  }

  void clear() { messages_.clear(); }

 private:
  Result<std::string> prompt_for(const std::string& text) const {
    if (values_.flag("raw")) return text;
    if (session_.chat_template == nullptr) {
      return failed_precondition("this model has no chat template; use --raw to continue a text");
    }
    boost::json::array messages = messages_;
    messages.push_back({{"role", "user"}, {"content", text}});
    // R1 wants no system message: instructions belong to the first question.
    const std::string& system = values_.text("system");
    if (!system.empty()) {
      auto& first = messages.front().as_object();
      first["content"] = system + "\n\n" + std::string(first["content"].as_string());
    }
    const Tokenizer& tokenizer = *session_.tokenizer;
    boost::json::object variables;
    variables["messages"] = std::move(messages);
    variables["add_generation_prompt"] = true;
    variables["bos_token"] = text_of(tokenizer.bos_token_id());
    variables["eos_token"] = text_of(tokenizer.eos_token_id());
    ASSIGN_OR_RETURN(std::string prompt, session_.chat_template->render(variables));
    if (!values_.flag("thinking")) {
      const std::string opened = std::string(kThinkOpen) + "\n";
      if (prompt.ends_with(opened)) prompt.resize(prompt.size() - opened.size());
      prompt += "<think>\n\n</think>\n\n";
    }
    return prompt;
  }

  std::string text_of(TokenId id) const {
    return id < 0 ? std::string() : std::string(session_.tokenizer->token_bytes(id));
  }

  Request request_for(const std::string& prompt) {
    const Tokenizer& tokenizer = *session_.tokenizer;
    const GenerationDefaults& defaults = session_.generation;
    Request request;
    request.id = ++num_requests_;
    request.prompt = tokenizer.encode(prompt, {.add_bos = values_.flag("raw")});
    SamplingParams& sampling = request.sampling;
    sampling.temperature = values_.given("temperature") ? values_.number("temperature")
                                                        : defaults.temperature.value_or(1.0);
    sampling.top_p =
        values_.given("top-p") ? values_.number("top-p") : defaults.top_p.value_or(1.0);
    sampling.top_k = defaults.top_k.value_or(0);
    sampling.seed =
        values_.given("seed") ? static_cast<uint64_t>(values_.integer("seed")) : entropy64();
    request.stop.token_ids =
        defaults.eos_token_ids.empty() ? session_.config.eos_token_ids : defaults.eos_token_ids;
    if (tokenizer.eos_token_id() >= 0) request.stop.token_ids.push_back(tokenizer.eos_token_id());
    std::sort(request.stop.token_ids.begin(), request.stop.token_ids.end());
    request.stop.max_tokens = static_cast<int>(values_.integer("max-tokens"));
    const auto start = tokenizer.added_token_id(kThinkOpen),
               end = tokenizer.added_token_id(kThinkClose);
    if (start && end) {
      const auto last_start = std::find(request.prompt.rbegin(), request.prompt.rend(), *start);
      const auto last_end = std::find(request.prompt.rbegin(), request.prompt.rend(), *end);
      request.reasoning = {*start, *end, last_start < last_end};
    }
    request.arrival = clock_.now();
    return request;
  }

  void report(const Printer& printer) const {
    if (printer.finish() == FinishReason::kNotFinite || printer.finish() == FinishReason::kError) {
      fail(internal_error("the model's numbers are not finite (NaN): the weights may be damaged"));
    }
    if (!values_.flag("verbose")) return;
    const ChoiceUsage& usage = printer.usage();
    const double decode_s = to_seconds(usage.decode_time);
    std::fprintf(stderr, "%d prompt tokens in %.2f s, %d tokens, %.1f tokens/s (%s)\n",
                 usage.num_prompt_tokens, to_seconds(usage.prefill_time), usage.num_output_tokens,
                 decode_s > 0 ? (usage.num_output_tokens - 1) / decode_s : 0.0,
                 finish_reason_name(printer.finish()));
  }

  const OptionValues& values_;
  ModelSession session_;
  Engine engine_;
  RealClock clock_;
  boost::json::array messages_;
  uint64_t num_requests_ = 0;
};

// Reads questions until the end of input. True when every answer came.
bool converse(Chat& chat) {
  const bool is_terminal = ::isatty(STDIN_FILENO) == 1;
  if (is_terminal)
    std::fputs(
        "Ask anything. /clear starts anew, /exit or Ctrl-D leaves, Ctrl-C stops an answer.\n",
        stderr);
  bool all_answered = true;
  while (true) {
    if (is_terminal) {
      std::fputs("> ", stdout);
      std::fflush(stdout);
    }
    std::string line;
    if (!std::getline(std::cin, line)) {
      if (!g_interrupted.exchange(false) || !is_terminal) return all_answered;
      std::cin.clear();  // Ctrl-C at the prompt: a new line
      clearerr(stdin);
      std::fputs("\n", stdout);
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line == "/exit" || line == "/quit") return all_answered;
    if (line == "/clear") {
      chat.clear();
      continue;
    }
    all_answered = chat.ask(line) && all_answered;
  }
}

}  // namespace

const CommandSpec& run_spec() {
  static const std::vector<OptionSpec> kOptions =
      with_speculation_options(with_model_options(own_options()));
  static const CommandSpec kSpec{.name = "run",
                                 .summary = "Answer once, or chat in the terminal",
                                 .positional = "[PROMPT]",
                                 .options = kOptions,
                                 .examples = kExamples};
  return kSpec;
}

int run_run(const OptionValues& values) {
  const Status log = configure_log(
      {.level = values.flag("verbose") ? LogLevel::kInfo : LogLevel::kWarning, .file = {}});
  if (!log.ok()) return fail(log);
  const Result<SpeculationOptions> speculation = speculation_options(values);
  if (!speculation.ok()) return fail(speculation.status());
  Result<ModelSession> session = open_session(values, "", {.num_slots = 1});
  if (!session.ok()) return fail(session.status());
  struct sigaction action {};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a waiting read returns
  sigaction(SIGINT, &action, nullptr);
  Chat chat(values, std::move(session).value(), *speculation);
  if (values.positional().empty()) return converse(chat) ? 0 : 1;
  return chat.ask(fmt::format("{}", fmt::join(values.positional(), " "))) ? 0 : 1;
}

}  // namespace sparrow
