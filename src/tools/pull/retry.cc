#include "tools/pull/retry.h"

#include <poll.h>

#include <algorithm>
#include <cmath>

#include "base/clock.h"

namespace sparrow {
namespace {

constexpr double kMaxAskedWait = 60;
constexpr int kSliceMs = 100;  // how late a stop is noticed

}  // namespace

double Retry::failed(double asked_s) {
  if (++failures_ >= options_.max_tries) return -1;
  const double own = options_.first_wait_s * std::exp2(failures_ - 1);
  return std::max(std::min(own, options_.max_wait_s), std::min(asked_s, kMaxAskedWait));
}

Status Retry::wait(double seconds) const {
  const RealClock clock;
  const TimePoint end = clock.now() + from_ms(seconds * 1000);
  while (true) {
    if (options_.stop != nullptr && options_.stop->load()) {
      return Status(StatusCode::kCancelled, "stopped");
    }
    const double left_ms = to_ms(end - clock.now());
    if (left_ms <= 0) return ok_status();
    ::poll(nullptr, 0, std::min(kSliceMs, static_cast<int>(std::ceil(left_ms))));
  }
}

bool is_retryable_status(int status) {
  return status == 408 || status == 429 || (status >= 500 && status <= 599);
}

}  // namespace sparrow
