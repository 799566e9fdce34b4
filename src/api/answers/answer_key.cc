#include "api/answers/answer_key.h"

#include <bit>
#include <cstdint>

namespace sparrow::api {
namespace {

constexpr char kExact = 'e';
constexpr char kListed = 'l';
constexpr char kVersion = 1;

class KeyWriter {
 public:
  explicit KeyWriter(char kind) {
    key_ += kind;
    key_ += kVersion;
  }
  void number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) key_ += static_cast<char>(0x80 | (value & 0x7F));
    key_ += static_cast<char>(value);
  }
  void integer(int64_t value) { number(static_cast<uint64_t>(value)); }
  void real(double value) {
    // Adding zero makes one of both zeros.
    const auto bits = std::bit_cast<uint64_t>(value + 0.0);
    for (int shift = 0; shift < 64; shift += 8) key_ += static_cast<char>((bits >> shift) & 0xFF);
  }
  void text(std::string_view value) {
    number(value.size());
    key_ += value;
  }
  void ids(const std::vector<TokenId>& ids) {
    number(ids.size());
    for (const TokenId id : ids) integer(id);
  }
  std::string take() { return std::move(key_); }

 private:
  std::string key_;
};

// The lists below name every member. A new one breaks the build here: decide whether it changes the
// answer, and write it into the key if it does.

void append_sampling(KeyWriter& key, const SamplingParams& params, bool with_seed) {
  const auto& [temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty,
               frequency_penalty, logit_bias, seed, choice, num_top_logprobs] = params;
  key.real(temperature);
  key.integer(top_k);
  for (const double value :
       {top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty}) {
    key.real(value);
  }
  key.number(logit_bias.size());
  for (const auto& [id, bias] : logit_bias) {
    key.integer(id);
    key.real(bias);
  }
  key.number(with_seed ? seed : 0);
  key.integer(choice);
  key.integer(num_top_logprobs);
}

void append_stop(KeyWriter& key, const StopRules& stop, bool with_max_tokens) {
  const auto& [token_ids, strings, include_stop_string, ignore_eos, min_tokens, max_tokens] = stop;
  key.ids(token_ids);
  key.number(strings.size());
  for (const std::string& text : strings) key.text(text);
  key.number(include_stop_string ? 1 : 0);
  key.number(ignore_eos ? 1 : 0);
  key.integer(min_tokens);
  key.integer(with_max_tokens ? max_tokens : 0);
}

void append_reasoning(KeyWriter& key, const ReasoningTokens& reasoning) {
  const auto& [start, end, starts_inside, max_tokens, answer_reserve, closing] = reasoning;
  key.integer(start);
  key.integer(end);
  key.number(starts_inside ? 1 : 0);
  key.integer(max_tokens);
  key.integer(answer_reserve);
  key.ids(closing);
}

void append_request(KeyWriter& key, const Request& request, bool with_prompt, bool with_seed) {
  const auto& [id, label, prompt, sampling, stop, reasoning, num_choices, skip_special_tokens,
               speculative, priority, fairness_key, tenant, cache_salt, masker, arrival,
               queue_deadline, first_token_deadline, total_deadline] = request;
  if (with_prompt) key.ids(prompt);
  append_sampling(key, sampling, with_seed && !sampling.greedy());
  append_stop(key, stop, with_prompt);
  append_reasoning(key, reasoning);
  key.integer(num_choices);
  key.number(skip_special_tokens ? 1 : 0);
  key.text(cache_salt);  // a client that keeps its prompts apart keeps its answers apart
}

}  // namespace

std::string exact_answer_key(std::string_view tenant, std::string_view model,
                             const std::vector<Request>& requests) {
  KeyWriter key(kExact);
  key.text(tenant);
  key.text(model);
  key.number(requests.size());
  for (const Request& request : requests) append_request(key, request, true, true);
  return key.take();
}

std::string listed_answer_key(std::string_view model, std::string_view chat_template,
                              std::string_view conversation, const Request& request) {
  KeyWriter key(kListed);
  key.text(model);
  key.text(chat_template);
  key.text(conversation);
  append_request(key, request, false, false);
  return key.take();
}

}  // namespace sparrow::api
