#pragma once
// CompletionRequest: one POST /v1/completions, parsed, validated and encoded. A plain value; the
// functions are stateless and thread-safe.

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "api/api_options.h"
#include "api/request/generation_params.h"

namespace sparrow::api {

struct CompletionPrompt {
  std::string text;  // for echo; empty unless asked for
  std::vector<TokenId> tokens;
};

struct CompletionRequest {
  GenerationParams params;
  std::vector<CompletionPrompt> prompts;  // choice c of prompt p has index p * n + c
  bool echo = false;
};

MaybeError parse_completion_request(const boost::json::object& body, const ServedModel& model,
                                    const ApiOptions& options, CompletionRequest& request);

// A prompt given as text: BOS in front as the tokenizer asks for, unless `add_bos` is false.
MaybeError encode_text_prompt(const ServedModel& model, std::string_view text, bool add_bos,
                              std::vector<TokenId>& tokens);
// A list of ids, checked against the vocabulary.
MaybeError read_token_ids(const ServedModel& model, const boost::json::array& ids,
                          std::string_view field, std::vector<TokenId>& tokens);

}  // namespace sparrow::api
