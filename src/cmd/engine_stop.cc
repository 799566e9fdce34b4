#include "cmd/engine_stop.h"

#include <unistd.h>

#include <algorithm>

#include "base/log.h"

namespace sparrow {
namespace {

// How often a waiting end looks whether the engine has come back.
constexpr std::chrono::milliseconds kStopTick{20};
// Beyond its predicted time a step is late.
constexpr std::chrono::seconds kStepGrace{1};

// Without destructors: they would wait for the thread that does not come back.
[[noreturn]] void leave(const Beat& beat, const char* why) {
  log_error("engine: still {}, {}: leaving without it (exit code {})", where_stuck(beat), why,
            kExitHung);
  ::_exit(kExitHung);
}

}  // namespace

void stop_engine(EngineThread& thread, const Engine& engine, ServeEvents& events,
                 Duration patience) {
  thread.request_stop();
  const RealClock clock;
  // A step that is in time needs no second signal to end with.
  const TimePoint late = clock.now() + kStepGrace + from_ms(engine.beat().predicted_ms);
  const TimePoint deadline =
      std::max(late, clock.now() + patience + from_ms(engine.beat().predicted_ms));
  bool is_asked_again = false;
  while (!thread.has_ended()) {
    const ServeEvents::Event event = events.wait(kStopTick);
    if (thread.has_ended()) break;
    is_asked_again = is_asked_again || event == ServeEvents::Event::kStop;
    if (is_asked_again && clock.now() >= late) leave(engine.beat(), "and another signal came");
    if (clock.now() >= deadline) leave(engine.beat(), "and its time is up");
  }
  thread.stop();
}

}  // namespace sparrow
