// What admission promises, held against the door's own books after every verdict and at the end.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim_door.h"

namespace sparrow {
namespace {

constexpr double kMinuteMs = 60'000;
// The farthest appointment that is given.
constexpr double kLongestRetryMs = 120'000;

bool is_load_reason(RejectReason reason) {
  return reason == RejectReason::kPredictedWait || reason == RejectReason::kDeadline;
}

}  // namespace

void SimDoor::check_verdict(const LoadSnapshot& load, const AdmissionRequest& question,
                            const Verdict& verdict, TimePoint now) {
  const bool is_open = load.breaker != BreakerState::kClosed && now < load.breaker_retry_at;
  if (is_open != (verdict.reason == RejectReason::kBreakerOpen)) {
    violate_("an open breaker and a refusal by it are not the same");
  }
  check_level(verdict, now);
  check_key(question, verdict);
  if (verdict.decision == Decision::kReject) {
    check_refusal(load, question, verdict);
  } else if (verdict.decision == Decision::kMessage) {
    if (verdict.level != 3) violate_("a message at another level than the third");
  } else if (verdict.level > 2) {
    violate_("work is let in at a level that lets none in");
  }
  if (verdict.decision == Decision::kAccept) {
    const int free_places = std::max(0, load.max_num_running - load.num_running);
    if (load.num_waiting + question.num_sequences >
        options_.admission.max_num_queued_reqs + free_places) {
      violate_("let in beyond the queue's bound");
    }
  }
  check_shortening(question, verdict);
}

void SimDoor::check_level(const Verdict& verdict, TimePoint now) {
  const DegradationOptions& options = options_.admission.degradation;
  const int highest = options.profile == DegradeProfile::kOff ? 0 : options.max_level;
  if (verdict.level < 0 || verdict.level > highest) violate_("a level the ladder does not have");
  const bool skips_message = options.message_severity <= 0 && verdict.level + level_ == 2 + 4;
  if (std::abs(verdict.level - level_) > (skips_message ? 2 : 1)) {
    violate_("the ladder moved by two levels at once");
  }
  if (verdict.level == level_) return;
  if (verdict.level < level_ && to_ms(now - level_moved_at_) < options.lower_ms) {
    violate_("the ladder came down too soon");
  }
  if (verdict.level > level_ && level_ > 0 && to_ms(now - level_moved_at_) < options.raise_ms) {
    violate_("the ladder went on up too soon");
  }
  level_ = verdict.level;
  level_moved_at_ = now;
}

// Called before the verdict is booked.
void SimDoor::check_key(const AdmissionRequest& question, const Verdict& verdict) {
  const KeyLimits& limits = options_.admission.key_limits;
  KeyBook& book = books_[std::string(question.key)];
  const int num_running = static_cast<int>(book.held.size());
  const bool is_let_in = verdict.decision != Decision::kReject;
  if (is_let_in != verdict.holds_key && limits.any()) {
    violate_("a verdict holds a key's account, or does not, against its decision");
  }
  if (verdict.reason == RejectReason::kConcurrentPerKey &&
      (limits.max_concurrent == 0 || num_running < limits.max_concurrent)) {
    violate_(fmt::format("key {} is refused for {} at once, {} run", question.key,
                         limits.max_concurrent, num_running));
  }
  if (!is_let_in) return;
  if (limits.max_concurrent > 0 && num_running >= limits.max_concurrent) {
    violate_(fmt::format("key {} has more at once than {}", question.key, limits.max_concurrent));
  }
  // A bucket lets a minute's worth through, and as much again per minute that passes: from every
  // earlier request on.
  const double per_minute = limits.requests_per_minute;
  if (per_minute > 0) {
    for (size_t i = 0; i < book.requests.size(); ++i) {
      const double elapsed_ms = to_ms(book.latest - book.requests[i]);
      const auto count = static_cast<double>(book.requests.size() - i + 1);
      if (count > per_minute * (1 + elapsed_ms / kMinuteMs) + 1e-6) {
        violate_(
            fmt::format("key {} had {} requests in {:.0f} ms", question.key, count, elapsed_ms));
        break;
      }
    }
  }
  if (limits.tokens_per_minute <= 0) return;
  const auto tokens = static_cast<double>(limits.tokens_per_minute);
  auto taken = static_cast<double>(verdict.num_tokens_taken);
  TimePoint first = book.latest;
  for (const auto& [serial, ticket] : book.held) {
    taken += static_cast<double>(ticket.verdict.num_tokens_taken);
    first = std::min(first, ticket.let_in_at);
  }
  if (taken > tokens * (1 + to_ms(book.latest - first) / kMinuteMs) + 1e-6) {
    violate_(fmt::format("key {} holds {} tokens, {} a minute are its share", question.key, taken,
                         tokens));
  }
}

void SimDoor::check_shortening(const AdmissionRequest& question, const Verdict& verdict) {
  const Shortening& shortening = verdict.shortening;
  if (!shortening.any()) return;
  const DegradationOptions& options = options_.admission.degradation;
  if (verdict.decision != Decision::kAccept || verdict.level == 0) {
    violate_("shortened without need");
  }
  const RequestShape& shape = question.shape;
  if (shortening.max_tokens && *shortening.max_tokens >= shape.max_tokens) {
    violate_("a shortening made the answer longer");
  }
  if (shortening.temperature && *shortening.temperature >= shape.temperature) {
    violate_("a shortening raised the temperature");
  }
  if (options.profile != DegradeProfile::kGentle) return;
  if ((shortening.max_tokens && !shape.max_tokens_open) ||
      (shortening.temperature && !shape.temperature_open) ||
      (shortening.thinking_budget && shape.thinking_budget)) {
    violate_("gentle degradation changed what the client wrote");
  }
}

void SimDoor::check_refusal(const LoadSnapshot& load, const AdmissionRequest& question,
                            const Verdict& verdict) {
  if (verdict.reason == RejectReason::kNone) violate_("a refusal without a reason");
  // Not bounded: the debt of a key whose answers were longer than booked, and a breaker's pause.
  const double longest_ms =
      verdict.reason == RejectReason::kRequestsPerMinute ? kMinuteMs
      : verdict.reason == RejectReason::kQueueFull || verdict.reason == RejectReason::kPredictedWait
          ? kLongestRetryMs
          : std::numeric_limits<double>::max();
  if (!(verdict.retry_after_ms > 0) || verdict.retry_after_ms > longest_ms) {
    violate_(fmt::format("a refusal says to come back in {} ms", verdict.retry_after_ms));
  }
  if (verdict.reason == RejectReason::kDegraded && verdict.level < 4) {
    violate_("refused by the ladder below its top");
  }
  const bool is_idle = load.num_running + load.num_waiting == 0 &&
                       (num_let_in_ == 0 || last_let_in_step_ + 2 <= load.num_steps);
  if (is_idle && is_load_reason(verdict.reason)) {
    violate_(fmt::format("an idle machine refuses for {} ({} prompt tokens)",
                         reject_reason_name(verdict.reason), question.num_prompt_tokens));
  }
}

// An hour later each key may have all it ever may.
void SimDoor::check_given_back(TimePoint now) {
  LoadSnapshot idle;
  idle.num_steps = last_load_.num_steps + 2;
  idle.max_num_running = 1;
  idle.num_blocks_total = 1;
  // The ladder comes down one level at a time.
  for (int i = 0; i < 10; ++i) control_.update_level(idle, now += std::chrono::hours(1));
  const KeyLimits& limits = options_.admission.key_limits;
  for (auto& [key, book] : books_) {
    AdmissionRequest question;
    question.key = key;
    question.num_prompt_tokens = 0;
    question.shape.max_tokens = 0;
    for (int i = 0; i < limits.max_concurrent; ++i) {
      now += std::chrono::hours(1);
      idle.num_steps += 2;
      const Verdict verdict = control_.decide(idle, question, now);
      if (verdict.decision == Decision::kReject) {
        violate_(fmt::format("key {} gets {} of {} places at the end ({})", key, i,
                             limits.max_concurrent, reject_reason_name(verdict.reason)));
      }
    }
  }
}

void SimDoor::check_end(TimePoint now) {
  if (has_work()) violate_("somebody still stands at the door");
  if (!let_in_.empty()) violate_("what was let in was never settled");
  for (const auto& [key, book] : books_) {
    if (!book.held.empty()) violate_(fmt::format("key {} still holds something", key));
  }
  for (int i = 1; i < kNumRejectReasons; ++i) {
    const char* const name = reject_reason_name(static_cast<RejectReason>(i));
    const Counter& counter = registry_.counter(
        "sparrow_rejected_total", "Requests refused before they were computed", {{"reason", name}});
    if (counter.value() != num_rejected_[static_cast<size_t>(i)]) {
      violate_(fmt::format("the counter of refusals for {} is wrong", name));
    }
  }
  for (const auto& [key, book] : books_) now = std::max(now, book.latest);
  check_given_back(now);
}

}  // namespace sparrow
