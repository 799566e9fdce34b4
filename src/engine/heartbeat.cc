#include "engine/heartbeat.h"

#include <fmt/format.h>

namespace sparrow {
namespace {

// A reader that meets a writer this often takes what it has: the values are then one beat old.
constexpr int kMaxReads = 100;

}  // namespace

std::optional<Duration> stuck_for(const Beat& beat, Duration timeout, TimePoint now) {
  if (!beat.has_begun) return std::nullopt;
  const Duration age = now - beat.began;
  if (age <= timeout + from_ms(beat.predicted_ms)) return std::nullopt;
  return age;
}

std::string where_stuck(const Beat& beat) {
  if (beat.num_rows == 0) return "outside the executor";
  return fmt::format("in step {} ({} spans, {} rows, predicted {:.2f} s)", beat.step,
                     beat.num_spans, beat.num_rows, beat.predicted_ms * 1e-3);
}

void Heartbeat::begin_step(TimePoint now) {
  ++version_;
  began_ns_ = now.time_since_epoch().count();
  has_begun_ = true;
  ++version_;
}

void Heartbeat::begin_compute(uint64_t step, int num_spans, int num_rows, double predicted_ms) {
  ++version_;
  step_ = step;
  num_spans_ = num_spans;
  num_rows_ = num_rows;
  predicted_ms_ = predicted_ms;
  ++version_;
}

Beat Heartbeat::read() const {
  Beat beat;
  for (int i = 0; i < kMaxReads; ++i) {
    const uint64_t version = version_;
    beat.has_begun = has_begun_;
    beat.began = TimePoint(Duration(began_ns_));
    beat.step = step_;
    beat.num_spans = num_spans_;
    beat.num_rows = num_rows_;
    beat.predicted_ms = predicted_ms_;
    if (version % 2 == 0 && version == version_) break;
  }
  return beat;
}

}  // namespace sparrow
