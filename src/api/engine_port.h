#pragma once
// EnginePort: the part of the engine that request handling needs. A seam, so that the wire contract
// is tested with scripted events. All calls are thread-safe.

#include <cstdint>
#include <vector>

#include "core/request.h"
#include "engine/engine.h"

namespace sparrow::api {

struct EngineView {
  EngineSnapshot load;
  Beat beat;
};

// kFailing: its breaker is not closed. kFailed: it has given up, only a restart helps.
enum class EngineState { kWorking, kFailing, kFailed, kStuck };

inline EngineState state_of(const EngineView& view, Duration watchdog_timeout, TimePoint now) {
  if (view.load.failed) return EngineState::kFailed;
  if (stuck_for(view.beat, watchdog_timeout, now)) return EngineState::kStuck;
  return view.load.breaker == BreakerState::kClosed ? EngineState::kWorking : EngineState::kFailing;
}

class EnginePort {
 public:
  virtual ~EnginePort() = default;
  virtual Status submit(Request request, EventSink* sink) = 0;
  virtual void cancel(uint64_t request_id) = 0;
  // What a request that comes now will meet.
  virtual EngineSnapshot snapshot() const = 0;
  // Without any lock of the engine. An engine without a heartbeat is never stuck.
  virtual Beat beat() const { return {}; }
  // Each engine behind this port by itself, for health and status.
  virtual std::vector<EngineView> engines() const { return {{snapshot(), beat()}}; }
};

// The real one. The engine outlives it.
class EngineAdapter final : public EnginePort {
 public:
  explicit EngineAdapter(Engine& engine) : engine_(&engine) {}
  Status submit(Request request, EventSink* sink) override {
    return engine_->submit(std::move(request), sink);
  }
  void cancel(uint64_t request_id) override { engine_->cancel(request_id); }
  EngineSnapshot snapshot() const override { return engine_->snapshot(); }
  Beat beat() const override { return engine_->beat(); }

 private:
  Engine* engine_;
};

}  // namespace sparrow::api
