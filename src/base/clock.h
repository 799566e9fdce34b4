#pragma once
// Clock: the only source of time for code that plans, so that tests and simulation inject their
// own. Times are monotonic. RealClock is thread-safe; FakeClock belongs to one test thread.

#include <chrono>

namespace sparrow {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
};

class RealClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
};

class FakeClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  void advance(Duration by) { now_ += by; }

 private:
  TimePoint now_{};
};

inline double to_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}
inline double to_ms(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}
inline Duration from_ms(double ms) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(ms));
}

// Seconds since 1970 (UTC) for `created` fields; never for planning.
long long unix_seconds();

}  // namespace sparrow
