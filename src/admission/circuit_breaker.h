#pragma once
// CircuitBreaker (Nygard, Release It!, 2007): keeps requests away from an executor that fails, and
// finds out by single probes when it works again.
//
//   closed     everything passes; max_failures failed steps in a row open it
//   open       nothing passes until a cool-down is over, which doubles with every failed probe
//   half-open  one probe was let through: a good step closes, a failed one opens again; a probe
//              that comes to no step within another cool-down is followed by the next
//
// Thread-safe; a good step while closed costs one atomic load. Times are passed in and may jump
// back: the latest one counts.

#include <atomic>
#include <mutex>

#include "base/clock.h"

namespace sparrow {

struct BreakerOptions {
  int max_failures = 3;  // failed steps in a row
  double cooldown_ms = 5000;
  double max_cooldown_ms = 60'000;
  int num_openings_to_give_up = 3;  // in a row: see has_given_up
};

enum class BreakerState { kClosed, kOpen, kHalfOpen };

const char* breaker_state_name(BreakerState state);

class CircuitBreaker {
 public:
  struct View {
    BreakerState state = BreakerState::kClosed;
    TimePoint retry_at{};       // when the next probe may come; of open and half-open
    bool has_given_up = false;  // probes keep failing; more are let through all the same
  };

  explicit CircuitBreaker(const BreakerOptions& options = {}) : options_(options) {}

  // Whether a request that arrives at `now` may go on; the first one after the cool-down is the
  // probe.
  bool try_pass(TimePoint now);
  // What passed was refused elsewhere, so it will not tell anything.
  void give_back();
  // A step was computed, or failed. True: this failure opened the breaker.
  void on_success();
  bool on_failure(TimePoint now);

  View view() const;

 private:
  const BreakerOptions options_;
  std::atomic<bool> has_trouble_{false};  // not closed, or failures were counted
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  BreakerState state_ = BreakerState::kClosed;
  TimePoint latest_{};
  TimePoint retry_at_{};
  int num_failures_ = 0;  // in a row, while closed
  int num_openings_ = 0;  // since it was closed last
};

}  // namespace sparrow
