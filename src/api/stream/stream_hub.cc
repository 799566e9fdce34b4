#include "api/stream/stream_hub.h"

#include <algorithm>

namespace sparrow::api {

void StreamHub::publish(std::vector<StreamEvent>&& events) {
  loop_.post([this, events = std::move(events)] { deliver(events); });
}

void StreamHub::start(std::shared_ptr<Generation> generation) {
  if (generation->responder().closed()) return;  // gone while the request was prepared
  if (generation->is_replay()) return replay(std::move(generation));
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

void StreamHub::replay(std::shared_ptr<Generation> generation) {
  if (!generation->replay()) return;
  loop_.post(
      [this, generation = std::move(generation)]() mutable { replay(std::move(generation)); });
}

void StreamHub::deliver(const std::vector<StreamEvent>& events) {
  std::vector<std::shared_ptr<Generation>> touched;
  for (const StreamEvent& event : events) {
    const auto found = generations_.find(event.request_id);
    if (found == generations_.end()) continue;  // left already
    found->second->on_event(event);
    if (touched.empty() || touched.back() != found->second) touched.push_back(found->second);
  }
  for (const auto& generation : touched) {
    if (!generation->flush()) forget(*generation);
  }
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
