#include "api/stream/generation.h"

#include <algorithm>
#include <span>

#include "api/gate.h"
#include "api/retry_hint.h"
#include "base/check.h"
#include "base/log.h"

namespace sparrow::api {
namespace {

// A kept answer goes out in pieces of this size, each when the one before is with the kernel: a
// slow reader has no more of it unread than of a computed one (--max-unsent).
constexpr size_t kReplayBytes = 32u << 10;
// A kept answer is one event a channel. A stream gets it in parts: 16 tokens with their 20 best
// logprobs are some 30 kB of JSON.
constexpr size_t kReplayTokens = 16;
constexpr size_t kReplayTextBytes = 2048;

bool is_degraded(const http::Headers& headers) {
  return std::any_of(headers.begin(), headers.end(),
                     [](const auto& header) { return header.first == "x-sparrow-degraded"; });
}

}  // namespace

Generation::Generation(PreparedGeneration prepared, std::shared_ptr<http::Responder> responder,
                       EnginePort& engine, const Clock& clock, ActiveTicket ticket)
    : responder_(std::move(responder)),
      engine_(engine),
      clock_(clock),
      ticket_(std::move(ticket)),
      gate_ticket_(std::move(prepared.ticket)),
      format_(std::move(prepared.format)),
      streams_(format_->reply().stream),
      headers_(std::move(prepared.headers)),
      answers_(std::move(prepared.answers)),
      requests_(std::move(prepared.requests)),
      last_write_(clock.now()),
      begin_(requests_.empty() ? last_write_ : requests_.front().arrival) {
  CHECK(!requests_.empty());
  choices_per_prompt_ = requests_.front().num_choices;
  for (const Request& request : requests_) {
    CHECK(request.id == requests_.front().id + request_ids_.size());
    request_ids_.push_back(request.id);
    totals_.num_prompt_tokens += static_cast<int64_t>(request.prompt.size());
  }
  totals_.finishes.resize(static_cast<size_t>(format_->reply().num_choices), FinishReason::kNone);
  running_.resize(totals_.finishes.size());
  if (is_degraded(headers_)) answers_.recorder.reset();  // not what was asked for
  if (answers_.consulted || is_replay()) {
    headers_.emplace_back("x-sparrow-answer-cache", is_replay()         ? "hit"
                                                    : answers_.recorder ? "store"
                                                                        : "miss");
  }
}

// Text goes with its tokens as far as their bytes tell, and is never cut within a character.
StreamEvent Generation::next_replay_part() {
  const StreamEvent& whole = (*answers_.replay)[num_replayed_];
  if (!streams_) {
    ++num_replayed_;
    return whole;
  }
  StreamEvent part;
  part.request_id = whole.request_id;
  part.choice = whole.choice;
  part.channel = whole.channel;
  const auto tokens = std::span(whole.tokens).subspan(num_replayed_tokens_);
  const size_t num_tokens = std::min(tokens.size(), kReplayTokens);
  part.tokens.assign(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(num_tokens));
  num_replayed_tokens_ += num_tokens;
  const bool is_last_of_tokens = num_tokens == tokens.size();
  size_t num_bytes = is_last_of_tokens ? kReplayTextBytes : 0;
  for (const EventToken& token : part.tokens) {
    num_bytes += format_->reply().tokenizer->token_bytes(token.id).size();
  }
  size_t end = std::min(num_replayed_bytes_ + num_bytes, whole.text.size());
  while (end < whole.text.size() &&
         (static_cast<unsigned char>(whole.text[end]) & 0xc0u) == 0x80u) {
    ++end;
  }
  part.text = whole.text.substr(num_replayed_bytes_, end - num_replayed_bytes_);
  num_replayed_bytes_ = end;
  if (is_last_of_tokens && end == whole.text.size()) {
    part.finish = whole.finish;
    part.usage = whole.usage;
    ++num_replayed_;
    num_replayed_tokens_ = num_replayed_bytes_ = 0;
  }
  return part;
}

bool Generation::replay() {
  const std::vector<StreamEvent>& events = *answers_.replay;
  if (responder_->closed()) cancel();
  while (!over_ && num_replayed_ < events.size() && buffer_.size() < kReplayBytes) {
    try {
      on_event(next_replay_part());
    } catch (...) {  // of the copy: on_event() has its own
      fail_by_exception(buffer_.size());
    }
  }
  return flush();
}

Generation::~Generation() {
  // Who leaves before the first token has had its prompt computed all the same.
  if (gate_ticket_ == nullptr || !submitted_) return;
  gate_ticket_->set_tokens_used(totals_.num_prompt_tokens + totals_.num_output_tokens);
}

void Generation::answer_at_once(const std::string& text) {
  const uint64_t first = request_ids_.front();
  for (size_t i = 0; i < running_.size() && !over_; ++i) {
    const auto choices = static_cast<size_t>(choices_per_prompt_);
    StreamEvent event;
    event.request_id = first + i / choices;
    event.choice = static_cast<int>(i % choices);
    event.text = text;
    event.finish = FinishReason::kStopToken;
    on_event(event);
  }
}

ApiError Generation::submit_error(const Status& status) {
  const EngineSnapshot load = engine_.snapshot();
  if (status.code() == StatusCode::kUnavailable && load.breaker != BreakerState::kClosed) {
    if (gate_ticket_ != nullptr) gate_ticket_->note_refusal(RejectReason::kBreakerOpen);
    return breaker_open(to_ms(load.breaker_retry_at - clock_.now()));
  }
  if (status.code() == StatusCode::kResourceExhausted && gate_ticket_ != nullptr) {
    gate_ticket_->note_refusal(RejectReason::kQueueFull);
  }
  return error_from_status(status, retry_after_ms(load));
}

bool Generation::submit(EventSink* sink) {
  for (Request& request : requests_) {
    const Status status = engine_.submit(std::move(request), sink);
    if (status.ok()) continue;
    fail(submit_error(status), "refused");
    return false;
  }
  requests_.clear();
  submitted_ = true;
  return true;
}

void Generation::start_stream() {
  if (started_) return;
  headers_.emplace_back("Cache-Control", "no-cache");
  headers_.emplace_back("X-Accel-Buffering", "no");
  responder_->start_stream(200, "text/event-stream; charset=utf-8", std::move(headers_));
  started_ = true;
}

void Generation::count(size_t index, bool first_of_prompt, const StreamEvent& event) {
  Running& running = running_[index];
  const auto num_tokens = static_cast<int64_t>(event.tokens.size());
  const auto num_reasoning = event.channel == TextChannel::kReasoning ? num_tokens : 0;
  running.num_output += num_tokens;
  running.num_reasoning += num_reasoning;
  totals_.num_output_tokens += num_tokens;
  totals_.num_reasoning_tokens += num_reasoning;
  if (event.finish == FinishReason::kNone) return;
  // The engine's own numbers are exact: tags, for one, belong to no channel's text.
  totals_.num_output_tokens += event.usage.num_output_tokens - running.num_output;
  totals_.num_reasoning_tokens += event.usage.num_reasoning_tokens - running.num_reasoning;
  totals_.finishes[index] = event.finish;
  ++totals_.num_finished;
  if (first_of_prompt) totals_.num_cached_tokens += event.usage.num_cached_tokens;
  queue_time_ = std::max(queue_time_, event.usage.queue_time);
  totals_.prefill_time = std::max(totals_.prefill_time, event.usage.prefill_time);
  totals_.decode_time = std::max(totals_.decode_time, event.usage.decode_time);
}

void Generation::on_event(const StreamEvent& event) {
  if (over_) return;
  const size_t num_sound_bytes = buffer_.size();
  try {
    take(event);
  } catch (...) {
    fail_by_exception(num_sound_bytes);
  }
}

// If not even this can be said, the responder is dropped: a 500, or the end of the connection.
void Generation::fail_by_exception(size_t num_sound_bytes) noexcept {
  try {
    log_error("api: the answer to request {} could not be written", request_ids_.front());
    buffer_.resize(std::min(num_sound_bytes, buffer_.size()));  // no half event
    fail(internal_failure(), "error");
  } catch (...) {
    over_ = true;
  }
}

void Generation::take(const StreamEvent& event) {
  const uint64_t prompt = event.request_id - request_ids_.front();
  CHECK(prompt < request_ids_.size());
  CHECK(event.choice >= 0 && event.choice < choices_per_prompt_);
  // Of the last event only: a look at the engines is dear beside a token.
  const int64_t retry_ms =
      event.finish == FinishReason::kNone ? 0 : retry_after_ms(engine_.snapshot());
  if (auto error = error_from_finish(event.finish, retry_ms)) {
    return fail(*error, finish_reason_name(event.finish));
  }
  if (!first_token_ && !event.tokens.empty()) first_token_ = clock_.now();
  const int choice = static_cast<int>(prompt) * choices_per_prompt_ + event.choice;
  count(static_cast<size_t>(choice), event.choice == 0, event);
  if (answers_.recorder) answers_.recorder->add(choice, event);
  if (streams_) start_stream();
  if (!std::exchange(began_, true)) format_->begin(buffer_);
  format_->event(choice, event, totals_, buffer_);
  if (totals_.all_finished()) finish();
}

void Generation::log_outcome(const char* outcome) {
  LogFields fields = {{"id", format_->reply().id},
                      {"prompt_tokens", totals_.num_prompt_tokens},
                      {"cached_tokens", totals_.num_cached_tokens},
                      {"output_tokens", totals_.num_output_tokens},
                      {"thinking_tokens", totals_.num_reasoning_tokens},
                      {"queue_ms", to_ms(queue_time_)}};
  if (first_token_) fields.emplace_back("first_token_ms", to_ms(*first_token_ - begin_));
  fields.emplace_back("finish", std::string(outcome));
  responder_->log_with(fields);
}

void Generation::finish() {
  format_->end(totals_, buffer_);
  over_ = true;
  if (answers_.recorder) answers_.recorder->finish();
  const FinishReason first = totals_.finishes.front();
  const bool same = std::all_of(totals_.finishes.begin(), totals_.finishes.end(),
                                [&](FinishReason reason) { return reason == first; });
  log_outcome(same ? finish_reason_name(first) : "mixed");
  if (streams_) {
    responder_->write(std::move(buffer_));
    responder_->finish();
    return;
  }
  http::Response response;
  response.headers = std::move(headers_);
  response.body = std::move(buffer_);
  responder_->send(std::move(response));
}

void Generation::fail(const ApiError& error, const char* outcome) {
  if (over_) return;
  give_up(outcome);
  if (!started_) {
    responder_->send(error_response(error));
    return;
  }
  append_stream_error(buffer_, error);
  responder_->write(std::move(buffer_));
  responder_->finish();
}

void Generation::cancel() { give_up("client_left"); }

void Generation::give_up(const char* outcome) {
  if (over_) return;
  over_ = true;
  log_outcome(outcome);
  if (is_replay()) return;
  for (const uint64_t id : request_ids_) engine_.cancel(id);
}

bool Generation::flush() {
  if (over_) return false;
  if (!streams_ || buffer_.empty()) return true;
  last_write_ = clock_.now();
  try {
    if (!responder_->write(std::exchange(buffer_, {}))) cancel();
  } catch (...) {  // a part may be missing: the stream cannot go on
    fail_by_exception(0);
  }
  return !over_;
}

bool Generation::tick(Duration heartbeat) {
  if (over_) return false;
  if (!streams_ || clock_.now() - last_write_ < heartbeat) return true;
  start_stream();
  last_write_ = clock_.now();
  if (!responder_->write(": ping\n\n")) cancel();
  return !over_;
}

}  // namespace sparrow::api
