#pragma once
// EngineThread: runs an engine's step loop on a thread of its own. No policy lives here: step; if
// there was nothing to do, wait for a command or the next deadline.
//
// start(), drain() and stop() belong to one controlling thread. The engine outlives the object.

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "engine/engine.h"

namespace sparrow {

class EngineThread {
 public:
  EngineThread(Engine& engine, const Clock& clock) : engine_(engine), clock_(clock) {}
  ~EngineThread() { stop(); }

  void start();
  // New requests are refused; true once everything running has ended, false at the deadline.
  bool drain(TimePoint deadline);
  // Ends what is left with kCancelled and joins. Safe to call twice. Waits for as long as the
  // running step takes: who may not, asks for the end and looks whether it has come.
  void stop();
  void request_stop();
  bool has_ended() const { return has_ended_; }  // any thread

 private:
  void loop();

  Engine& engine_;
  const Clock& clock_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> has_ended_{false};
  std::mutex mutex_;
  std::condition_variable became_idle_;
  bool idle_ = true;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace sparrow
