#pragma once
// ChatRequest: one POST /v1/chat/completions (or the messages form of /tokenize), parsed and
// validated. ChatPrompt: its tokens. Plain values; the functions are stateless and thread-safe.

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "api/api_options.h"
#include "api/request/chat_messages.h"
#include "api/request/generation_params.h"

namespace sparrow::api {

// How the conversation becomes a prompt.
struct ChatTurn {
  ChatMessages chat;
  boost::json::object template_kwargs;
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  bool thinking = true;                // false: the prompt closes the thinking before it starts
  std::optional<int> thinking_budget;  // of chat_template_kwargs, see GenerationParams
};

struct ChatRequest {
  GenerationParams params;
  ChatTurn turn;
  bool logprobs = false;
  ReasoningField reasoning_field = ReasoningField::kBoth;
  bool include_reasoning = true;
};

struct ChatPrompt {
  std::string text;
  std::vector<TokenId> tokens;
  bool starts_inside_thinking = false;
};

// The fields that shape the prompt; shared with /tokenize.
MaybeError parse_chat_turn(const boost::json::object& body, const ServedModel& model,
                           const ApiLimits& limits, ChatTurn& turn,
                           std::vector<std::string>& warnings);

MaybeError parse_chat_request(const boost::json::object& body, const ServedModel& model,
                              const ApiOptions& options, ChatRequest& request);

// Renders the model's template; the template writes the one BOS.
MaybeError render_chat_prompt(const ChatTurn& turn, const ServedModel& model, ChatPrompt& prompt);
// Renders and encodes, within the model's window.
MaybeError build_chat_prompt(const ChatTurn& turn, const ServedModel& model, ChatPrompt& prompt);

// Refuses text that cannot fit the window whatever its tokens are, before encoding it.
MaybeError check_text_fits(const ServedModel& model, size_t text_bytes);

}  // namespace sparrow::api
