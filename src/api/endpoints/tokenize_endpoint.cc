#include <fmt/format.h>

#include "api/endpoints/endpoints.h"
#include "api/request/chat_request.h"
#include "api/request/completion_request.h"
#include "api/request/field_table.h"
#include "api/stream/reply.h"
#include "base/json.h"

namespace sparrow::api {
namespace {

namespace json = boost::json;

MaybeError read_body(ApiContext& context, const http::Request& request, const ServedModel& model,
                     unsigned endpoint, json::object& body) {
  const ApiOptions& options = context.options();
  std::vector<std::string> warnings;
  if (auto error = read_json_body(request, options.limits, body)) return error;
  if (auto error = check_fields(body, endpoint, options.reject_unknown_fields, warnings)) {
    return error;
  }
  const auto name = read_string(body, "model");
  if (name && !model.answers_to(*name)) return model_not_found(*name);
  return std::nullopt;
}

MaybeError render_messages(ApiContext& context, const json::object& body, const ServedModel& model,
                           ChatPrompt& prompt) {
  ChatTurn turn;
  std::vector<std::string> warnings;
  if (auto error = parse_chat_turn(body, model, context.options().limits, turn, warnings)) {
    return error;
  }
  return render_chat_prompt(turn, model, prompt);
}

// Counting tokens is what this is for, so the model's window does not bind here.
MaybeError tokenize(ApiContext& context, const http::Request& request, const ServedModel& model,
                    std::string& out) {
  json::object body;
  if (auto error = read_body(context, request, model, kTokenizeEndpoint, body)) return error;
  ChatPrompt prompt;
  bool add_bos = read_bool(body, "add_special_tokens").value_or(true);
  if (read_value(body, "messages") != nullptr) {
    if (auto error = render_messages(context, body, model, prompt)) return error;
    add_bos = read_bool(body, "add_special_tokens").value_or(false);
  } else {
    const auto text = read_string(body, "prompt");
    if (!text) return invalid_request("prompt", "prompt must be a string, or send messages.");
    prompt.text = *text;
  }
  const std::vector<TokenId> tokens =
      model.tokenizer().encode(prompt.text, {.parse_added_tokens = true, .add_bos = add_bos});
  out += R"({"count":)";
  append_integer(out, static_cast<int64_t>(tokens.size()));
  out += R"(,"max_model_len":)";
  append_integer(out, model.max_model_len());
  out += R"(,"tokens":)";
  append_token_ids(out, std::span<const TokenId>(tokens));
  out += R"(,"token_strs":)";
  if (read_bool(body, "return_token_strs").value_or(false)) {
    out += '[';
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, model.tokenizer().token_bytes(tokens[i]));
    }
    out += ']';
  } else {
    out += "null";
  }
  out += '}';
  return std::nullopt;
}

MaybeError detokenize(ApiContext& context, const http::Request& request, const ServedModel& model,
                      std::string& out) {
  json::object body;
  if (auto error = read_body(context, request, model, kDetokenizeEndpoint, body)) return error;
  const json::value* list = read_value(body, "tokens");
  if (list == nullptr) return invalid_request("tokens", "tokens is missing.");
  std::vector<TokenId> tokens;
  if (auto error = read_token_ids(model, list->get_array(), "tokens", tokens)) return error;
  out += R"({"prompt":)";
  append_json_string(out, model.tokenizer().decode(tokens));
  out += '}';
  return std::nullopt;
}

MaybeError apply_template(ApiContext& context, const http::Request& request,
                          const ServedModel& model, std::string& out) {
  json::object body;
  if (auto error = read_body(context, request, model, kTokenizeEndpoint, body)) return error;
  ChatPrompt prompt;
  if (auto error = render_messages(context, body, model, prompt)) return error;
  out += R"({"prompt":)";
  append_json_string(out, prompt.text);
  out += '}';
  return std::nullopt;
}

using Function = MaybeError (*)(ApiContext&, const http::Request&, const ServedModel&,
                                std::string&);

void add(http::Router& router, ApiContext& context, const char* path, Function function) {
  router.add("POST", path, [&context, function](const http::Call& call) {
    context.run_answer(call, [&context, function](const http::Request& request,
                                                  const ServedModel& model, std::string& body) {
      return function(context, request, model, body);
    });
  });
}

}  // namespace

void add_tokenize_endpoints(http::Router& router, ApiContext& context) {
  add(router, context, "/tokenize", tokenize);
  add(router, context, "/detokenize", detokenize);
  add(router, context, "/apply-template", apply_template);
}

}  // namespace sparrow::api
