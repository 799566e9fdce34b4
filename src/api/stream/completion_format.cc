#include "api/stream/completion_format.h"

#include "base/check.h"
#include "base/json.h"

namespace sparrow::api {
namespace {

std::string reply_head(const Reply& reply) {
  std::string head = R"({"id":)";
  append_json_string(head, reply.id);
  head += R"(,"object":"text_completion","created":)";
  append_integer(head, reply.created);
  head += R"(,"model":)";
  append_json_string(head, reply.model);
  return head;
}

std::string_view echo_of(const CompletionFormatOptions& options, size_t choice) {
  const size_t prompt = choice / static_cast<size_t>(options.choices_per_prompt);
  return prompt < options.echo.size() ? std::string_view(options.echo[prompt]) : "";
}

void append_prompt_ids(std::string& out, const Reply& reply, int choices_per_prompt, int choice) {
  const auto prompt = static_cast<size_t>(choice / choices_per_prompt);
  if (prompt >= reply.prompt_token_ids.size()) return;
  out += R"(,"prompt_token_ids":)";
  append_token_ids(out, std::span<const TokenId>(reply.prompt_token_ids[prompt]));
}

}  // namespace

CompletionStreamFormat::CompletionStreamFormat(Reply reply, CompletionFormatOptions options)
    : reply_(std::move(reply)), options_(std::move(options)) {
  prefix_ = "data: " + reply_head(reply_);
  for (int i = 0; i < reply_.num_choices; ++i) {
    text_offsets_.push_back(count_characters(echo_of(options_, static_cast<size_t>(i))));
  }
}

void CompletionStreamFormat::append_chunk(int choice, std::string_view text,
                                          const StreamEvent* event, const UsageTotals* totals,
                                          std::string& out) {
  out += prefix_;
  if (reply_.continuous_usage && totals != nullptr) {
    out += R"(,"usage":)";
    append_usage(out, *totals);
  }
  out += R"(,"choices":[{"index":)";
  append_integer(out, choice);
  out += R"(,"text":)";
  append_json_string(out, text);
  out += R"(,"logprobs":)";
  if (reply_.logprobs && event != nullptr) {
    append_completion_logprobs(out, *reply_.tokenizer, event->tokens,
                               text_offsets_[static_cast<size_t>(choice)]);
  } else {
    out += "null";
  }
  out += R"(,"finish_reason":)";
  const bool finished = event != nullptr && event->finish != FinishReason::kNone;
  if (finished) {
    append_json_string(out, wire_finish_reason(event->finish));
  } else {
    out += "null";
  }
  if (reply_.return_token_ids) {
    if (event == nullptr) {
      append_prompt_ids(out, reply_, options_.choices_per_prompt, choice);
    } else {
      out += R"(,"token_ids":)";
      append_token_ids(out, std::span<const EventToken>(event->tokens));
    }
  }
  out += "}]";
  if (finished && totals->all_finished() && !reply_.include_usage) {
    append_tail(out, reply_, *totals);
  }
  out += "}\n\n";
}

void CompletionStreamFormat::begin(std::string& out) {
  const bool first_chunk = !options_.echo.empty() || reply_.return_token_ids;
  for (int choice = 0; first_chunk && choice < reply_.num_choices; ++choice) {
    append_chunk(choice, echo_of(options_, static_cast<size_t>(choice)), nullptr, nullptr, out);
  }
}

void CompletionStreamFormat::event(int choice, const StreamEvent& event, const UsageTotals& totals,
                                   std::string& out) {
  DCHECK(choice >= 0 && choice < reply_.num_choices);
  const bool shows_tokens = (reply_.logprobs || reply_.return_token_ids) && !event.tokens.empty();
  if (event.text.empty() && event.finish == FinishReason::kNone && !shows_tokens) return;
  append_chunk(choice, event.text, &event, &totals, out);
}

void CompletionStreamFormat::end(const UsageTotals& totals, std::string& out) {
  if (reply_.include_usage) {
    out += prefix_;
    out += R"(,"choices":[],"usage":)";
    append_usage(out, totals);
    append_tail(out, reply_, totals);
    out += "}\n\n";
  }
  out += "data: [DONE]\n\n";
}

CompletionWholeFormat::CompletionWholeFormat(Reply reply, CompletionFormatOptions options)
    : reply_(std::move(reply)), options_(std::move(options)) {
  choices_.resize(static_cast<size_t>(reply_.num_choices));
}

void CompletionWholeFormat::event(int choice, const StreamEvent& event, const UsageTotals&,
                                  std::string&) {
  DCHECK(choice >= 0 && choice < reply_.num_choices);
  Choice& one = choices_[static_cast<size_t>(choice)];
  one.text += event.text;
  if (reply_.logprobs || reply_.return_token_ids) {
    one.tokens.insert(one.tokens.end(), event.tokens.begin(), event.tokens.end());
  }
  if (event.finish != FinishReason::kNone) one.finish = event.finish;
}

void CompletionWholeFormat::append_choice(size_t index, std::string& out) const {
  const Choice& choice = choices_[index];
  const std::string_view echo = echo_of(options_, index);
  out += R"({"index":)";
  append_integer(out, static_cast<int64_t>(index));
  out += R"(,"text":)";
  append_json_string(out, std::string(echo) + choice.text);
  out += R"(,"logprobs":)";
  if (reply_.logprobs) {
    int64_t text_offset = count_characters(echo);
    append_completion_logprobs(out, *reply_.tokenizer, choice.tokens, text_offset);
  } else {
    out += "null";
  }
  out += R"(,"finish_reason":)";
  append_json_string(out, wire_finish_reason(choice.finish));
  if (reply_.return_token_ids) {
    append_prompt_ids(out, reply_, options_.choices_per_prompt, static_cast<int>(index));
    out += R"(,"token_ids":)";
    append_token_ids(out, std::span<const EventToken>(choice.tokens));
  }
  out += '}';
}

void CompletionWholeFormat::end(const UsageTotals& totals, std::string& out) {
  out += reply_head(reply_);
  out += R"(,"choices":[)";
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (i > 0) out += ',';
    append_choice(i, out);
  }
  out += R"(],"usage":)";
  append_usage(out, totals);
  append_tail(out, reply_, totals);
  out += '}';
}

}  // namespace sparrow::api
