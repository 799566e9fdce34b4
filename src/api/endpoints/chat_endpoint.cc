#include <algorithm>

#include "api/endpoints/endpoints.h"
#include "api/request/chat_request.h"
#include "api/stream/chat_format.h"

namespace sparrow::api {
namespace {

// A budget that was asked for comes with a part of max_tokens that only the answer may use.
void limit_thinking(const ApiOptions& options, const GenerationParams& params, Request& request) {
  if (!params.thinking_budget || *params.thinking_budget < 0) return;
  request.reasoning.max_tokens = *params.thinking_budget;
  request.reasoning.answer_reserve =
      std::min(options.admission.degradation.answer_reserve, request.stop.max_tokens / 2);
}

// What the request leaves to the server when the load is high.
RequestShape shape_of(const ChatRequest& chat, const Request& request) {
  RequestShape shape;
  shape.thinks = request.reasoning.end >= 0 && chat.turn.thinking;
  shape.thinking_budget = chat.params.thinking_budget;
  shape.max_tokens_open = !chat.params.max_tokens;
  shape.temperature_open = !chat.params.temperature_given;
  shape.max_tokens = request.stop.max_tokens;
  shape.temperature = request.sampling.temperature;
  return shape;
}

std::string last_question(const ChatTurn& turn) {
  const boost::json::array& messages = turn.chat.messages;
  for (size_t i = messages.size(); i-- > 0;) {
    const boost::json::object& message = messages[i].get_object();
    const boost::json::string* content = message.at("content").if_string();
    if (message.at("role").get_string() == "user" && content != nullptr) {
      return std::string(content->data(), content->size());
    }
  }
  return {};
}

Request make_request(ApiContext& context, const ServedModel& model, const ChatRequest& chat,
                     ChatPrompt& prompt, const std::string& label) {
  Request request;
  request.id = context.take_request_ids(1);
  request.label = label;
  request.sampling = chat.params.sampling;
  request.stop = chat.params.stop;
  request.reasoning = model.reasoning_tokens();
  request.reasoning.starts_inside = prompt.starts_inside_thinking;
  limit_thinking(context.options(), chat.params, request);
  request.num_choices = chat.params.num_choices;
  request.skip_special_tokens = chat.params.skip_special_tokens;
  request.speculative = chat.params.speculative;
  request.priority = chat.params.priority;
  request.fairness_key = chat.params.user;
  request.cache_salt = chat.params.cache_salt;
  request.arrival = context.clock().now();
  request.prompt = std::move(prompt.tokens);
  return request;
}

Reply make_reply(ApiContext& context, const ServedModel& model, const ChatRequest& chat) {
  const GenerationParams& params = chat.params;
  Reply reply;
  reply.id = context.make_reply_id("chatcmpl-");
  reply.created = unix_seconds();
  reply.model = model.name();
  reply.num_choices = params.num_choices;
  reply.stream = params.stream;
  reply.include_usage = params.include_usage;
  reply.continuous_usage = params.continuous_usage;
  reply.logprobs = chat.logprobs;
  reply.return_token_ids = params.return_token_ids;
  reply.system_folded = chat.turn.chat.system_folded;
  reply.warnings = params.warnings;
  reply.tokenizer = &model.tokenizer();
  return reply;
}

MaybeError prepare_chat(ApiContext& context, const http::Request& http_request,
                        const ServedModel& model, PreparedGeneration& prepared) {
  const ApiOptions& options = context.options();
  boost::json::object body;
  if (auto error = read_json_body(http_request, options.limits, body)) return error;
  ChatRequest chat;
  if (auto error = parse_chat_request(body, model, options, chat)) return error;
  ChatPrompt prompt;
  if (auto error = build_chat_prompt(chat.turn, model, prompt)) return error;
  const auto num_prompt = static_cast<int64_t>(prompt.tokens.size());
  if (auto error = set_max_tokens(model, num_prompt, options.default_max_tokens, chat.params)) {
    return error;
  }
  const ChatFormatOptions format{.reasoning_field = chat.reasoning_field,
                                 .include_reasoning = chat.include_reasoning,
                                 .starts_inside_thinking = prompt.starts_inside_thinking};
  Reply reply = make_reply(context, model, chat);
  if (reply.return_token_ids) reply.prompt_token_ids.push_back(prompt.tokens);
  prepared.headers = reply_headers(reply.warnings);
  prepared.requests.push_back(make_request(context, model, chat, prompt, reply.id));
  prepared.shape = shape_of(chat, prepared.requests.back());
  prepared.is_chat = true;
  prepared.question = last_question(chat.turn);
  if (reply.stream) {
    prepared.format = std::make_unique<ChatStreamFormat>(std::move(reply), format);
  } else {
    prepared.format = std::make_unique<ChatWholeFormat>(std::move(reply), format);
  }
  return std::nullopt;
}

}  // namespace

void add_chat_endpoint(http::Router& router, ApiContext& context) {
  router.add("POST", "/v1/chat/completions", [&context](const http::Call& call) {
    context.run_generation(call, [&context](const http::Request& request, const ServedModel& model,
                                            PreparedGeneration& prepared) {
      return prepare_chat(context, request, model, prepared);
    });
  });
}

http::Headers reply_headers(const std::vector<std::string>& warnings) {
  if (warnings.empty()) return {};
  std::string names;
  for (const std::string& name : warnings) {
    if (!names.empty()) names += ", ";
    names += name;
  }
  return {{"x-sparrow-ignored", names}};
}

}  // namespace sparrow::api
