#include "api/answers/answer_codec.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"
#include "core/sampling_params.h"

namespace sparrow::api {
namespace {

constexpr char kVersion = 1;
constexpr uint8_t kThinking = 1;
constexpr uint8_t kLast = 2;
constexpr uint8_t kLogprobs = 4;
// A replayed piece becomes one chunk of a stream.
constexpr size_t kPieceTextBytes = 512;
constexpr uint64_t kPieceTokens = 128;

void append_number(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  out += static_cast<char>(value);
}

void append_float(std::string& out, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>((bits >> shift) & 0xFF);
}

uint64_t as_unsigned(int64_t value) { return static_cast<uint64_t>(std::max<int64_t>(value, 0)); }

void append_usage(std::string& out, const ChoiceUsage& usage) {
  for (const int count : {usage.num_prompt_tokens, usage.num_cached_tokens, usage.num_output_tokens,
                          usage.num_reasoning_tokens}) {
    append_number(out, as_unsigned(count));
  }
  for (const Duration time : {usage.queue_time, usage.prefill_time, usage.decode_time}) {
    append_number(out, as_unsigned(time.count()));
  }
}

// Reads without ever going beyond the end; after a failure everything is zero.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }
  size_t rest() const { return rest_.size(); }

  uint64_t number(uint64_t max) {
    uint64_t value = 0;
    for (int shift = 0; shift < 63; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value <= max ? value : fail();
    }
    return fail();
  }
  int integer(int max) { return static_cast<int>(number(static_cast<uint64_t>(max))); }

  float real() {
    const std::string_view four = text(4);
    uint32_t bits = 0;
    for (size_t i = 0; i < four.size(); ++i) {
      bits |= static_cast<uint32_t>(static_cast<uint8_t>(four[i])) << (8 * i);
    }
    return std::bit_cast<float>(bits);
  }

  std::string_view text(uint64_t size) {
    if (!ok_ || size > rest_.size()) {
      fail();
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

 private:
  uint64_t fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }

  std::string_view rest_;
  bool ok_ = true;
};

bool read_tokens(Reader& reader, bool with_logprobs, int vocab_size,
                 std::vector<EventToken>& tokens) {
  const uint64_t num_tokens = reader.number(reader.rest());  // at least a byte each
  if (!reader.ok()) return false;
  tokens.resize(num_tokens);
  for (EventToken& token : tokens) {
    token.id = reader.integer(vocab_size - 1);
    if (!with_logprobs) continue;
    token.logprob = reader.real();
    token.top.resize(reader.number(kMaxTopLogprobs));
    for (TokenLogprob& top : token.top) {
      top.id = reader.integer(vocab_size - 1);
      top.logprob = reader.real();
    }
    if (!reader.ok()) return false;
  }
  return reader.ok();
}

bool read_end(Reader& reader, StreamEvent& event) {
  constexpr int kMaxCount = std::numeric_limits<int>::max();
  constexpr uint64_t kMaxTime = std::numeric_limits<int64_t>::max();
  event.finish = static_cast<FinishReason>(reader.integer(static_cast<int>(FinishReason::kError)));
  ChoiceUsage& usage = event.usage;
  for (int* count : {&usage.num_prompt_tokens, &usage.num_cached_tokens, &usage.num_output_tokens,
                     &usage.num_reasoning_tokens}) {
    *count = reader.integer(kMaxCount);
  }
  for (Duration* time : {&usage.queue_time, &usage.prefill_time, &usage.decode_time}) {
    *time = Duration(static_cast<int64_t>(reader.number(kMaxTime)));
  }
  return reader.ok() && is_ordinary_end(event.finish);
}

bool read_piece(Reader& reader, const AnswerShape& shape, std::vector<bool>& finished,
                StreamEvent& event) {
  const int choice = reader.integer(static_cast<int>(finished.size()) - 1);
  const auto flags = static_cast<uint8_t>(reader.number(kThinking | kLast | kLogprobs));
  const std::string_view text = reader.text(reader.number(reader.rest()));
  if (!reader.ok() || finished[static_cast<size_t>(choice)] || !is_valid_utf8(text)) return false;
  event.request_id =
      shape.first_request_id + static_cast<uint64_t>(choice / shape.choices_per_prompt);
  event.choice = choice % shape.choices_per_prompt;
  event.channel = (flags & kThinking) != 0 ? TextChannel::kReasoning : TextChannel::kAnswer;
  event.text = text;
  if (!read_tokens(reader, (flags & kLogprobs) != 0, shape.vocab_size, event.tokens)) return false;
  if ((flags & kLast) == 0) return true;
  finished[static_cast<size_t>(choice)] = true;
  return read_end(reader, event);
}

}  // namespace

bool decode_answer(std::string_view bytes, const AnswerShape& shape,
                   std::vector<StreamEvent>& events) {
  CHECK(shape.num_prompts > 0 && shape.choices_per_prompt > 0 && shape.vocab_size > 0);
  const int num_choices = shape.num_prompts * shape.choices_per_prompt;
  events.clear();
  Reader reader(bytes);
  if (reader.number(kVersion) != kVersion) return false;
  if (reader.number(as_unsigned(num_choices)) != as_unsigned(num_choices)) return false;
  std::vector<bool> finished(static_cast<size_t>(num_choices), false);
  while (!reader.at_end()) {
    if (!read_piece(reader, shape, finished, events.emplace_back())) return false;
  }
  return reader.ok() && std::find(finished.begin(), finished.end(), false) == finished.end();
}

AnswerRecorder::AnswerRecorder(int num_choices, bool with_logprobs, size_t max_bytes, Keep keep)
    : with_logprobs_(with_logprobs),
      max_bytes_(max_bytes),
      keep_(std::move(keep)),
      open_(static_cast<size_t>(num_choices)) {
  bytes_ += kVersion;
  append_number(bytes_, as_unsigned(num_choices));
}

void AnswerRecorder::append_tokens(Piece& piece, const StreamEvent& event) const {
  piece.num_tokens += event.tokens.size();
  for (const EventToken& token : event.tokens) {
    append_number(piece.tokens, as_unsigned(token.id));
    if (!with_logprobs_) continue;
    append_float(piece.tokens, token.logprob);
    append_number(piece.tokens, token.top.size());
    for (const TokenLogprob& top : token.top) {
      append_number(piece.tokens, as_unsigned(top.id));
      append_float(piece.tokens, top.logprob);
    }
  }
}

void AnswerRecorder::close_piece(size_t choice, const StreamEvent* last) {
  Piece& piece = open_[choice];
  if (piece.text.empty() && piece.num_tokens == 0 && last == nullptr) return;
  append_number(bytes_, choice);
  bytes_ += static_cast<char>((piece.channel == TextChannel::kReasoning ? kThinking : 0) |
                              (last != nullptr ? kLast : 0) | (with_logprobs_ ? kLogprobs : 0));
  append_number(bytes_, piece.text.size());
  bytes_ += piece.text;
  append_number(bytes_, piece.num_tokens);
  bytes_ += piece.tokens;
  piece.text.clear();
  piece.tokens.clear();
  piece.num_tokens = 0;
  if (last == nullptr) return;
  append_number(bytes_, static_cast<uint64_t>(last->finish));
  append_usage(bytes_, last->usage);
}

void AnswerRecorder::add(int choice, const StreamEvent& event) {
  if (keep_ == nullptr) return;
  Piece& piece = open_.at(static_cast<size_t>(choice));
  const bool is_end = event.finish != FinishReason::kNone;
  if (piece.finished || (is_end && !is_ordinary_end(event.finish))) return give_up();
  if (piece.channel != event.channel || piece.text.size() >= kPieceTextBytes ||
      piece.num_tokens >= kPieceTokens) {
    close_piece(static_cast<size_t>(choice), nullptr);
  }
  piece.channel = event.channel;
  piece.text += event.text;
  append_tokens(piece, event);
  if (bytes_.size() + piece.text.size() + piece.tokens.size() > max_bytes_) return give_up();
  if (!is_end) return;
  close_piece(static_cast<size_t>(choice), &event);
  piece.finished = true;
  ++num_finished_;
  complete_ = complete_ && (event.finish == FinishReason::kStopToken ||
                            event.finish == FinishReason::kStopString);
}

void AnswerRecorder::finish() {
  if (keep_ == nullptr || num_finished_ != open_.size()) return;
  std::exchange(keep_, nullptr)(std::move(bytes_), complete_);
}

void AnswerRecorder::give_up() {
  keep_ = nullptr;
  bytes_ = {};
  open_ = std::vector<Piece>(open_.size());
}

}  // namespace sparrow::api
