#pragma once
// StreamHub: the generations of one IO loop. It is their EventSink: events arrive on the engine
// thread, once per step, and cross to the loop in one post; there each finds its generation by
// request id. Everything else on the loop's thread. Outlives the engine's last publish().

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "api/stream/generation.h"

namespace sparrow::api {

class StreamHub final : public EventSink {
 public:
  explicit StreamHub(http::IoLoop& loop) : loop_(loop) {}

  // Engine thread.
  void publish(std::vector<StreamEvent>&& events) override;
  // Submits and keeps the generation until it is over.
  void start(std::shared_ptr<Generation> generation);
  // Heartbeats where nothing was written for that long.
  void tick(Duration heartbeat);
  http::IoLoop& loop() { return loop_; }
  size_t num_requests() const { return generations_.size(); }

 private:
  void submit(const std::shared_ptr<Generation>& generation);
  void deliver(const std::vector<StreamEvent>& events);
  void forget(const Generation& generation);

  http::IoLoop& loop_;
  std::unordered_map<uint64_t, std::shared_ptr<Generation>> generations_;  // by request id
};

}  // namespace sparrow::api
