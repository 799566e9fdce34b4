#include "engine/watchdog.h"

#include "base/log.h"

namespace sparrow {

void Watchdog::check(const Beat& beat, TimePoint now) {
  const std::optional<Duration> age = stuck_for(beat, timeout_, now);
  if (age.has_value() == is_stuck_) return;
  is_stuck_ = age.has_value();
  if (is_stuck_) {
    began_ = beat.began;
    name_ = engine_name(beat);
    log_error(
        "{}: stuck {} for {:.1f} s (--watchdog-timeout-s is {:.0f}): /livez answers 503 until "
        "it comes back",
        engine_name(beat), where_stuck(beat), to_seconds(*age), to_seconds(timeout_));
  } else {
    log_warning("{}: goes on after at most {:.1f} s", name_, to_seconds(now - began_));
  }
}

}  // namespace sparrow
