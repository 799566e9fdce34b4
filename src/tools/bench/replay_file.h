#pragma once
// The texts of `sparrow bench --replay`: JSON Lines, an object each, with the strings "prompt" and
// "output", or with the token ids "input_tok_ids" and "output_tok_ids" (the format of
// LLMServingSim's traces). Other keys are ignored.

#include <string>
#include <vector>

#include "base/status.h"
#include "tokenizer/tokenizer.h"
#include "tools/bench/replay.h"

namespace sparrow {

struct ReplayLimits {
  int max_texts = 0;   // the first so many that fit
  int max_prompt = 0;  // tokens; texts with longer prompts are passed over
  int max_output = 0;  // tokens; the rest is left out
};

// Errors name the file and the line.
Result<std::vector<ReplayText>> read_replay_file(const std::string& path,
                                                 const Tokenizer& tokenizer,
                                                 const ReplayLimits& limits);

}  // namespace sparrow
