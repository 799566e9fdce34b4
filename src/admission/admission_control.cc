#include "admission/admission_control.h"

#include <algorithm>
#include <cmath>

#include "admission/queue_room.h"

namespace sparrow {
namespace {

// A sooner return would find what it left.
constexpr double kLeastRetryMs = 1000;
// Nobody is sent away for longer than this; beyond it, appointments are guesses.
constexpr double kMostRetryMs = 120'000;
// Share of the time a client gives within which the whole answer must be expected.
constexpr double kDeadlineMargin = 0.85;
// Of the allowed wait, while others were told to come back.
constexpr double kNewcomersShare = 0.8;
// Answers without a limit of their own are booked as this many times the usual one.
constexpr int64_t kBookedAnswers = 2;
// How long a faster pace must last until it is believed.
constexpr double kSettleMs = 10'000;

double clamp_retry(double ms) { return std::clamp(ms, kLeastRetryMs, kMostRetryMs); }

double expected_output(const LoadSnapshot& load, const AdmissionRequest& request) {
  const double mean = mean_output_tokens(load);
  return request.shape.max_tokens > 0 ? std::min<double>(mean, request.shape.max_tokens) : mean;
}

// Of its prompt, those that probably have to be computed.
int64_t expected_prompt(const LoadSnapshot& load, const AdmissionRequest& request) {
  return expected_prompt_tokens(load.cached_prompt_share, request.num_prompt_tokens);
}

// The most tokens the request can use, and for an open end what is usual.
int64_t booked_tokens(const LoadSnapshot& load, const AdmissionRequest& request) {
  int64_t answer = request.shape.max_tokens;
  if (request.shape.max_tokens_open) {
    answer = std::min(answer, kBookedAnswers * static_cast<int64_t>(mean_output_tokens(load)));
  }
  return request.num_prompt_tokens + answer * request.num_sequences;
}

bool refuse(Verdict& verdict, RejectReason reason, double retry_after_ms) {
  verdict.decision = Decision::kReject;
  verdict.reason = reason;
  verdict.retry_after_ms = std::max(retry_after_ms, kLeastRetryMs);
  return false;
}

}  // namespace

const char* reject_reason_name(RejectReason reason) {
  switch (reason) {
    case RejectReason::kNone:
      return "none";
    case RejectReason::kQueueFull:
      return "queue_full";
    case RejectReason::kPredictedWait:
      return "predicted_wait";
    case RejectReason::kDeadline:
      return "deadline";
    case RejectReason::kBreakerOpen:
      return "breaker_open";
    case RejectReason::kDegraded:
      return "degraded";
    case RejectReason::kRequestsPerMinute:
      return "requests_per_minute";
    case RejectReason::kTokensPerMinute:
      return "tokens_per_minute";
    case RejectReason::kConcurrentPerKey:
      return "concurrent_per_key";
    case RejectReason::kConcurrency:
      return "concurrency";
    case RejectReason::kConnections:
      return "connections";
    case RejectReason::kBodyMemory:
      return "body_memory";
    case RejectReason::kPrepQueue:
      return "prep_queue";
  }
  return "none";
}

bool is_key_limit(RejectReason reason) {
  return reason == RejectReason::kRequestsPerMinute || reason == RejectReason::kTokensPerMinute ||
         reason == RejectReason::kConcurrentPerKey;
}

AdmissionControl::AdmissionControl(const AdmissionOptions& options)
    : options_(options), ladder_(options.degradation) {}

KeyLimits AdmissionControl::limits_of(KeyLimits limits) const {
  const KeyLimits& usual = options_.key_limits;
  if (limits.requests_per_minute <= 0) limits.requests_per_minute = usual.requests_per_minute;
  if (limits.tokens_per_minute <= 0) limits.tokens_per_minute = usual.tokens_per_minute;
  if (limits.max_concurrent <= 0) limits.max_concurrent = usual.max_concurrent;
  return limits;
}

// What is let in after the snapshot of step n reaches the engine at the latest at the start of step
// n + 2 (step n + 1 may be running already), so the snapshot of that step counts it. Of several
// engines each gets its share of it.
Reservation AdmissionControl::recent_work(const LoadSnapshot& load) const {
  Reservation sum;
  for (const Recent& recent : recent_) {
    if (recent.step + 2 <= load.num_steps) continue;
    sum.num_sequences += recent.work.num_sequences;
    sum.num_prompt_tokens += recent.work.num_prompt_tokens;
  }
  const int num_engines = std::max(1, load.num_engines);
  sum.num_sequences = (sum.num_sequences + num_engines - 1) / num_engines;
  sum.num_prompt_tokens /= num_engines;
  return sum;
}

void AdmissionControl::reserve(const LoadSnapshot& load, const AdmissionRequest& request) {
  Recent& recent = recent_[load.num_steps % recent_.size()];
  if (recent.step != load.num_steps) recent = {.step = load.num_steps, .work = {}};
  recent.work.num_sequences += request.num_sequences;
  recent.work.num_prompt_tokens += expected_prompt(load, request);
}

bool AdmissionControl::check_key(const LoadSnapshot& load, const AdmissionRequest& request,
                                 TimePoint now, Verdict& verdict) {
  const KeyCheck check = keys_.check(request.key, limits_of(request.limits),
                                     request.num_prompt_tokens, booked_tokens(load, request), now);
  verdict.num_tokens_taken = check.num_tokens_to_take;
  verdict.retry_cannot_help = check.never_fits;
  switch (check.hit) {
    case KeyLimitHit::kNone:
      return true;
    case KeyLimitHit::kRequests:
      return refuse(verdict, RejectReason::kRequestsPerMinute, check.retry_after_ms);
    case KeyLimitHit::kTokens:
      return refuse(verdict, RejectReason::kTokensPerMinute, check.retry_after_ms);
    case KeyLimitHit::kConcurrent:
      // One of its answers will end in about the share of one of them.
      return refuse(verdict, RejectReason::kConcurrentPerKey,
                    predicted_answer_ms(load, {}, mean_output_tokens(load), 0) /
                        std::max(1, limits_of(request.limits).max_concurrent));
  }
  return true;
}

// The engine's measure follows the last seconds' fraction; on a machine whose other processes come
// and go, a fast moment must not fill the queue for the slow one behind it. Slower counts at once,
// faster only when it has lasted.
double AdmissionControl::caution(const LoadSnapshot& load, TimePoint now) {
  const double step_ms = full_step_ms(load);
  if (step_ms <= 0) return 1;
  const double passed_ms = std::max(0.0, to_ms(now - settled_at_));
  const double weight = settled_step_ms_ <= 0 ? 1 : 1 - std::exp(-passed_ms / kSettleMs);
  settled_step_ms_ += weight * (step_ms - settled_step_ms_);
  settled_at_ = std::max(settled_at_, now);
  return std::max(1.0, settled_step_ms_ / step_ms);
}

// The time at which the machine has worked off the excess and served those who were told before.
double AdmissionControl::appointment_ms(const LoadSnapshot& load, const AdmissionRequest& request,
                                        double excess_ms, TimePoint now) {
  const double share_ms =
      predicted_share_ms(load, expected_prompt(load, request), expected_output(load, request)) *
      request.num_sequences / std::max(1, load.num_engines);
  const TimePoint at =
      std::max(now + from_ms(excess_ms), last_appointment_) + from_ms(std::max(share_ms, 0.0));
  const double told_ms = clamp_retry(to_ms(at - now));
  last_appointment_ = std::max(last_appointment_, now + from_ms(told_ms));
  return told_ms;
}

bool AdmissionControl::check_load(const LoadSnapshot& load, const AdmissionRequest& request,
                                  TimePoint now, Verdict& verdict) {
  const Reservation ahead = recent_work(load);
  const int64_t prompt = expected_prompt(load, request);
  const double share_ms = predicted_share_ms(load, prompt, expected_output(load, request));
  const QueueRoom room{options_.max_num_queued_reqs, load.max_num_running};
  if (request.num_sequences > room.most_at_once()) {
    verdict.retry_cannot_help = true;
    return refuse(verdict, RejectReason::kQueueFull, 0);
  }
  if (!room.has_place_for(request.num_sequences, load.num_waiting + ahead.num_sequences,
                          load.num_running)) {
    return refuse(verdict, RejectReason::kQueueFull, appointment_ms(load, request, share_ms, now));
  }
  const double care = caution(load, now);
  const double wait_ms = care * predicted_first_token_ms(load, ahead, prompt);
  verdict.predicted_wait_ms = wait_ms;
  // Only steps teach a better pace: an idle machine tries what it believes to be too slow for.
  if (load.num_running + load.num_waiting + ahead.num_sequences == 0) return true;
  const bool owes = last_appointment_ > now && !request.is_retry;
  const double share = owes ? kNewcomersShare : 1.0;
  if (options_.max_queue_wait_ms > 0 && wait_ms > share * options_.max_queue_wait_ms) {
    const double excess_ms = std::max(0.0, wait_ms - options_.max_queue_wait_ms);
    // A prompt that takes this long by itself is let in where nobody waits.
    if (wait_ms > 2 * first_token_alone_ms(load, prompt)) {
      return refuse(verdict, RejectReason::kPredictedWait,
                    appointment_ms(load, request, excess_ms, now));
    }
  }
  std::optional<double> patience_ms = request.first_token_within_ms;
  const double answer_ms = care * predicted_answer_ms(load, ahead, expected_output(load, request),
                                                      static_cast<double>(prompt));
  const double alone_ms = first_token_alone_ms(load, prompt);
  if (request.total_within_ms) {
    // Where the usual answer would be late even alone, only the first token is promised.
    const bool fits_alone = alone_ms + answer_ms <= *request.total_within_ms;
    // An answer that comes too late is work done for nobody, a refusal is none: so with a margin.
    const double room_ms =
        kDeadlineMargin * *request.total_within_ms - (fits_alone ? answer_ms : 0);
    patience_ms = std::min(patience_ms.value_or(room_ms), room_ms);
  }
  if (!patience_ms || wait_ms <= share * *patience_ms) return true;
  verdict.retry_cannot_help = alone_ms > *patience_ms;
  if (!verdict.retry_cannot_help && wait_ms <= alone_ms) return true;  // nobody is in its way
  const double excess_ms = std::max(0.0, wait_ms - *patience_ms);
  return refuse(
      verdict, RejectReason::kDeadline,
      verdict.retry_cannot_help ? excess_ms : appointment_ms(load, request, excess_ms, now));
}

Verdict AdmissionControl::decide(const LoadSnapshot& load, const AdmissionRequest& request,
                                 TimePoint now) {
  std::lock_guard lock(mutex_);
  Verdict verdict;
  verdict.decided_at = now;
  verdict.level = ladder_.update(load, now);
  const KeyLimits limits = limits_of(request.limits);
  const bool breaker_holds = load.breaker != BreakerState::kClosed && now < load.breaker_retry_at;
  if (breaker_holds) {
    refuse(verdict, RejectReason::kBreakerOpen, to_ms(load.breaker_retry_at - now));
  } else if (verdict.level >= 4) {
    refuse(verdict, RejectReason::kDegraded, options_.degradation.lower_ms);
  } else if (check_key(load, request, now, verdict)) {
    if (verdict.level == 3) {
      verdict.decision = Decision::kMessage;
      verdict.num_tokens_taken = 0;
    } else if (check_load(load, request, now, verdict)) {
      reserve(load, request);
      verdict.shortening = ladder_.shorten(request.shape);
    }
  }
  if (verdict.decision != Decision::kReject) {
    keys_.take(request.key, limits, verdict.num_tokens_taken, now);
    verdict.holds_key = limits.any();
  }
  verdict.key_status = keys_.status(request.key, limits, now);
  return verdict;
}

Verdict AdmissionControl::decide_without_work(std::string_view key, const KeyLimits& own,
                                              TimePoint now) {
  std::lock_guard lock(mutex_);
  Verdict verdict;
  verdict.decided_at = now;
  const KeyLimits limits = limits_of(own);
  const KeyCheck check = keys_.take_request(key, limits, now);
  if (check.hit != KeyLimitHit::kNone) {
    refuse(verdict, RejectReason::kRequestsPerMinute, check.retry_after_ms);
  }
  verdict.key_status = keys_.status(key, limits, now);
  return verdict;
}

void AdmissionControl::settle(std::string_view key, const Verdict& verdict,
                              int64_t num_tokens_used) {
  if (!verdict.holds_key) return;
  std::lock_guard lock(mutex_);
  keys_.settle(key, verdict.num_tokens_taken, num_tokens_used, verdict.decided_at);
}

int AdmissionControl::update_level(const LoadSnapshot& load, TimePoint now) {
  std::lock_guard lock(mutex_);
  return ladder_.update(load, now);
}

}  // namespace sparrow
