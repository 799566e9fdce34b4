#pragma once
// Reply: what all chunks of one answer have in common, and the small JSON parts that every dialect
// of ours writes. Hand-written JSON: a chunk builds no tree. Loop thread of the request.

#include <span>
#include <string>
#include <vector>

#include "core/finish_reason.h"
#include "engine/stream_event.h"
#include "tokenizer/tokenizer.h"

namespace sparrow::api {

struct Reply {
  std::string id;  // "chatcmpl-…"
  long long created = 0;
  std::string model;
  int num_choices = 1;
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
  bool logprobs = false;
  bool return_token_ids = false;
  bool system_folded = false;
  std::vector<std::vector<TokenId>> prompt_token_ids;  // one per prompt, if they were asked for
  std::vector<std::string> warnings;
  const Tokenizer* tokenizer = nullptr;
};

// Sums over the choices; exact once every choice has finished, running numbers before.
struct UsageTotals {
  int64_t num_prompt_tokens = 0;  // a prompt counts once, however many choices it has
  int64_t num_cached_tokens = 0;
  int64_t num_output_tokens = 0;
  int64_t num_reasoning_tokens = 0;
  Duration prefill_time{};  // the longest of the choices
  Duration decode_time{};
  std::vector<FinishReason> finishes;  // by choice, kNone while running
  int num_finished = 0;

  bool all_finished() const { return num_finished == static_cast<int>(finishes.size()); }
};

// "stop", "length": the wire's words for an ordinary end.
const char* wire_finish_reason(FinishReason reason);

void append_integer(std::string& out, int64_t value);
void append_usage(std::string& out, const UsageTotals& totals);
// ,"timings":{…},"sparrow":{…}: our own keys of the last chunk or the whole reply.
void append_tail(std::string& out, const Reply& reply, const UsageTotals& totals);
void append_token_ids(std::string& out, std::span<const TokenId> ids);
void append_token_ids(std::string& out, std::span<const EventToken> tokens);
// The entries of chat's logprobs.content, without the brackets.
void append_chat_logprobs(std::string& out, const Tokenizer& tokenizer,
                          std::span<const EventToken> tokens);
// The legacy object {tokens, token_logprobs, top_logprobs, text_offset}. `text_offset` is the
// number of characters before the first token and is moved behind the last one.
void append_completion_logprobs(std::string& out, const Tokenizer& tokenizer,
                                std::span<const EventToken> tokens, int64_t& text_offset);
int64_t count_characters(std::string_view text);

}  // namespace sparrow::api
