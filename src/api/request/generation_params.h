#pragma once
// GenerationParams: everything a request says about how to generate, in any dialect: sampling, stop
// rules, number of choices, what the reply contains. Filled from a JSON body that passed
// check_fields(), with the model's defaults where the request is silent. A plain value.

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/errors.h"
#include "api/served_model.h"
#include "core/request.h"

namespace sparrow::api {

struct GenerationParams {
  SamplingParams sampling;
  StopRules stop;  // max_tokens is set by set_max_tokens() once the prompt's length is known
  std::optional<int64_t> max_tokens;  // as the client wrote it
  bool temperature_given = false;
  std::optional<int> thinking_budget;  // of the reasoning tokens; -1: none, and that is wanted
  int num_choices = 1;
  int priority = 0;
  std::string user;
  std::string cache_salt;  // prompts share computed prefixes only under the same one

  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
  bool return_token_ids = false;
  bool skip_special_tokens = true;
  bool speculative = true;            // an extension: false computes every token by a step
  std::vector<std::string> warnings;  // fields without effect, by name
};

// Reads what chat and completions have in common, the model name included.
MaybeError parse_generation_params(const boost::json::object& body, const ServedModel& model,
                                   const ApiOptions& options, GenerationParams& params);

// Checks the prompt against the window and sets stop.max_tokens of every choice.
MaybeError set_max_tokens(const ServedModel& model, int64_t num_prompt_tokens,
                          int default_max_tokens, GenerationParams& params);

}  // namespace sparrow::api
