#include "engine/engine_thread.h"

#include <algorithm>

namespace sparrow {
namespace {

// An idle loop looks around this often even if nobody wakes it.
constexpr Duration kIdleWait = std::chrono::milliseconds(500);

}  // namespace

void EngineThread::start() {
  thread_ = std::thread([this] { loop(); });
}

void EngineThread::loop() {
  while (true) {
    const bool stopping = stop_.load();
    const TimePoint now = clock_.now();
    const StepReport report = engine_.step(now);
    bool idle = false;
    {
      std::lock_guard lock(mutex_);  // so that drain() sees what was true after its own calls
      idle = idle_ = engine_.idle();
    }
    if (idle) became_idle_.notify_all();
    if (stopping && idle) break;
    if (report.worked) continue;
    Duration wait = kIdleWait;
    if (report.next_wakeup) wait = std::clamp(*report.next_wakeup - now, Duration{}, kIdleWait);
    // In real time, whatever the injected clock does: it may stand still or jump.
    engine_.wait_for_work(RealClock().now() + wait);
  }
  has_ended_ = true;
}

bool EngineThread::drain(TimePoint deadline) {
  engine_.stop_accepting();
  std::unique_lock lock(mutex_);
  idle_ = false;  // the loop must say so again, after the stop
  engine_.wake();
  return became_idle_.wait_until(lock, deadline, [&] { return idle_; });
}

void EngineThread::request_stop() {
  if (!thread_.joinable() || stop_) return;
  engine_.stop_accepting();
  stop_.store(true);
  engine_.abort_all(FinishReason::kCancelled);
}

void EngineThread::stop() {
  if (!thread_.joinable()) return;
  request_stop();
  thread_.join();
}

}  // namespace sparrow
