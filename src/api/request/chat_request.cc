#include "api/request/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "api/request/field_table.h"

namespace sparrow::api {
namespace {

namespace json = boost::json;

// Variables of ours that a request must not replace.
constexpr std::string_view kReservedKwargs[] = {
    "messages",  "tools",     "documents",     "add_generation_prompt", "continue_final_message",
    "bos_token", "eos_token", "chat_template", "raise_exception",       "strftime_now"};

constexpr int kNoBudget = -1;

// What an effort stands for, in tokens of thinking: R1 uses some thousands on a usual question.
constexpr std::pair<std::string_view, int> kEfforts[] = {
    {"none", 0},     {"minimal", 256},     {"low", 1024},      {"medium", 4096},
    {"high", 16384}, {"xhigh", kNoBudget}, {"max", kNoBudget}, {"ultra", kNoBudget}};

// The names under which servers take a budget; the first that is there counts.
constexpr std::string_view kBudgetFields[] = {"thinking_budget", "thinking_token_budget",
                                              "thinking_budget_tokens", "reasoning_budget_tokens"};

MaybeError parse_effort(std::string_view effort, std::string_view field,
                        std::optional<int>& budget) {
  for (const auto& [name, tokens] : kEfforts) {
    if (effort != name) continue;
    budget = tokens;
    return std::nullopt;
  }
  return invalid_request(
      std::string(field),
      fmt::format("{} must be one of none, minimal, low, medium, high, xhigh.", field));
}

// A number goes before an effort.
void choose_budget(const json::object& body, ChatRequest& request, std::optional<int> of_effort) {
  ChatTurn& turn = request.turn;
  std::optional<int>& budget = request.params.thinking_budget;
  for (const std::string_view name : kBudgetFields) {
    const auto tokens = read_integer(body, name);
    if (tokens && !budget) budget = static_cast<int>(*tokens);
  }
  if (!budget) budget = turn.thinking_budget;
  if (!budget) budget = of_effort;
  if (budget == 0) turn.thinking = false;
}

MaybeError parse_thinking(const json::object& body, ChatRequest& request) {
  ChatTurn& turn = request.turn;
  std::optional<int> of_effort;
  if (const auto effort = read_string(body, "reasoning_effort")) {
    if (auto error = parse_effort(*effort, "reasoning_effort", of_effort)) return error;
  }
  if (const json::value* reasoning = read_value(body, "reasoning")) {
    const json::value* effort = read_value(reasoning->get_object(), "effort");
    if (effort != nullptr && !effort->is_string()) {
      return invalid_request("reasoning.effort", "reasoning.effort must be a string.");
    }
    if (effort != nullptr) {
      const std::string_view text = as_view(effort->get_string());
      if (auto error = parse_effort(text, "reasoning.effort", of_effort)) return error;
    }
  }
  if (const json::value* think = read_value(body, "think")) {
    if (think->is_bool()) {
      if (!think->get_bool()) turn.thinking = false;
    } else if (auto error = parse_effort(as_view(think->get_string()), "think", of_effort)) {
      return error;
    }
  }
  choose_budget(body, request, of_effort);
  return std::nullopt;
}

MaybeError parse_kwargs(const json::object& body, const ApiLimits& limits, ChatTurn& turn) {
  const json::value* value = read_value(body, "chat_template_kwargs");
  if (value == nullptr) return std::nullopt;
  const json::object& kwargs = value->get_object();
  if (kwargs.size() > limits.max_template_kwargs) {
    return invalid_request(
        "chat_template_kwargs",
        fmt::format("chat_template_kwargs may hold at most {} names.", limits.max_template_kwargs));
  }
  for (const auto& [key, item] : kwargs) {
    const std::string_view name(key.data(), key.size());
    if (std::find(std::begin(kReservedKwargs), std::end(kReservedKwargs), name) !=
        std::end(kReservedKwargs)) {
      return unsupported_parameter(fmt::format("chat_template_kwargs.{}", name),
                                   fmt::format("chat_template_kwargs may not replace {}.", name));
    }
    if (name == "thinking_budget") {
      const auto tokens = as_integer(item);
      if (!tokens || *tokens < kNoBudget || *tokens > std::numeric_limits<int>::max()) {
        return invalid_request(
            "chat_template_kwargs.thinking_budget",
            "chat_template_kwargs.thinking_budget must be a whole number, at least -1.");
      }
      turn.thinking_budget = static_cast<int>(*tokens);
    }
    const bool switches_thinking = name == "enable_thinking" || name == "thinking";
    if (switches_thinking && item.is_bool() && !item.get_bool()) turn.thinking = false;
    turn.template_kwargs[key] = item;
  }
  return std::nullopt;
}

MaybeError check_modalities(const json::object& body) {
  const json::value* value = read_value(body, "modalities");
  if (value == nullptr) return std::nullopt;
  bool text_only = value->is_array();
  if (text_only) {
    for (const json::value& item : value->get_array()) {
      text_only = text_only && as_view(item.get_string()) == "text";
    }
  }
  if (text_only) return std::nullopt;
  return unsupported_parameter("modalities",
                               "modalities: this model reads and writes text only, [\"text\"].");
}

MaybeError parse_chat_logprobs(const json::object& body, ChatRequest& request) {
  request.logprobs = read_bool(body, "logprobs").value_or(false);
  const int64_t top = read_integer(body, "top_logprobs").value_or(0);
  if (top > 0 && !request.logprobs) {
    return invalid_request("top_logprobs", "top_logprobs needs logprobs to be true.");
  }
  if (request.logprobs) request.params.sampling.num_top_logprobs = static_cast<int>(top);
  return std::nullopt;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClosed = "</think>\n\n";

// Stands for an empty thinking while the template is rendered, which would drop the real one.
constexpr std::string_view kEmptyThinkingMark = "\uE000empty-thinking\uE000";
constexpr std::string_view kEmptyThinking = "<think>\n\n</think>\n\n";

// Without thinking, answers of the history keep the empty thinking they were generated behind: the
// prompt then begins as the last one ended, and what was computed is used again.
void mark_empty_thinking(const ServedModel& model, json::array& messages) {
  if (!model.has_r1_template() || model.reasoning_tokens().start < 0) return;
  for (json::value& message : messages) {
    json::object& fields = message.get_object();
    json::value* content = fields.if_contains("content");
    if (as_view(fields.at("role").get_string()) != "assistant") continue;
    if (content == nullptr || !content->is_string()) continue;
    const std::string text(as_view(content->get_string()));
    if (text.empty() || text.find(kOpen) != std::string::npos) continue;
    *content = std::string(kEmptyThinkingMark) + text;
  }
}

void replace_marks(std::string& text) {
  for (size_t at = 0; (at = text.find(kEmptyThinkingMark, at)) != std::string::npos;) {
    text.replace(at, kEmptyThinkingMark.size(), kEmptyThinking);
  }
}

void close_thinking(const ServedModel& model, std::string& text) {
  if (model.reasoning_tokens().start < 0 || ends_with(text, kClosed)) return;
  if (ends_with(text, "<think>\n")) {
    text += "\n</think>\n\n";
  } else if (ends_with(text, kOpen)) {
    text += "\n\n</think>\n\n";
  } else {
    text += "<think>\n\n</think>\n\n";
  }
}

// Cuts what the template wrote behind the last message, so that the model goes on inside it.
MaybeError cut_after_final_message(const ChatTurn& turn, const ServedModel& model,
                                   std::string& text) {
  const json::object& last = turn.chat.messages.back().get_object();
  const json::string* content = last.at("content").if_string();
  if (as_view(last.at("role").get_string()) != "assistant" || content == nullptr) {
    return invalid_request("continue_final_message",
                           "continue_final_message needs a last message of the assistant with a "
                           "text content.");
  }
  std::string_view tail = as_view(*content);
  size_t at = text.rfind(tail);
  if (at == std::string::npos) {  // templates drop earlier thinking, and some trim
    const size_t end = tail.rfind("</think>");
    if (end != std::string_view::npos)
      tail.remove_prefix(end + std::string_view("</think>").size());
    while (!tail.empty() && (tail.back() == ' ' || tail.back() == '\n')) tail.remove_suffix(1);
    while (!tail.empty() && (tail.front() == ' ' || tail.front() == '\n')) tail.remove_prefix(1);
    at = text.rfind(tail);
  }
  if (at == std::string::npos) {
    return invalid_request("continue_final_message",
                           "This model's chat template changes the last message, so it cannot be "
                           "continued.");
  }
  if (!tail.empty()) {
    text.resize(at + tail.size());
  } else if (!model.eos_text().empty() && ends_with(text, model.eos_text())) {
    text.resize(text.size() - model.eos_text().size());
  }
  return std::nullopt;
}

json::object template_variables(const ChatTurn& turn, const ServedModel& model) {
  json::object variables = turn.template_kwargs;
  variables["messages"] = turn.chat.messages;
  if (!turn.thinking) mark_empty_thinking(model, variables["messages"].get_array());
  variables["add_generation_prompt"] = turn.add_generation_prompt;
  variables["bos_token"] = json::string_view(model.bos_text().data(), model.bos_text().size());
  variables["eos_token"] = json::string_view(model.eos_text().data(), model.eos_text().size());
  return variables;
}

// The prompt leaves the model inside its thinking when it ends with the opening tag, or when a
// continued message has opened and not closed it.
bool opens_thinking(const ChatTurn& turn, std::string_view text) {
  if (ends_with(text, kOpen) || ends_with(text, "<think>\n")) return true;
  if (!turn.continue_final_message) return false;
  const json::object& last = turn.chat.messages.back().get_object();
  const std::string_view content = as_view(last.at("content").get_string());
  const size_t open = content.rfind(kOpen);
  const size_t close = content.rfind("</think>");
  return open != std::string_view::npos && (close == std::string_view::npos || close < open);
}

}  // namespace

MaybeError parse_chat_turn(const json::object& body, const ServedModel& model,
                           const ApiLimits& limits, ChatTurn& turn,
                           std::vector<std::string>& warnings) {
  if (model.chat_template() == nullptr) {
    return unsupported_parameter(
        "messages",
        "This model comes without a chat template, so it cannot chat: use /v1/completions with a "
        "prompt, or start the server with --chat-template FILE.");
  }
  const json::value* messages = read_value(body, "messages");
  if (messages == nullptr) return invalid_request("messages", "messages is missing.");
  if (auto error = parse_chat_messages(messages->get_array(), model.system_role(), limits,
                                       turn.chat, warnings)) {
    return error;
  }
  turn.continue_final_message = read_bool(body, "continue_final_message").value_or(false);
  turn.add_generation_prompt =
      read_bool(body, "add_generation_prompt").value_or(!turn.continue_final_message);
  if (turn.continue_final_message && turn.add_generation_prompt) {
    return invalid_request("continue_final_message",
                           "continue_final_message and add_generation_prompt cannot both be true.");
  }
  return parse_kwargs(body, limits, turn);
}

MaybeError parse_chat_request(const json::object& body, const ServedModel& model,
                              const ApiOptions& options, ChatRequest& request) {
  std::vector<std::string>& warnings = request.params.warnings;
  if (auto error = check_fields(body, kChatEndpoint, options.reject_unknown_fields, warnings)) {
    return error;
  }
  if (auto error = parse_generation_params(body, model, options, request.params)) {
    return error;
  }
  if (auto error = check_modalities(body)) return error;
  if (auto error = parse_chat_turn(body, model, options.limits, request.turn, warnings)) {
    return error;
  }
  if (auto error = parse_thinking(body, request)) return error;
  if (auto error = parse_chat_logprobs(body, request)) return error;
  request.reasoning_field = options.reasoning_field;
  if (!read_bool(body, "separate_reasoning").value_or(true)) {
    request.reasoning_field = ReasoningField::kInline;
  }
  request.include_reasoning = read_bool(body, "include_reasoning").value_or(true);
  return std::nullopt;
}

MaybeError render_chat_prompt(const ChatTurn& turn, const ServedModel& model, ChatPrompt& prompt) {
  Result<std::string> rendered = model.chat_template()->render(template_variables(turn, model));
  if (!rendered.ok()) {
    return invalid_request("messages", fmt::format("The model's chat template refuses this "
                                                   "conversation: {}",
                                                   rendered.message()));
  }
  prompt.text = std::move(*rendered);
  if (!turn.thinking) replace_marks(prompt.text);
  if (turn.continue_final_message) {
    if (auto error = cut_after_final_message(turn, model, prompt.text)) return error;
  } else if (!turn.thinking && turn.add_generation_prompt) {
    close_thinking(model, prompt.text);
  }
  prompt.starts_inside_thinking =
      model.reasoning_tokens().start >= 0 && opens_thinking(turn, prompt.text);
  return std::nullopt;
}

MaybeError build_chat_prompt(const ChatTurn& turn, const ServedModel& model, ChatPrompt& prompt) {
  if (auto error = render_chat_prompt(turn, model, prompt)) return error;
  if (auto error = check_text_fits(model, prompt.text.size())) return error;
  prompt.tokens = model.tokenizer().encode(prompt.text);
  if (prompt.tokens.empty()) {
    return invalid_request("messages", "The conversation gives an empty prompt.");
  }
  return std::nullopt;
}

MaybeError check_text_fits(const ServedModel& model, size_t text_bytes) {
  const auto least_tokens = static_cast<int64_t>(text_bytes / model.longest_token_bytes());
  if (least_tokens < model.max_model_len()) return std::nullopt;
  return context_length_exceeded(model.max_model_len(), least_tokens, 1);
}

}  // namespace sparrow::api
