#include "admission/circuit_breaker.h"

#include <algorithm>
#include <cmath>

namespace sparrow {

const char* breaker_state_name(BreakerState state) {
  switch (state) {
    case BreakerState::kClosed:
      return "closed";
    case BreakerState::kOpen:
      return "open";
    case BreakerState::kHalfOpen:
      return "half_open";
  }
  return "closed";
}

bool CircuitBreaker::try_pass(TimePoint now) {
  if (!has_trouble_.load()) return true;
  std::lock_guard lock(mutex_);
  latest_ = std::max(latest_, now);
  if (state_ == BreakerState::kClosed) return true;
  if (latest_ < retry_at_) return false;
  state_ = BreakerState::kHalfOpen;
  retry_at_ = latest_ + from_ms(options_.cooldown_ms);
  return true;
}

void CircuitBreaker::give_back() {
  if (!has_trouble_.load()) return;
  std::lock_guard lock(mutex_);
  if (state_ == BreakerState::kHalfOpen) retry_at_ = latest_;
}

void CircuitBreaker::on_success() {
  if (!has_trouble_.load()) return;
  std::lock_guard lock(mutex_);
  state_ = BreakerState::kClosed;
  num_failures_ = 0;
  num_openings_ = 0;
  has_trouble_.store(false);
}

bool CircuitBreaker::on_failure(TimePoint now) {
  std::lock_guard lock(mutex_);
  has_trouble_.store(true);
  latest_ = std::max(latest_, now);
  const bool was_probe = state_ == BreakerState::kHalfOpen;
  if (!was_probe && ++num_failures_ < options_.max_failures) return false;
  const double cooldown_ms = options_.cooldown_ms * std::pow(2.0, std::min(num_openings_, 30));
  retry_at_ = latest_ + from_ms(std::min(cooldown_ms, options_.max_cooldown_ms));
  state_ = BreakerState::kOpen;
  ++num_openings_;
  return true;
}

CircuitBreaker::View CircuitBreaker::view() const {
  if (!has_trouble_.load()) return {};
  std::lock_guard lock(mutex_);
  return {state_, retry_at_, num_openings_ >= options_.num_openings_to_give_up};
}

}  // namespace sparrow
