#include "api/stream/generation.h"

#include <algorithm>

#include "api/gate.h"
#include "api/retry_hint.h"
#include "base/check.h"

namespace sparrow::api {

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
      requests_(std::move(prepared.requests)),
      last_write_(clock.now()) {
  CHECK(!requests_.empty());
  choices_per_prompt_ = requests_.front().num_choices;
  for (const Request& request : requests_) {
    CHECK(request.id == requests_.front().id + request_ids_.size());
    request_ids_.push_back(request.id);
    totals_.num_prompt_tokens += static_cast<int64_t>(request.prompt.size());
  }
  totals_.finishes.resize(static_cast<size_t>(format_->reply().num_choices), FinishReason::kNone);
  running_.resize(totals_.finishes.size());
}

Generation::~Generation() {
  const bool was_computed = totals_.num_output_tokens > 0;
  if (gate_ticket_ == nullptr || !was_computed) return;
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
    fail(submit_error(status));
    return false;
  }
  requests_.clear();
  return true;
}

void Generation::start_stream() {
  if (started_) return;
  started_ = true;
  headers_.emplace_back("Cache-Control", "no-cache");
  headers_.emplace_back("X-Accel-Buffering", "no");
  responder_->start_stream(200, "text/event-stream; charset=utf-8", std::move(headers_));
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
  totals_.prefill_time = std::max(totals_.prefill_time, event.usage.prefill_time);
  totals_.decode_time = std::max(totals_.decode_time, event.usage.decode_time);
}

void Generation::on_event(const StreamEvent& event) {
  if (over_) return;
  const uint64_t prompt = event.request_id - request_ids_.front();
  CHECK(prompt < request_ids_.size());
  CHECK(event.choice >= 0 && event.choice < choices_per_prompt_);
  if (auto error = error_from_finish(event.finish, retry_after_ms(engine_.snapshot()))) {
    return fail(*error);
  }
  const int choice = static_cast<int>(prompt) * choices_per_prompt_ + event.choice;
  count(static_cast<size_t>(choice), event.choice == 0, event);
  if (streams_) start_stream();
  if (!std::exchange(began_, true)) format_->begin(buffer_);
  format_->event(choice, event, totals_, buffer_);
  if (totals_.all_finished()) finish();
}

void Generation::finish() {
  format_->end(totals_, buffer_);
  over_ = true;
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

void Generation::fail(const ApiError& error) {
  if (over_) return;
  cancel();
  if (!started_) {
    responder_->send(error_response(error));
    return;
  }
  append_stream_error(buffer_, error);
  responder_->write(std::move(buffer_));
  responder_->finish();
}

void Generation::cancel() {
  if (over_) return;
  over_ = true;
  for (const uint64_t id : request_ids_) engine_.cancel(id);
}

bool Generation::flush() {
  if (over_) return false;
  if (!streams_ || buffer_.empty()) return true;
  last_write_ = clock_.now();
  if (!responder_->write(std::exchange(buffer_, {}))) cancel();
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
