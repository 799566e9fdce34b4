#include "engine/heartbeat.h"

#include <fmt/format.h>

namespace sparrow {
namespace {

// A reader that is overtaken this often takes what it has: values of several beats.
constexpr int kMaxReads = 100;

}  // namespace

TimePoint due(const Beat& beat) { return beat.began + from_ms(beat.predicted_ms); }

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

std::string engine_name(const Beat& beat) {
  return beat.engine < 0 ? "engine" : fmt::format("engine {}", beat.engine);
}

void Heartbeat::begin_step(TimePoint now) {
  now_.began = now;
  publish();
}

void Heartbeat::begin_compute(uint64_t step, int num_spans, int num_rows, double predicted_ms) {
  now_.step = step;
  now_.num_spans = num_spans;
  now_.num_rows = num_rows;
  now_.predicted_ms = predicted_ms;
  publish();
}

void Heartbeat::publish() {
  const uint64_t next = num_beats_ + 1;
  Slot& slot = slots_[next % slots_.size()];
  slot.began_ns = now_.began.time_since_epoch().count();
  slot.step = now_.step;
  slot.num_spans = now_.num_spans;
  slot.num_rows = now_.num_rows;
  slot.predicted_ms = now_.predicted_ms;
  num_beats_ = next;
}

Beat Heartbeat::read() const {
  Beat beat;
  for (int i = 0; i < kMaxReads; ++i) {
    const uint64_t num_beats = num_beats_;
    const Slot& slot = slots_[num_beats % slots_.size()];
    beat.has_begun = num_beats > 0;
    beat.began = TimePoint(Duration(slot.began_ns));
    beat.step = slot.step;
    beat.num_spans = slot.num_spans;
    beat.num_rows = slot.num_rows;
    beat.predicted_ms = slot.predicted_ms;
    // The slot is written again only after another beat.
    if (num_beats == num_beats_) break;
  }
  return beat;
}

}  // namespace sparrow
