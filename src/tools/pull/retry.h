#pragma once
// Retry: when a failed exchange is worth another try, and for how long to wait before it. Waits
// double from the first up to a bound and end at once when the user stops. One thread; monotonic
// time in seconds.

#include <atomic>
#include <string>

#include "base/status.h"

namespace sparrow {

struct RetryOptions {
  int max_tries = 5;
  double first_wait_s = 1;
  double max_wait_s = 30;
  const std::atomic<bool>* stop = nullptr;
};

class Retry {
 public:
  explicit Retry(const RetryOptions& options) : options_(options) {}

  // The transfer moved on: failures before do not count any more.
  void progressed() { failures_ = 0; }
  // Counts a failure: the seconds to wait before the next try, below 0 when it was the last one.
  // `asked_s` is what the server asked for, 0 for nothing.
  double failed(double asked_s);
  // kCancelled when stopped meanwhile.
  Status wait(double seconds) const;

 private:
  const RetryOptions options_;
  int failures_ = 0;
};

// Statuses of overload and of servers in trouble.
bool is_retryable_status(int status);

}  // namespace sparrow
