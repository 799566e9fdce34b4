#include "api/stream/stream_hub.h"

#include <algorithm>

namespace sparrow::api {

// All that can fail for want of memory comes first; then the events are taken.
void StreamHub::publish(std::vector<StreamEvent>&& events) {
  const auto batch = std::make_shared<std::vector<StreamEvent>>();
  std::function<void()> task = [this, batch] { deliver(*batch); };
  batch->swap(events);
  try {
    loop_.post(std::move(task));
  } catch (...) {
    batch->swap(events);
    throw;
  }
}

void StreamHub::start(std::shared_ptr<Generation> generation) {
  if (generation->responder().closed()) return;  // gone while the request was prepared
  try {
    submit(generation);
  } catch (...) {  // the responder is dropped unanswered, which is a 500
    generation->cancel();
    forget(*generation);
    throw;
  }
}

void StreamHub::submit(const std::shared_ptr<Generation>& generation) {
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

// One write per generation and step: all events first. Takes no memory of its own, so that what
// happens to one generation is no other's business.
void StreamHub::deliver(const std::vector<StreamEvent>& events) {
  for (const StreamEvent& event : events) {
    const auto found = generations_.find(event.request_id);
    if (found != generations_.end()) found->second->on_event(event);
  }
  for (const StreamEvent& event : events) {
    const auto found = generations_.find(event.request_id);
    if (found == generations_.end()) continue;  // left, or told already
    const std::shared_ptr<Generation> generation = found->second;
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

// The caller holds the generation.
void StreamHub::forget(const Generation& generation) {
  for (const uint64_t id : generation.request_ids()) generations_.erase(id);
}

}  // namespace sparrow::api
