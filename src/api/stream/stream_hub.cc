#include "api/stream/stream_hub.h"

#include <algorithm>

namespace sparrow::api {

namespace {
// A step of two thousand streams takes tens of milliseconds to write: others get their turn
// between.
constexpr size_t kEventsPerTurn = 128;
}  // namespace

void StreamHub::publish(std::vector<StreamEvent>&& events) {
  if (events.empty()) return;
  loop_.post([this, events = std::move(events)]() mutable {
    pending_.push_back(std::move(events));
    if (!turn_posted_) deliver_turn();
  });
}

void StreamHub::start(std::shared_ptr<Generation> generation) {
  if (generation->responder().closed()) return;  // gone while the request was prepared
  for (const uint64_t id : generation->request_ids()) generations_.emplace(id, generation);
  if (!generation->submit(this)) return forget(*generation);
  // Not owning: the generation owns the responder that keeps this callback.
  generation->responder().on_close([this, weak = std::weak_ptr<Generation>(generation)] {
    if (const auto gone = weak.lock()) {
      gone->cancel();
      forget(*gone);
    }
  });
}

void StreamHub::deliver_turn() {
  turn_posted_ = false;
  std::vector<std::shared_ptr<Generation>> touched;
  for (size_t i = 0; i < kEventsPerTurn && !pending_.empty(); ++i) {
    if (num_delivered_ == pending_.front().size()) {
      pending_.pop_front();
      num_delivered_ = 0;
      continue;
    }
    const StreamEvent& event = pending_.front()[num_delivered_++];
    const auto found = generations_.find(event.request_id);
    if (found == generations_.end()) continue;  // left already
    found->second->on_event(event);
    if (touched.empty() || touched.back() != found->second) touched.push_back(found->second);
  }
  for (const auto& generation : touched) {
    if (!generation->flush()) forget(*generation);
  }
  if (pending_.empty()) return;
  turn_posted_ = true;
  loop_.post([this] { deliver_turn(); });
}

void StreamHub::tick(Duration heartbeat) {
  std::vector<std::shared_ptr<Generation>> over;
  for (const auto& [id, generation] : generations_) {
    if (!generation->tick(heartbeat)) over.push_back(generation);
  }
  for (const auto& generation : over) forget(*generation);
}

void StreamHub::forget(const Generation& generation) {
  const std::vector<uint64_t> ids = generation.request_ids();
  for (const uint64_t id : ids) generations_.erase(id);
}

}  // namespace sparrow::api
