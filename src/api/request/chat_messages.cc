#include "api/request/chat_messages.h"

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include <algorithm>

#include "api/request/field_table.h"

namespace sparrow::api {
namespace {

namespace json = boost::json;

constexpr std::string_view kRoles[] = {"system",    "developer", "user",
                                       "assistant", "tool",      "function"};
// Carried by clients that replay what a server sent, or read from elsewhere in this file.
constexpr std::string_view kMessageKeys[] = {"role",
                                             "content",
                                             "name",
                                             "tool_calls",
                                             "tool_call_id",
                                             "refusal",
                                             "reasoning_content",
                                             "reasoning",
                                             "thinking",
                                             "reasoning_details",
                                             "annotations",
                                             "audio",
                                             "id",
                                             "type",
                                             "function_call"};

ApiError bad_message(size_t index, std::string_view field, std::string_view what) {
  const std::string param = field.empty() ? fmt::format("messages[{}]", index)
                                          : fmt::format("messages[{}].{}", index, field);
  return invalid_request(param, fmt::format("{} {}.", param, what));
}

// One element of a content list.
MaybeError append_part(const json::value& part, size_t index, size_t part_index,
                       std::string& text) {
  const std::string field = fmt::format("content[{}]", part_index);
  if (part.is_string()) {
    text += as_view(part.get_string());
    return std::nullopt;
  }
  if (!part.is_object()) return bad_message(index, field, "must be an object with a type");
  const json::object& object = part.get_object();
  const auto type = read_string(object, "type");
  if (!type) return bad_message(index, field, "needs a type");
  if (*type == "text" || *type == "input_text" || *type == "output_text") {
    const auto part_text = read_string(object, "text");
    if (!part_text) return bad_message(index, field, "needs a text that is a string");
    text += *part_text;
    return std::nullopt;
  }
  if (*type == "refusal") {
    text += read_string(object, "refusal").value_or("");
    return std::nullopt;
  }
  const std::string param = fmt::format("messages[{}].{}", index, field);
  return unsupported_parameter(
      param, fmt::format("{}: this model reads text only, a part of type {} cannot be used.", param,
                         type->substr(0, 40)));
}

// Parts are joined by line breaks, like the servers people come from do.
MaybeError read_content(const json::value& content, size_t index, std::string& text) {
  if (content.is_string()) {
    text = as_view(content.get_string());
    return std::nullopt;
  }
  if (!content.is_array()) {
    return bad_message(index, "content", "must be a string or a list of text parts");
  }
  const json::array& parts = content.get_array();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += '\n';
    if (auto error = append_part(parts[i], index, i, text)) return error;
  }
  return std::nullopt;
}

// Templates concatenate arguments as a string; some clients send the object itself.
MaybeError read_tool_calls(const json::value& calls, size_t index, json::array& output) {
  if (!calls.is_array()) return bad_message(index, "tool_calls", "must be a list");
  for (const json::value& call : calls.get_array()) {
    const json::value* function =
        call.is_object() ? read_value(call.get_object(), "function") : nullptr;
    if (function == nullptr || !function->is_object() ||
        !read_string(function->get_object(), "name")) {
      return bad_message(index, "tool_calls", "needs a function with a name in each call");
    }
    json::object copy = call.get_object();
    json::object& target = copy["function"].get_object();
    copy["type"] = "function";
    const json::value* arguments = read_value(function->get_object(), "arguments");
    if (arguments == nullptr) {
      target["arguments"] = "{}";
    } else if (!arguments->is_string()) {
      target["arguments"] = json::serialize(*arguments);
    }
    output.push_back(std::move(copy));
  }
  return std::nullopt;
}

MaybeError read_assistant(const json::object& input, size_t index, json::object& message) {
  std::string text;
  const json::value* content = read_value(input, "content");
  if (content != nullptr) {
    if (auto error = read_content(*content, index, text)) return error;
  }
  json::array calls;
  if (const json::value* value = read_value(input, "tool_calls")) {
    if (auto error = read_tool_calls(*value, index, calls)) return error;
  }
  // The R1 template renders calls only beside a null content; "" would lose them silently.
  if (!calls.empty() && text.empty()) {
    message["content"] = nullptr;
  } else {
    message["content"] = text;
  }
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  for (const char* name : {"reasoning_content", "reasoning", "thinking"}) {
    if (const auto thought = read_string(input, name)) {
      message["reasoning_content"] = json::string_view(thought->data(), thought->size());
      break;
    }
  }
  return std::nullopt;
}

MaybeError read_message(const json::value& value, size_t index, json::object& message,
                        std::vector<std::string>& warnings) {
  if (!value.is_object()) return bad_message(index, "", "must be an object");
  const json::object& input = value.get_object();
  for (const auto& [key, unused] : input) {
    const std::string_view name(key.data(), key.size());
    if (std::find(std::begin(kMessageKeys), std::end(kMessageKeys), name) ==
        std::end(kMessageKeys)) {
      add_warning(warnings, fmt::format("messages.{}", name.substr(0, 40)));
    }
  }
  const auto role = read_string(input, "role");
  if (!role || std::find(std::begin(kRoles), std::end(kRoles), *role) == std::end(kRoles)) {
    return bad_message(index, "role",
                       "must be one of system, developer, user, assistant, tool, function");
  }
  std::string_view template_role = *role;
  if (template_role == "developer") template_role = "system";
  if (template_role == "function") template_role = "tool";
  message["role"] = json::string_view(template_role.data(), template_role.size());
  if (const auto name = read_string(input, "name")) {
    message["name"] = json::string_view(name->data(), name->size());
  }
  if (const auto id = read_string(input, "tool_call_id")) {
    message["tool_call_id"] = json::string_view(id->data(), id->size());
  }
  if (*role == "assistant") return read_assistant(input, index, message);
  const json::value* content = read_value(input, "content");
  if (content == nullptr) {
    return bad_message(index, "content", "must be a string or a list of text parts");
  }
  std::string text;
  if (auto error = read_content(*content, index, text)) return error;
  message["content"] = text;
  return std::nullopt;
}

std::string_view role_of(const json::value& message) {
  return as_view(message.get_object().at("role").get_string());
}

// R1 was trained without system messages: their text goes in front of the first user message.
void fold_system(json::array& messages, ChatMessages& output) {
  std::string system;
  for (json::value& message : messages) {
    if (role_of(message) != "system") {
      output.messages.push_back(std::move(message));
      continue;
    }
    output.system_folded = true;
    const std::string_view text = as_view(message.get_object().at("content").get_string());
    if (text.empty()) continue;
    if (!system.empty()) system += "\n\n";
    system += text;
  }
  if (system.empty() && !output.messages.empty()) return;
  for (json::value& message : output.messages) {
    if (role_of(message) != "user") continue;
    json::string& content = message.get_object().at("content").get_string();
    const std::string joined = system + "\n\n" + std::string(as_view(content));
    content = joined;
    return;
  }
  json::object message;
  message["role"] = "user";
  message["content"] = system;
  output.messages.insert(output.messages.begin(), std::move(message));
}

}  // namespace

MaybeError parse_chat_messages(const json::array& input, SystemRole system_role,
                               const ApiLimits& limits, ChatMessages& output,
                               std::vector<std::string>& warnings) {
  if (input.empty()) return invalid_request("messages", "messages must not be empty.");
  if (input.size() > static_cast<size_t>(limits.max_messages)) {
    return invalid_request("messages", fmt::format("messages may hold at most {} entries, got {}.",
                                                   limits.max_messages, input.size()));
  }
  json::array messages;
  bool any_system = false;
  for (size_t i = 0; i < input.size(); ++i) {
    json::object message;
    if (auto error = read_message(input[i], i, message, warnings)) return error;
    messages.push_back(std::move(message));
    if (role_of(messages.back()) != "system") continue;
    any_system = true;
    if (system_role == SystemRole::kReject) {
      return unsupported_parameter(
          fmt::format("messages[{}].role", i),
          "System messages are refused here (--system-role reject): put the instructions into the "
          "user's text.");
    }
  }
  if (any_system && system_role == SystemRole::kFold) {
    fold_system(messages, output);
  } else {
    output.messages = std::move(messages);
  }
  return std::nullopt;
}

}  // namespace sparrow::api
