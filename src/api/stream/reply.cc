#include "api/stream/reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

#include "base/json.h"
#include "base/utf8.h"

namespace sparrow::api {
namespace {

// A logprob of minus infinity has no JSON form; this is what OpenAI writes instead.
constexpr float kLowestLogprob = -9999.0f;

void append_milli(std::string& out, double value) {
  fmt::format_to(std::back_inserter(out), "{:.3f}", value);
}

void append_logprob(std::string& out, float logprob) {
  char buffer[32];
  const float shown = logprob > kLowestLogprob ? logprob : kLowestLogprob;  // NaN, too
  out.append(buffer, std::to_chars(buffer, buffer + sizeof(buffer), shown).ptr);
}

double per_second(int64_t count, Duration time) {
  return time > Duration{} ? static_cast<double>(count) / to_seconds(time) : 0.0;
}

void append_entry_head(std::string& out, const Tokenizer& tokenizer, TokenId id, float logprob) {
  const std::string_view bytes = tokenizer.token_bytes(id);
  out += R"({"token":)";
  append_json_string(out, bytes);
  out += R"(,"logprob":)";
  append_logprob(out, logprob);
  out += R"(,"bytes":[)";
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) out += ',';
    append_integer(out, static_cast<unsigned char>(bytes[i]));
  }
  out += ']';
}

// Keys of the legacy form must stay apart, so a part of a character is spelled in hex.
std::string legacy_token_text(const Tokenizer& tokenizer, TokenId id) {
  const std::string_view bytes = tokenizer.token_bytes(id);
  if (is_valid_utf8(bytes)) return std::string(bytes);
  std::string text = "bytes:";
  for (const char c : bytes) {
    fmt::format_to(std::back_inserter(text), "\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

// The legacy form lists the sampled token even where it is not among the best.
void append_legacy_top(std::string& out, const Tokenizer& tokenizer, const EventToken& token) {
  out += '{';
  bool has_sampled = false;
  bool first = true;
  const auto append = [&](TokenId id, float logprob) {
    if (!first) out += ',';
    first = false;
    append_json_string(out, legacy_token_text(tokenizer, id));
    out += ':';
    append_logprob(out, logprob);
  };
  for (const TokenLogprob& top : token.top) {
    append(top.id, top.logprob);
    has_sampled = has_sampled || top.id == token.id;
  }
  if (!has_sampled) append(token.id, token.logprob);
  out += '}';
}

}  // namespace

const char* wire_finish_reason(FinishReason reason) {
  const bool length = reason == FinishReason::kMaxTokens || reason == FinishReason::kContextFull;
  return length ? "length" : "stop";
}

void append_integer(std::string& out, int64_t value) {
  char buffer[24];
  out.append(buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr);
}

void append_usage(std::string& out, const UsageTotals& totals) {
  out += R"({"prompt_tokens":)";
  append_integer(out, totals.num_prompt_tokens);
  out += R"(,"completion_tokens":)";
  append_integer(out, totals.num_output_tokens);
  out += R"(,"total_tokens":)";
  append_integer(out, totals.num_prompt_tokens + totals.num_output_tokens);
  out += R"(,"prompt_tokens_details":{"cached_tokens":)";
  append_integer(out, totals.num_cached_tokens);
  out += R"(},"completion_tokens_details":{"reasoning_tokens":)";
  append_integer(out, totals.num_reasoning_tokens);
  out += "}}";
}

void append_tail(std::string& out, const Reply& reply, const UsageTotals& totals) {
  const int64_t num_computed = totals.num_prompt_tokens - totals.num_cached_tokens;
  out += R"(,"timings":{"cache_n":)";
  append_integer(out, totals.num_cached_tokens);
  out += R"(,"prompt_n":)";
  append_integer(out, num_computed);
  out += R"(,"prompt_ms":)";
  append_milli(out, to_ms(totals.prefill_time));
  out += R"(,"prompt_per_second":)";
  append_milli(out, per_second(num_computed, totals.prefill_time));
  out += R"(,"predicted_n":)";
  append_integer(out, totals.num_output_tokens);
  out += R"(,"predicted_ms":)";
  append_milli(out, to_ms(totals.decode_time));
  out += R"(,"predicted_per_second":)";
  append_milli(out, per_second(totals.num_output_tokens, totals.decode_time));
  out += R"(},"sparrow":{"finish_causes":[)";
  for (size_t i = 0; i < totals.finishes.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, finish_reason_name(totals.finishes[i]));
  }
  out += ']';
  if (reply.system_folded) out += R"(,"system_role":"folded")";
  if (!reply.warnings.empty()) {
    out += R"(,"warnings":[)";
    for (size_t i = 0; i < reply.warnings.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, reply.warnings[i]);
    }
    out += ']';
  }
  out += '}';
}

void append_token_ids(std::string& out, std::span<const TokenId> ids) {
  out += '[';
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ',';
    append_integer(out, ids[i]);
  }
  out += ']';
}

void append_token_ids(std::string& out, std::span<const EventToken> tokens) {
  out += '[';
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += ',';
    append_integer(out, tokens[i].id);
  }
  out += ']';
}

void append_chat_logprobs(std::string& out, const Tokenizer& tokenizer,
                          std::span<const EventToken> tokens) {
  bool first = true;
  for (const EventToken& token : tokens) {
    if (!first) out += ',';
    first = false;
    append_entry_head(out, tokenizer, token.id, token.logprob);
    out += R"(,"top_logprobs":[)";
    for (size_t i = 0; i < token.top.size(); ++i) {
      if (i > 0) out += ',';
      append_entry_head(out, tokenizer, token.top[i].id, token.top[i].logprob);
      out += '}';
    }
    out += "]}";
  }
}

void append_completion_logprobs(std::string& out, const Tokenizer& tokenizer,
                                std::span<const EventToken> tokens, int64_t& text_offset) {
  std::string texts, logprobs, tops, offsets;
  for (const EventToken& token : tokens) {
    if (!texts.empty()) {
      for (std::string* list : {&texts, &logprobs, &tops, &offsets}) *list += ',';
    }
    const std::string text = legacy_token_text(tokenizer, token.id);
    append_json_string(texts, text);
    append_logprob(logprobs, token.logprob);
    append_legacy_top(tops, tokenizer, token);
    append_integer(offsets, text_offset);
    text_offset += count_characters(tokenizer.token_bytes(token.id));
  }
  out += R"({"tokens":[)" + texts + R"(],"token_logprobs":[)" + logprobs + R"(],"top_logprobs":[)" +
         tops + R"(],"text_offset":[)" + offsets + "]}";
}

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace sparrow::api
