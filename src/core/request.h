#pragma once
// Request: what enters the engine. Tokens, sampling, stop rules, deadlines; no HTTP, no text of the
// prompt. A plain value that moves through the inbox once. `n` choices are one Request; the engine
// makes n sequences of it.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "core/ids.h"
#include "core/sampling_params.h"
#include "core/token_masker.h"

namespace sparrow {

// How thinking is told from answering: by token id, never by searching text.
struct ReasoningTokens {
  TokenId start = -1;          // "<think>", -1: the model has none
  TokenId end = -1;            // "</think>"
  bool starts_inside = false;  // the prompt already opened the thinking
  // Where the thinking is ended if the model does not do it: after max_tokens of it (-1: no bound),
  // and early enough that answer_reserve of the request's max_tokens are left. `closing` is then
  // put behind it, token by token as if sampled: the end token and what should follow it.
  int max_tokens = -1;
  int answer_reserve = 0;
  std::vector<TokenId> closing;
};

struct StopRules {
  std::vector<TokenId> token_ids;    // end-of-sequence and stop_token_ids, sorted
  std::vector<std::string> strings;  // the text before the first match is kept
  bool include_stop_string = false;  // keep the match itself too
  bool ignore_eos = false;           // only max_tokens (and strings) end the sequence
  int min_tokens = 0;                // stop tokens are not sampled before this many tokens
  int max_tokens = 1;                // of each choice; the engine also stops at the context end
};

struct Request {
  uint64_t id = 0;    // unique in the process; 0 is no request
  std::string label;  // "chatcmpl-…": for logs
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  StopRules stop;
  ReasoningTokens reasoning;
  int num_choices = 1;
  bool skip_special_tokens = true;      // special tokens do not appear in the text
  bool speculative = true;              // may be drafted; the text is the same either way
  int priority = 0;                     // lower first
  std::string fairness_key;             // whose turn it uses: tenant or user; empty = one common
  std::string tenant;                   // who pays for cached blocks; empty = one common
  std::string cache_salt;               // prompts share KV blocks only under the same salt
  std::shared_ptr<TokenMasker> masker;  // constraint of choice 0; null: none

  TimePoint arrival{};
  std::optional<TimePoint> queue_deadline;  // to leave the queue
  std::optional<TimePoint> first_token_deadline;
  std::optional<TimePoint> total_deadline;
};

}  // namespace sparrow
