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
  log_error("{}: still {}, {}: leaving without it (exit code {})", engine_name(beat),
            where_stuck(beat), why, kExitHung);
  ::_exit(kExitHung);
}

// Which of several has not ended; null: all have.
const EngineOnThread* first_running(std::span<const EngineOnThread> engines) {
  const auto found = std::find_if(engines.begin(), engines.end(), [](const EngineOnThread& one) {
    return !one.thread->has_ended();
  });
  return found == engines.end() ? nullptr : &*found;
}

}  // namespace

void stop_engines(std::span<const EngineOnThread> engines, ServeEvents& events, Duration patience) {
  const RealClock clock;
  double predicted_ms = 0;
  for (const EngineOnThread& one : engines) {
    one.thread->request_stop();
    predicted_ms = std::max(predicted_ms, one.engine->beat().predicted_ms);
  }
  // A step that is in time needs no second signal to end with.
  const TimePoint late = clock.now() + kStepGrace + from_ms(predicted_ms);
  const TimePoint deadline = std::max(late, clock.now() + patience + from_ms(predicted_ms));
  const auto where = [&](const EngineOnThread& one) {
    Beat beat = one.engine->beat();
    if (engines.size() > 1) beat.engine = static_cast<int>(&one - engines.data());
    return beat;
  };
  bool is_asked_again = false;
  while (first_running(engines) != nullptr) {
    const ServeEvents::Event event = events.wait(kStopTick);
    const EngineOnThread* running = first_running(engines);
    if (running == nullptr) break;
    is_asked_again = is_asked_again || event == ServeEvents::Event::kStop;
    if (is_asked_again && clock.now() >= late) leave(where(*running), "and another signal came");
    if (clock.now() >= deadline) leave(where(*running), "and its time is up");
  }
  for (const EngineOnThread& one : engines) one.thread->stop();
}

}  // namespace sparrow
