#include "api/stream/stream_hub.h"

#include <algorithm>
#include <new>

#include <algorithm>

namespace sparrow::api {

namespace {
// A step of two thousand streams takes tens of milliseconds to write: others get their turn
// between.
constexpr size_t kEventsPerTurn = 128;
}  // namespace

// All that can fail for want of memory comes first; then the events are taken.
void StreamHub::publish(std::vector<StreamEvent>&& events) {
  if (events.empty()) return;
  const auto batch = std::make_shared<std::vector<StreamEvent>>();
  std::function<void()> task = [this, batch] { take(*batch); };
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
    if (generation->is_replay()) return replay(generation);
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

void StreamHub::replay(const std::shared_ptr<Generation>& generation) {
  if (!generation->replay()) return;
  generation->responder().when_sent([this, generation] { replay(generation); });
}

void StreamHub::take(std::vector<StreamEvent>& events) {
  try {
    pending_.emplace_back().swap(events);
  } catch (const std::bad_alloc&) {  // no room to wait: everything now, in order
    deliver_pending(SIZE_MAX);
    return deliver(events);
  }
  if (!turn_posted_) deliver_turn();
}

void StreamHub::deliver_turn() {
  turn_posted_ = false;
  deliver_pending(kEventsPerTurn);
  if (pending_.empty()) return;
  try {
    loop_.post([this] { deliver_turn(); });
    turn_posted_ = true;
  } catch (const std::bad_alloc&) {  // no next turn: everything in this one
    deliver_pending(SIZE_MAX);
  }
}

void StreamHub::deliver_pending(size_t max_events) {
  while (max_events > 0 && !pending_.empty()) {
    const std::span<const StreamEvent> rest = std::span(pending_.front()).subspan(num_delivered_);
    const size_t count = std::min(rest.size(), max_events);
    deliver(rest.first(count));
    num_delivered_ += count;
    max_events -= count;
    if (num_delivered_ < pending_.front().size()) return;
    pending_.pop_front();
    num_delivered_ = 0;
  }
}

// One write per generation: all events first. Takes no memory of its own, so that what happens to
// one generation is no other's business.
void StreamHub::deliver(std::span<const StreamEvent> events) {
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
