#include "api/stream/chat_format.h"

#include "base/check.h"
#include "base/json.h"

namespace sparrow::api {
namespace {

void append_reasoning_fields(std::string& out, ReasoningField field, const std::string& escaped) {
  if (field != ReasoningField::kReasoning) out += R"("reasoning_content":)" + escaped;
  if (field == ReasoningField::kBoth) out += ',';
  if (field != ReasoningField::kReasoningContent) out += R"("reasoning":)" + escaped;
}

bool is_finish(const StreamEvent& event) { return event.finish != FinishReason::kNone; }

}  // namespace

void ChatTextSplitter::push(const StreamEvent& event, std::string& reasoning,
                            std::string& content) {
  const bool in_thinking = event.channel == TextChannel::kReasoning;
  std::string_view text = event.text;
  const bool tags =
      options_->reasoning_field == ReasoningField::kInline && options_->include_reasoning;
  if (tags && in_thinking && !thinking_) {
    content += first_ && options_->starts_inside_thinking ? "<think>\n" : "<think>";
  } else if (tags && !in_thinking && thinking_) {
    content += "</think>";
  }
  if (!in_thinking && thinking_) after_thinking_ = !tags;
  thinking_ = in_thinking;
  first_ = false;
  if (in_thinking) {
    if (options_->include_reasoning) (tags ? content : reasoning) += text;
    return;
  }
  if (after_thinking_) {
    while (!text.empty() && text.front() == '\n') text.remove_prefix(1);
    if (!text.empty()) after_thinking_ = false;
  }
  content += text;
}

ChatStreamFormat::ChatStreamFormat(Reply reply, const ChatFormatOptions& options)
    : reply_(std::move(reply)), options_(options) {
  prefix_ = R"(data: {"id":)";
  append_json_string(prefix_, reply_.id);
  prefix_ += R"(,"object":"chat.completion.chunk","created":)";
  append_integer(prefix_, reply_.created);
  prefix_ += R"(,"model":)";
  append_json_string(prefix_, reply_.model);
  for (int i = 0; i < reply_.num_choices; ++i) splitters_.emplace_back(options_);
}

void ChatStreamFormat::open_chunk(int choice, const UsageTotals* totals, std::string& out) const {
  out += prefix_;
  if (reply_.continuous_usage && totals != nullptr) {
    out += R"(,"usage":)";
    append_usage(out, *totals);
  } else if (reply_.include_usage) {
    out += R"(,"usage":null)";
  }
  out += R"(,"choices":[{"index":)";
  append_integer(out, choice);
  out += R"(,"delta":)";
}

// `event`: whose tokens the chunk stands for; null for chunks without.
void ChatStreamFormat::close_chunk(const StreamEvent* event, std::string& out) const {
  if (reply_.logprobs && event != nullptr && !event->tokens.empty()) {
    out += R"(,"logprobs":{"content":[)";
    append_chat_logprobs(out, *reply_.tokenizer, event->tokens);
    out += R"(],"refusal":null})";
  } else {
    out += R"(,"logprobs":null)";
  }
  if (reply_.return_token_ids && event != nullptr) {
    out += R"(,"token_ids":)";
    append_token_ids(out, std::span<const EventToken>(event->tokens));
  }
}

void ChatStreamFormat::begin(std::string& out) {
  for (int choice = 0; choice < reply_.num_choices; ++choice) {
    open_chunk(choice, nullptr, out);
    out += R"({"role":"assistant","content":""},"logprobs":null,"finish_reason":null}])";
    if (choice == 0 && !reply_.prompt_token_ids.empty()) {
      out += R"(,"prompt_token_ids":)";
      append_token_ids(out, std::span<const TokenId>(reply_.prompt_token_ids.front()));
    }
    out += "}\n\n";
  }
}

void ChatStreamFormat::append_delta(const std::string& reasoning, const std::string& content,
                                    std::string& out) {
  out += '{';
  escaped_.clear();
  if (!reasoning.empty()) {
    append_json_string(escaped_, reasoning);
    append_reasoning_fields(out, options_.reasoning_field, escaped_);
  } else {
    out += R"("content":)";
    append_json_string(out, content);
  }
  out += '}';
}

void ChatStreamFormat::event(int choice, const StreamEvent& event, const UsageTotals& totals,
                             std::string& out) {
  DCHECK(choice >= 0 && choice < reply_.num_choices);
  reasoning_.clear();
  content_.clear();
  splitters_[static_cast<size_t>(choice)].push(event, reasoning_, content_);
  const bool hidden = event.channel == TextChannel::kReasoning && !options_.include_reasoning;
  const bool shows_tokens =
      (reply_.logprobs || reply_.return_token_ids) && !event.tokens.empty() && !hidden;
  if (!reasoning_.empty() || !content_.empty() || shows_tokens) {
    open_chunk(choice, &totals, out);
    append_delta(reasoning_, content_, out);
    close_chunk(&event, out);
    out += ",\"finish_reason\":null}]}\n\n";
  }
  if (!is_finish(event)) return;
  open_chunk(choice, &totals, out);
  out += "{}";
  close_chunk(nullptr, out);
  out += R"(,"finish_reason":")";
  out += wire_finish_reason(event.finish);
  out += "\"}]";
  if (totals.all_finished() && !reply_.include_usage) append_tail(out, reply_, totals);
  out += "}\n\n";
}

void ChatStreamFormat::end(const UsageTotals& totals, std::string& out) {
  if (reply_.include_usage) {
    out += prefix_;
    out += R"(,"choices":[],"usage":)";
    append_usage(out, totals);
    append_tail(out, reply_, totals);
    out += "}\n\n";
  }
  out += "data: [DONE]\n\n";
}

ChatWholeFormat::ChatWholeFormat(Reply reply, const ChatFormatOptions& options)
    : reply_(std::move(reply)), options_(options) {
  for (int i = 0; i < reply_.num_choices; ++i) {
    choices_.push_back({ChatTextSplitter(options_), {}, {}, {}, FinishReason::kNone});
  }
}

void ChatWholeFormat::event(int choice, const StreamEvent& event, const UsageTotals&,
                            std::string&) {
  DCHECK(choice >= 0 && choice < reply_.num_choices);
  Choice& one = choices_[static_cast<size_t>(choice)];
  one.splitter.push(event, one.reasoning, one.content);
  const bool hidden = event.channel == TextChannel::kReasoning && !options_.include_reasoning;
  if ((reply_.logprobs || reply_.return_token_ids) && !hidden) {
    one.tokens.insert(one.tokens.end(), event.tokens.begin(), event.tokens.end());
  }
  if (is_finish(event)) one.finish = event.finish;
}

void ChatWholeFormat::append_choice(size_t index, std::string& out) const {
  const Choice& choice = choices_[index];
  out += R"({"index":)";
  append_integer(out, static_cast<int64_t>(index));
  out += R"(,"message":{"role":"assistant","content":)";
  append_json_string(out, choice.content);
  out += R"(,"refusal":null)";
  if (options_.reasoning_field != ReasoningField::kInline) {
    std::string escaped = "null";
    if (!choice.reasoning.empty()) {
      escaped.clear();
      append_json_string(escaped, choice.reasoning);
    }
    out += ',';
    append_reasoning_fields(out, options_.reasoning_field, escaped);
  }
  out += R"(},"logprobs":)";
  if (reply_.logprobs) {
    out += R"({"content":[)";
    append_chat_logprobs(out, *reply_.tokenizer, choice.tokens);
    out += R"(],"refusal":null})";
  } else {
    out += "null";
  }
  out += R"(,"finish_reason":")";
  out += wire_finish_reason(choice.finish);
  out += '"';
  if (reply_.return_token_ids) {
    out += R"(,"token_ids":)";
    append_token_ids(out, std::span<const EventToken>(choice.tokens));
  }
  out += '}';
}

void ChatWholeFormat::end(const UsageTotals& totals, std::string& out) {
  out += R"({"id":)";
  append_json_string(out, reply_.id);
  out += R"(,"object":"chat.completion","created":)";
  append_integer(out, reply_.created);
  out += R"(,"model":)";
  append_json_string(out, reply_.model);
  out += R"(,"choices":[)";
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (i > 0) out += ',';
    append_choice(i, out);
  }
  out += R"(],"usage":)";
  append_usage(out, totals);
  if (!reply_.prompt_token_ids.empty()) {
    out += R"(,"prompt_token_ids":)";
    append_token_ids(out, std::span<const TokenId>(reply_.prompt_token_ids.front()));
  }
  append_tail(out, reply_, totals);
  out += '}';
}

}  // namespace sparrow::api
