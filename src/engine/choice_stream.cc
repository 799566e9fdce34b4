#include "engine/choice_stream.h"

#include <algorithm>
#include <limits>

namespace sparrow {
namespace {

// Zero when one of both never happened.
Duration between(TimePoint begin, TimePoint end) {
  return begin == kNever || end == kNever ? Duration{} : end - begin;
}

}  // namespace

ChoiceStream::ChoiceStream(const Tokenizer& tokenizer, std::shared_ptr<const Request> request,
                           int choice, EventSink* sink)
    : request_(std::move(request)),
      choice_(choice),
      sink_(sink),
      decoder_(tokenizer, request_->skip_special_tokens),
      stops_(request_->stop.strings, request_->stop.include_stop_string),
      channel_(request_->reasoning.starts_inside ? TextChannel::kReasoning : TextChannel::kAnswer) {
}

bool ChoiceStream::is_stop_token(TokenId id) const {
  const StopRules& stop = request_->stop;
  return !stop.ignore_eos && std::binary_search(stop.token_ids.begin(), stop.token_ids.end(), id);
}

StreamEvent& ChoiceStream::pending() {
  if (!pending_) {
    pending_.emplace();
    pending_->request_id = request_->id;
    pending_->choice = choice_;
    pending_->channel = channel_;
  }
  return *pending_;
}

void ChoiceStream::emit(std::vector<StreamEvent>& events) {
  if (!pending_) return;
  const StreamEvent& event = *pending_;
  const bool is_empty =
      event.text.empty() && event.tokens.empty() && event.finish == FinishReason::kNone;
  if (!is_empty) events.push_back(std::move(*pending_));
  pending_.reset();
}

// Text still inside the decoder and the stop matcher belongs to the channel that ends now.
void ChoiceStream::flush_text() {
  if (stopped_) return;
  piece_.clear();
  decoder_.flush(piece_);
  std::string& text = pending().text;
  if (channel_ == TextChannel::kAnswer) {
    stopped_ = stops_.push(piece_, text);
    if (!stopped_) stops_.flush(text);
  } else {
    text += piece_;
  }
}

// A second <think> while thinking, or a </think> while answering, is a slip of the model: it
// changes nothing and is no text either.
bool ChoiceStream::is_channel_token(TokenId id) const {
  return id >= 0 && (id == request_->reasoning.start || id == request_->reasoning.end);
}

bool ChoiceStream::switch_channel(TokenId id, std::vector<StreamEvent>& events) {
  const ReasoningTokens& reasoning = request_->reasoning;
  const bool opens = channel_ == TextChannel::kAnswer && id == reasoning.start && id >= 0;
  const bool closes = channel_ == TextChannel::kReasoning && id == reasoning.end;
  if (!opens && !closes) return false;
  flush_text();
  emit(events);
  if (stopped_) return true;  // a stop string ended with the text that was held back
  channel_ = opens ? TextChannel::kReasoning : TextChannel::kAnswer;
  return true;
}

std::optional<int> ChoiceStream::thinking_left(int num_output, int max_tokens) const {
  const ReasoningTokens& reasoning = request_->reasoning;
  if (channel_ != TextChannel::kReasoning || reasoning.closing.empty()) return std::nullopt;
  const int room = max_tokens - static_cast<int>(reasoning.closing.size());
  if (num_output >= room) return std::nullopt;  // not even one token of answer would follow
  std::optional<int> left;
  if (reasoning.max_tokens >= 0) left = reasoning.max_tokens - num_reasoning_tokens_;
  if (reasoning.answer_reserve > 0) {
    const int until_reserve = room - reasoning.answer_reserve - num_output;
    left = std::min(left.value_or(until_reserve), until_reserve);
  }
  if (left) left = std::max(*left, 0);
  return left;
}

int ChoiceStream::draft_limit(int num_output, int max_tokens) const {
  constexpr int kNoLimit = std::numeric_limits<int>::max();
  const ReasoningTokens& reasoning = request_->reasoning;
  if (reasoning.closing.empty()) return kNoLimit;
  if (channel_ == TextChannel::kReasoning) {
    const std::optional<int> left = thinking_left(num_output, max_tokens);
    return left ? num_output + std::max(*left, 1) : kNoLimit;
  }
  int soonest = kNoLimit;
  if (reasoning.max_tokens >= 0) {
    soonest = num_output + std::max(reasoning.max_tokens - num_reasoning_tokens_, 1);
  }
  if (reasoning.answer_reserve > 0) {
    const int room = max_tokens - static_cast<int>(reasoning.closing.size());
    soonest = std::min(soonest, std::max(room - reasoning.answer_reserve, num_output + 1));
  }
  return soonest;
}

FinishReason ChoiceStream::push(const SampledToken& token, std::span<const TokenLogprob> top,
                                int num_output, int max_tokens, std::vector<StreamEvent>& events) {
  const bool was_reasoning = channel_ == TextChannel::kReasoning;
  const bool switched = switch_channel(token.id, events);
  if (was_reasoning || switched) ++num_reasoning_tokens_;
  StreamEvent& event = pending();
  event.tokens.push_back({token.id, token.logprob, {top.begin(), top.end()}});
  const bool is_stop = is_stop_token(token.id);
  if (!is_stop && !is_channel_token(token.id)) {
    piece_.clear();
    decoder_.push(token.id, piece_);
    if (channel_ == TextChannel::kAnswer) {
      stopped_ = stops_.push(piece_, event.text);
    } else {
      event.text += piece_;
    }
  }
  if (!event.text.empty() && !stopped_) emit(events);
  if (is_stop) return FinishReason::kStopToken;
  if (stopped_) return FinishReason::kStopString;
  if (num_output >= request_->stop.max_tokens) return FinishReason::kMaxTokens;
  if (num_output >= max_tokens) return FinishReason::kContextFull;
  return FinishReason::kNone;
}

void ChoiceStream::finish(const Sequence& sequence, std::vector<StreamEvent>& events) {
  flush_text();
  StreamEvent& event = pending();
  event.finish = sequence.finish;
  ChoiceUsage& usage = event.usage;
  usage.num_prompt_tokens = sequence.num_prompt_tokens;
  usage.num_cached_tokens = sequence.num_cached;
  usage.num_output_tokens = sequence.num_output_tokens();
  usage.num_reasoning_tokens = num_reasoning_tokens_;
  usage.queue_time = between(request_->arrival, sequence.first_planned);
  usage.prefill_time = between(sequence.first_planned, sequence.first_token);
  usage.decode_time = between(sequence.first_token, sequence.last_token);
  emit(events);
}

}  // namespace sparrow
